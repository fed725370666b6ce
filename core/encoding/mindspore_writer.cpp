#include "core/encoding/mindspore_writer.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/encoding/mindspore_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <span>
#include <unordered_set>

namespace shardlens::mindspore {
namespace {

constexpr std::uint64_t kMostBytes = std::numeric_limits<std::int64_t>::max();
constexpr std::uint64_t kMostNameBytes = 64 << 10; // that are read again
constexpr std::string_view kTextType = "str";
constexpr std::string_view kPackedType = "Int4"; // two values a byte

Error writerRefusal(std::string text)
{
    return {ErrorCode::Refused, std::move(text)};
}

void appendVarint(std::string& out, std::uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        out += static_cast<char>((value & 0x7f) | 0x80);
    out += static_cast<char>(value);
}

void appendBytes(std::string& out, char key, std::string_view bytes)
{
    out += key;
    appendVarint(out, bytes.size());
    out += bytes;
}

// All of a record in front of its `content` bytes (formats/mindspore.md §2.2).
std::string recordHead(const CkptOutput& output, std::uint64_t content)
{
    std::string tensor;
    const Shape dims = output.text ? Shape{0} : output.shape;
    for (const std::uint64_t dim : dims) {
        tensor += '\x08';
        appendVarint(tensor, dim);
    }
    appendBytes(tensor, '\x12', output.text ? kTextType : std::string_view(output.typeName));
    tensor += '\x1a';
    appendVarint(tensor, content);
    const std::uint64_t tensorBytes = tensor.size() + content;
    std::string value;
    appendBytes(value, '\x0a', output.name);
    value += '\x12';
    appendVarint(value, tensorBytes);
    std::string record = "\x0a";
    appendVarint(record, value.size() + tensorBytes);
    return record + value + tensor;
}

Status checkOutput(const CkptOutput& output)
{
    if (output.name.empty() || !isUtf8(output.name) || output.name.size() > kMostNameBytes)
        return writerRefusal(fmt::format("a .ckpt file cannot hold the name '{}'", printable(output.name.substr(0, 200))));
    if (output.text)
        return isUtf8(*output.text) ? Status{} : Status{writerRefusal(fmt::format("the text of '{}' is no UTF-8", printable(output.name)))};
    if (output.typeName.empty())
        return writerRefusal(fmt::format("'{}' has no type", printable(output.name)));
    const bool isPast = std::ranges::any_of(output.shape, [](std::uint64_t dim) { return dim > kMostBytes; });
    if (isPast || output.sizeBytes > kMostBytes || output.shape.size() > 64)
        return writerRefusal(fmt::format("'{}' {} is larger than a .ckpt file can say", printable(output.name), shapeText(output.shape)));
    return {};
}

class LayoutMaker {
public:
    explicit LayoutMaker(std::uint64_t pieceBytes) : m_pieceBytes(pieceBytes) {}

    Status add(const CkptOutput& output, std::size_t index)
    {
        if (output.text)
            return addText(output);
        if (output.sizeBytes / m_pieceBytes >= kMaxCkptRecords)
            return writerRefusal(fmt::format("'{}' would be more than {} records", printable(output.name), groupedText(kMaxCkptRecords)));
        std::uint64_t at = 0;
        do {
            const std::uint64_t length = std::min(m_pieceBytes, output.sizeBytes - at);
            SHARDLENS_TRY(addLiteral(recordHead(output, length)));
            if (length > 0)
                m_out.runs.push_back({index, m_out.sizeBytes, at, length});
            SHARDLENS_TRY(grow(length));
            at += length;
        } while (at < output.sizeBytes);
        return {};
    }

    CkptLayout take() { return std::move(m_out); }

private:
    Status addText(const CkptOutput& output)
    {
        const std::vector<std::byte> stored = utf32OfUtf8(*output.text);
        const std::string_view bytes(reinterpret_cast<const char*>(stored.data()), stored.size());
        for (std::size_t at = 0; at < bytes.size();) {
            const std::string_view part = bytes.substr(at, m_pieceBytes);
            SHARDLENS_TRY(addLiteral(recordHead(output, part.size())));
            SHARDLENS_TRY(addLiteral(part));
            at += part.size();
        }
        return {};
    }

    // Literals without a run between them are one.
    Status addLiteral(std::string_view text)
    {
        const bool goesOn = !m_out.literals.empty() && m_out.literals.back().offset + m_out.literals.back().bytes.size() == m_out.sizeBytes;
        if (!goesOn)
            m_out.literals.push_back({m_out.sizeBytes, {}});
        const auto bytes = std::as_bytes(std::span(text));
        m_out.literals.back().bytes.insert(m_out.literals.back().bytes.end(), bytes.begin(), bytes.end());
        return grow(text.size());
    }

    Status grow(std::uint64_t bytes)
    {
        const auto size = checkedAdd(m_out.sizeBytes, bytes);
        if (!size || *size > kMostBytes)
            return writerRefusal("the entries together are larger than 2^63 B");
        m_out.sizeBytes = *size;
        return {};
    }

    std::uint64_t m_pieceBytes;
    CkptLayout m_out;
};

} // namespace

Result<CkptOutput> outputTensor(std::string name, DType dtype, Shape shape)
{
    const std::string_view type = ckptTypeName(dtype);
    if (type.empty())
        return writerRefusal(fmt::format("'{}' is {}: no release of MindSpore loads a .ckpt file with that type", printable(name), nameOf(dtype)));
    const auto values = elementCount(shape);
    const auto bytes = values ? bytesOf(dtype, *values) : std::nullopt;
    if (!bytes || *bytes > kMostBytes)
        return writerRefusal(fmt::format("'{}' {} is larger than a .ckpt file can say", printable(name), shapeText(shape)));
    return CkptOutput{std::move(name), std::string(type), std::move(shape), *bytes, std::nullopt};
}

CkptOutput outputText(std::string name, std::string text)
{
    return {std::move(name), std::string(kTextType), {0}, 0, std::move(text)};
}

Result<CkptOutput> outputOf(const CkptEntry& entry)
{
    switch (entry.kind) {
    case CkptEntry::Kind::Text: return outputText(entry.name, entry.text);
    case CkptEntry::Kind::Opaque: return CkptOutput{entry.name, entry.typeName, entry.storedShape, entry.sizeBytes, std::nullopt};
    case CkptEntry::Kind::MapTensor: return writerRefusal(fmt::format("'{}' is a part of a hash table, which is not written", printable(entry.name)));
    case CkptEntry::Kind::Tensor: break;
    }
    SHARDLENS_ASSIGN(CkptOutput out, outputTensor(entry.name, entry.dtype, entry.shape));
    if (entry.typeName == kPackedType)
        out.typeName = kPackedType;
    return out;
}

Result<CkptLayout> layOutCkpt(const std::vector<CkptOutput>& outputs, std::uint64_t pieceBytes)
{
    if (outputs.size() > kMaxCkptRecords)
        return writerRefusal(fmt::format("more than {} entries", groupedText(kMaxCkptRecords)));
    LayoutMaker maker(std::max<std::uint64_t>(pieceBytes, 1));
    std::unordered_set<std::string_view> names;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        SHARDLENS_TRY(checkOutput(outputs[i]));
        if (!names.insert(outputs[i].name).second)
            return writerRefusal(fmt::format("two entries are named '{}'", printable(outputs[i].name)));
        SHARDLENS_TRY(maker.add(outputs[i], i));
    }
    return maker.take();
}

} // namespace shardlens::mindspore
