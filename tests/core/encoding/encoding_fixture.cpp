#include "tests/core/encoding/encoding_fixture.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

namespace shardlens::test {
namespace {

using pickle::Kind;
using pickle::Value;

constexpr int kDeepest = 8;

int digitOf(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::string quoted(std::string_view text)
{
    return fmt::format("'{}'", printable(text));
}

std::string items(Value sequence, int depth)
{
    std::string out;
    for (std::size_t i = 0; i < sequence.size(); ++i)
        out += fmt::format("{}{}", i == 0 ? "" : ", ", shown(sequence.at(i), depth + 1));
    return out;
}

std::string entries(Value mapping, int depth)
{
    std::string out = "{";
    for (std::size_t i = 0; i < mapping.size(); ++i)
        out += fmt::format("{}{}: {}", i == 0 ? "" : ", ", shown(mapping.keyAt(i), depth + 1), shown(mapping.valueAt(i), depth + 1));
    return out + "}";
}

std::string raw(Value bytes)
{
    const auto held = *bytes.asBytes();
    std::string out;
    for (const std::byte byte : held)
        out += fmt::format("{:02x}", static_cast<unsigned>(byte));
    return out;
}

std::string call(Value value, int depth)
{
    const char* const made = value.kind() == Kind::NewObject ? "new " : "";
    std::string out = fmt::format("{}{}({}", made, shown(value.callable(), depth + 1), items(value.args(), depth));
    if (value.kwargs())
        out += fmt::format(", **{}", shown(value.kwargs(), depth + 1));
    out += ")";
    if (value.isMapping())
        out += entries(value, depth);
    else if (value.isSequence())
        out += fmt::format("[{}]", items(value, depth));
    if (value.state())
        out += fmt::format(" state {}", shown(value.state(), depth + 1));
    return out;
}

} // namespace

std::vector<std::byte> toBytes(std::string_view text)
{
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    return {begin, begin + text.size()};
}

std::shared_ptr<const MemorySource> memory(std::string_view text)
{
    return std::make_shared<const MemorySource>(toBytes(text));
}

std::string textAt(const ByteSource& source, std::uint64_t offset, std::uint64_t count)
{
    std::string out(count, '?');
    const Status read = source.readAt(offset, std::as_writable_bytes(std::span(out)));
    return read ? out : "error: " + read.error().text();
}

std::string readFile(const std::string& path)
{
    std::ostringstream out;
    out << std::ifstream(path, std::ios::binary).rdbuf();
    return out.str();
}

std::string fromHex(std::string_view digits)
{
    std::string out;
    int high = -1;
    for (const char c : digits) {
        if (c == ' ' || c == '\n')
            continue;
        const int digit = digitOf(c);
        if (digit < 0)
            return {};
        if (high >= 0)
            out += static_cast<char>(high * 16 + digit);
        high = high >= 0 ? -1 : digit;
    }
    return high < 0 ? out : std::string{};
}

std::string fromBase64(std::string_view text)
{
    constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    std::uint32_t held = 0;
    int bits = 0;
    for (const char c : text) {
        if (c == '\n' || c == '=')
            continue;
        const std::size_t value = kAlphabet.find(c);
        if (value == std::string_view::npos)
            return {};
        held = (held << 6 | static_cast<std::uint32_t>(value)) & 0xFFFFF;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out += static_cast<char>(held >> bits & 0xFF);
        }
    }
    return out;
}

std::string codeName(ErrorCode code)
{
    switch (code) {
    case ErrorCode::NotFound: return "NotFound";
    case ErrorCode::Io: return "Io";
    case ErrorCode::Corrupt: return "Corrupt";
    case ErrorCode::Unsupported: return "Unsupported";
    case ErrorCode::LimitExceeded: return "LimitExceeded";
    case ErrorCode::Refused: return "Refused";
    case ErrorCode::Cancelled: return "Cancelled";
    }
    return "no code";
}

std::string shown(Value value, int depth)
{
    if (!value)
        return "absent";
    if (depth > kDeepest)
        return "...";
    switch (value.kind()) {
    case Kind::None: return "None";
    case Kind::Bool: return *value.asBool() ? "True" : "False";
    case Kind::Int: return std::to_string(*value.asInt());
    case Kind::BigInt: return value.asInt() ? std::to_string(*value.asInt()) : "a big number";
    case Kind::Float: return fmt::format("{:.17g}f", *value.asFloat());
    case Kind::Text: return quoted(*value.asText());
    case Kind::Bytes: return fmt::format("b:{}", raw(value));
    case Kind::ByteArray: return fmt::format("bytearray:{}", raw(value));
    case Kind::Tuple: return fmt::format("({})", items(value, depth));
    case Kind::List: return fmt::format("[{}]", items(value, depth));
    case Kind::Dict: return entries(value, depth);
    case Kind::Set: return fmt::format("set{{{}}}", items(value, depth));
    case Kind::FrozenSet: return fmt::format("frozenset{{{}}}", items(value, depth));
    case Kind::Global: return printable(value.globalModule()) + "." + printable(value.globalName());
    case Kind::Reduce:
    case Kind::NewObject: return call(value, depth);
    case Kind::PersistentId: return fmt::format("pid({})", shown(value.persistentId(), depth + 1));
    case Kind::Extension: return "extension";
    case Kind::Buffer: return "buffer";
    }
    return "no kind";
}

std::string shownPickle(std::string_view bytes)
{
    const auto graph = pickle::Graph::parse(std::make_shared<const std::vector<std::byte>>(toBytes(bytes)));
    if (!graph)
        return codeName(graph.error().code()) + ": " + graph.error().text();
    return shown((*graph)->root());
}

} // namespace shardlens::test
