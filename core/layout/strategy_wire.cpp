#include "core/layout/strategy_wire.h"

#include <fmt/format.h>

namespace shardlens::mindspore {
namespace {

constexpr unsigned kVarintBits = 70; // 10 bytes of 7

Error truncatedAt(std::uint64_t offset, std::uint64_t missing)
{
    return {ErrorCode::Corrupt, fmt::format("truncated: what begins at byte {} needs {} more", offset, missing)};
}

} // namespace

Result<std::uint64_t> WireReader::varint()
{
    std::uint64_t value = 0;
    const std::uint64_t begin = m_offset + m_at;
    for (unsigned shift = 0; shift < kVarintBits; shift += 7) {
        if (atEnd())
            return truncatedAt(begin, 1);
        const auto byte = static_cast<std::uint8_t>(m_message[m_at++]);
        value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return value;
    }
    return Error{ErrorCode::Corrupt, fmt::format("the number at byte {} does not end within 10 bytes", begin)};
}

Result<WireField> WireReader::next()
{
    WireField field;
    field.offset = m_offset + m_at;
    SHARDLENS_ASSIGN(const std::uint64_t tag, varint());
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return Error{ErrorCode::Corrupt, fmt::format("no protobuf field at byte {}", field.offset)};
    field.number = static_cast<std::uint32_t>(tag >> 3);
    std::uint64_t length = 0;
    switch (tag & 7) {
    case 0: {
        SHARDLENS_ASSIGN(field.value, varint());
        return field;
    }
    case 1: length = 8; break;
    case 2: {
        SHARDLENS_ASSIGN(length, varint());
        break;
    }
    case 5: length = 4; break;
    default: return Error{ErrorCode::Corrupt, fmt::format("a field of wire type {} at byte {}", tag & 7, field.offset)};
    }
    field.type = static_cast<WireField::Type>(tag & 7);
    const std::uint64_t left = m_message.size() - m_at;
    if (length > left)
        return truncatedAt(field.offset, length - left);
    field.bytes = m_message.substr(m_at, static_cast<std::size_t>(length));
    m_at += static_cast<std::size_t>(length);
    return field;
}

void appendVarint(std::string& out, std::uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        out.push_back(static_cast<char>((value & 0x7f) | 0x80));
    out.push_back(static_cast<char>(value));
}

void appendNumber(std::string& out, std::uint32_t field, std::uint64_t value)
{
    appendVarint(out, std::uint64_t{field} << 3);
    appendVarint(out, value);
}

void appendBytes(std::string& out, std::uint32_t field, std::string_view bytes)
{
    appendVarint(out, (std::uint64_t{field} << 3) | 2);
    appendVarint(out, bytes.size());
    out += bytes;
}

} // namespace shardlens::mindspore
