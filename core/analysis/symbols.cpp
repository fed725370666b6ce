#include "core/analysis/symbols.h"

#include "core/base/text.h"
#include "core/encoding/pickle/global_levels.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>

namespace shardlens {
namespace {

constexpr int kMaxDescribedDepth = 5;
constexpr std::size_t kMaxSymbols = std::numeric_limits<SymbolId>::max() - 1;
constexpr std::size_t kMaxTextShown = 60;
constexpr std::size_t kMostPreviews = 200'000; // they are for people

Symbol numberSymbol(SymbolKind kind, std::uint64_t bits)
{
    return {kind, 0, 0, static_cast<std::uint32_t>(bits), static_cast<std::uint32_t>(bits >> 32)};
}

std::uint64_t bitsOf(const Symbol& symbol)
{
    return symbol.a | static_cast<std::uint64_t>(symbol.b) << 32;
}

std::string quotedText(std::string_view text)
{
    const std::string_view shown = text.substr(0, kMaxTextShown);
    const char* const quote = shown.find('\'') == std::string_view::npos ? "'" : "\"";
    std::string out = quote + printable(shown) + quote;
    return text.size() > kMaxTextShown ? out + fmt::format("… ({} B)", groupedText(text.size())) : out;
}

const char* emptyTextOf(SymbolKind kind)
{
    switch (kind) {
    case SymbolKind::List: return "[]";
    case SymbolKind::Dict: return "{}";
    case SymbolKind::Set: return "set()";
    default: return "frozenset()";
    }
}

} // namespace

Symbols::Symbols(std::span<const std::byte> bytes, std::uint64_t budgetBytes) : m_bytes(bytes), m_budget(budgetBytes)
{
    m_blocks.push_back(std::make_unique<Symbol[]>(kBlock));
    for (const Symbol& fixed : {Symbol{SymbolKind::None}, Symbol{SymbolKind::Bool, 0, 0, 1, 0}, Symbol{SymbolKind::Bool}, Symbol{SymbolKind::Tuple},
                                Symbol{SymbolKind::Opaque}})
        m_blocks.front()[m_count++] = fixed;
}

bool Symbols::charge(std::uint64_t bytes)
{
    if (bytes > m_budget)
        return false;
    m_budget -= bytes;
    return true;
}

std::optional<SymbolId> Symbols::add(Symbol symbol)
{
    if (m_count >= kMaxSymbols || !charge(sizeof(Symbol)))
        return std::nullopt;
    if (m_count == m_blocks.size() * kBlock)
        m_blocks.push_back(std::make_unique<Symbol[]>(kBlock));
    const auto id = static_cast<SymbolId>(m_count++);
    at(id) = symbol;
    return id;
}

std::optional<SymbolId> Symbols::addInt(std::int64_t value)
{
    const bool isSmall = value >= 0 && value < static_cast<std::int64_t>(m_smallInts.size());
    if (isSmall && m_smallInts[static_cast<std::size_t>(value)] != 0)
        return m_smallInts[static_cast<std::size_t>(value)];
    const auto id = add(numberSymbol(SymbolKind::Int, static_cast<std::uint64_t>(value)));
    if (isSmall && id)
        m_smallInts[static_cast<std::size_t>(value)] = *id;
    return id;
}

std::optional<SymbolId> Symbols::addFloat(double value)
{
    return add(numberSymbol(SymbolKind::Float, std::bit_cast<std::uint64_t>(value)));
}

std::optional<SymbolId> Symbols::addText(SymbolKind kind, std::string_view inBytes)
{
    const auto offset = inBytes.empty() ? 0 : inBytes.data() - reinterpret_cast<const char*>(m_bytes.data());
    return add({kind, 0, 0, static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(inBytes.size())});
}

std::optional<SymbolId> Symbols::addOwned(SymbolKind kind, std::string text)
{
    if (!charge(sizeof(std::string) + text.size()))
        return std::nullopt;
    const auto length = static_cast<std::uint32_t>(text.size());
    m_texts.push_back(std::move(text));
    return add({kind, 0, symbol::kOwned, static_cast<std::uint32_t>(m_texts.size() - 1), length});
}

std::optional<SymbolId> Symbols::addTuple(std::span<const SymbolId> items)
{
    if (items.empty())
        return kEmptyTuple;
    if (m_pool.size() + items.size() >= kMaxSymbols || !charge(items.size_bytes()))
        return std::nullopt;
    const auto first = static_cast<std::uint32_t>(m_pool.size());
    m_pool.insert(m_pool.end(), items.begin(), items.end());
    return add({SymbolKind::Tuple, 0, 0, first, static_cast<std::uint32_t>(items.size())});
}

std::optional<SymbolId> Symbols::addContainer(SymbolKind kind, std::span<const SymbolId> items)
{
    const auto id = add({kind});
    return id && !append(*id, items) ? std::nullopt : id;
}

bool Symbols::append(SymbolId container, std::span<const SymbolId> items)
{
    if (items.empty())
        return true;
    Symbol& symbol = at(container);
    if (symbol.a == 0 && symbol.b == 0 && m_previews.size() < kMostPreviews) {
        if (!charge(sizeof(Preview)))
            return false;
        m_previews.emplace_back();
        symbol.a = static_cast<std::uint32_t>(m_previews.size());
    }
    if (symbol.a != 0) {
        Preview& preview = m_previews[symbol.a - 1];
        const std::size_t held = std::min<std::size_t>(symbol.b, preview.size());
        std::copy_n(items.begin(), std::min(items.size(), preview.size() - held), preview.begin() + static_cast<std::ptrdiff_t>(held));
    }
    symbol.b = static_cast<std::uint32_t>(std::min<std::uint64_t>(std::uint64_t{symbol.b} + items.size(), std::numeric_limits<std::uint32_t>::max()));
    if (symbol.kind == SymbolKind::Dict)
        noteKeys(container, items);
    return true;
}

void Symbols::noteKeys(SymbolId dict, std::span<const SymbolId> items)
{
    for (std::size_t i = 0; i < items.size() && (at(dict).flags & symbol::kDunderKey) == 0; i += 2) {
        const auto key = textOf(items[i]);
        if (!key || !pickle::isDunder(*key) || !charge(64))
            continue;
        at(dict).flags |= symbol::kDunderKey;
        m_dunderKeys.emplace(dict, items[i]);
    }
}

std::string_view Symbols::bytesOf(SymbolId id) const
{
    const Symbol& one = (*this)[id];
    const bool hasBytes = one.kind >= SymbolKind::Text && one.kind <= SymbolKind::ByteArray;
    if (!hasBytes && one.kind != SymbolKind::BigInt)
        return {};
    if ((one.flags & symbol::kOwned) != 0)
        return m_texts[one.a];
    return std::string_view(reinterpret_cast<const char*>(m_bytes.data()) + one.a, one.b);
}

std::optional<std::string_view> Symbols::textOf(SymbolId id) const
{
    if (kindOf(id) != SymbolKind::Text && kindOf(id) != SymbolKind::Text8)
        return std::nullopt;
    return bytesOf(id);
}

std::int64_t Symbols::intOf(SymbolId id) const
{
    return static_cast<std::int64_t>(bitsOf((*this)[id]));
}

std::span<const SymbolId> Symbols::tuple(SymbolId id) const
{
    const Symbol& one = (*this)[id];
    return one.kind == SymbolKind::Tuple ? std::span(m_pool).subspan(one.a, one.b) : std::span<const SymbolId>{};
}

std::string_view Symbols::dunderKeyOf(SymbolId id) const
{
    const auto known = m_dunderKeys.find(id);
    return known == m_dunderKeys.end() ? std::string_view{} : bytesOf(known->second);
}

bool Symbols::isLiteral(SymbolId id) const
{
    return kindOf(id) <= SymbolKind::FrozenSet;
}

std::string Symbols::describe(SymbolId id, std::size_t limit) const
{
    std::string out;
    write(out, id, limit, 0);
    return out;
}

std::string Symbols::describeCall(SymbolId callee, std::span<const SymbolId> arguments, std::size_t limit) const
{
    std::string out;
    write(out, callee, limit, 0);
    out += '(';
    writeItems(out, arguments, arguments.size(), limit + out.size(), 1);
    return out + ')';
}

void Symbols::writeItems(std::string& out, std::span<const SymbolId> items, std::uint64_t count, std::size_t limit, int depth) const
{
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (out.size() >= limit || depth > kMaxDescribedDepth) {
            out += "…";
            return;
        }
        write(out, items[i], limit, depth);
        out += i + 1 < items.size() ? ", " : "";
    }
    if (count > items.size())
        out += fmt::format(", … {} in all", groupedText(count));
}

void Symbols::writeContainer(std::string& out, const Symbol& container, std::size_t limit, int depth) const
{
    if (container.a == 0 || depth >= kMaxDescribedDepth) {
        out += container.b == 0 ? emptyTextOf(container.kind) : "…";
        return;
    }
    const bool isDict = container.kind == SymbolKind::Dict;
    const auto items = std::span(m_previews[container.a - 1]).first(std::min<std::size_t>(container.b, std::tuple_size_v<Preview>));
    out += container.kind == SymbolKind::List ? '[' : '{';
    if (!isDict) {
        writeItems(out, items, container.b, limit, depth + 1);
    } else {
        for (std::size_t i = 0; i + 1 < items.size() && out.size() < limit; i += 2) {
            out += i == 0 ? "" : ", ";
            write(out, items[i], limit, depth + 1);
            out += ": ";
            write(out, items[i + 1], limit, depth + 1);
        }
        out += container.b > items.size() ? ", …" : "";
    }
    out += container.kind == SymbolKind::List ? ']' : '}';
}

void Symbols::write(std::string& out, SymbolId id, std::size_t limit, int depth) const
{
    const Symbol& one = (*this)[id];
    switch (one.kind) {
    case SymbolKind::None: out += "None"; break;
    case SymbolKind::Bool: out += one.a != 0 ? "True" : "False"; break;
    case SymbolKind::Int: out += std::to_string(intOf(id)); break;
    case SymbolKind::BigInt: out += fmt::format("<number of {} B>", one.b); break;
    case SymbolKind::Float: out += fmt::format("{}", std::bit_cast<double>(bitsOf(one))); break;
    case SymbolKind::Text: case SymbolKind::Text8: out += quotedText(bytesOf(id)); break;
    case SymbolKind::Bytes: out += "b" + quotedText(bytesOf(id)); break;
    case SymbolKind::ByteArray: out += "bytearray(b" + quotedText(bytesOf(id)) + ")"; break;
    case SymbolKind::Tuple: {
        out += '(';
        writeItems(out, tuple(id), one.b, limit, depth + 1);
        out += one.b == 1 ? ",)" : ")";
        break;
    }
    case SymbolKind::List: case SymbolKind::Dict: case SymbolKind::Set: case SymbolKind::FrozenSet: writeContainer(out, one, limit, depth); break;
    case SymbolKind::Global: out += printable(importOf(id).module + "." + importOf(id).name); break;
    case SymbolKind::Call:
        if (depth >= kMaxDescribedDepth) {
            out += "…";
            break;
        }
        write(out, one.a, limit, depth + 1);
        out += '(';
        writeItems(out, tuple(one.b), one.b == kOpaque ? 1 : tuple(one.b).size(), limit, depth + 1);
        out += ')';
        break;
    case SymbolKind::Attribute:
        if (depth < kMaxDescribedDepth)
            write(out, one.a, limit, depth + 1);
        out += "." + printable(bytesOf(one.b).substr(0, kMaxTextShown));
        break;
    case SymbolKind::Persistent: out += "<persistent id>"; break;
    case SymbolKind::Extension: out += fmt::format("<extension {}>", one.a); break;
    case SymbolKind::Opaque: out += "<unknown>"; break;
    }
}

} // namespace shardlens
