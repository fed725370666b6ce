#include "core/encoding/mindspore_wire.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::mindspore {
namespace {

constexpr std::uint64_t kAfterLeap = 4 << 10; // heads take less than a hundred bytes
constexpr std::uint64_t kMostAhead = 1 << 20;
constexpr std::uint64_t kNear = 32 << 10; // a gap that costs less to read than to leap over
constexpr std::size_t kMostVarintBytes = 10;
constexpr std::size_t kMostHeadBytes = 2 * kMostVarintBytes; // of a field: its key and its length

Error wireError(std::uint64_t at, std::string text)
{
    return {ErrorCode::Corrupt, fmt::format("{} at offset {}", text, groupedText(at))};
}

} // namespace

Result<std::span<const std::byte>> CkptWindow::view(std::uint64_t offset, std::uint64_t count)
{
    if (offset >= m_end)
        return std::span<const std::byte>{};
    count = std::min(count, m_end - offset);
    if (offset < m_begin || offset - m_begin > m_filled || count > m_filled - (offset - m_begin))
        SHARDLENS_TRY(refill(offset, count));
    return std::span<const std::byte>(m_buffer).subspan(static_cast<std::size_t>(offset - m_begin), static_cast<std::size_t>(count));
}

Status CkptWindow::refill(std::uint64_t offset, std::uint64_t count)
{
    const bool goesOn = offset >= m_begin && offset - m_begin <= m_filled + kNear;
    m_step = goesOn && m_step != 0 ? std::min(m_step * 4, kMostAhead) : kAfterLeap;
    const std::uint64_t bytes = std::min(std::max(m_step, count), m_end - offset);
    m_filled = 0;
    m_buffer.resize(std::max<std::size_t>(m_buffer.size(), static_cast<std::size_t>(bytes)));
    SHARDLENS_TRY(m_source->readAt(offset, std::span(m_buffer).first(static_cast<std::size_t>(bytes))));
    m_begin = offset;
    m_filled = bytes;
    return {};
}

Result<CkptVarint> readVarint(std::span<const std::byte> bytes)
{
    CkptVarint out;
    for (std::size_t i = 0; i < std::min(bytes.size(), kMostVarintBytes); ++i) {
        const auto byte = std::to_integer<std::uint64_t>(bytes[i]);
        if (i + 1 == kMostVarintBytes && byte > 1)
            return Error{ErrorCode::Corrupt, "a number of more than 64 bits"};
        out.value |= (byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            out.bytes = i + 1;
            return out;
        }
    }
    return CkptVarint{};
}

Result<std::optional<CkptField>> CkptFieldReader::next()
{
    if (m_at >= m_end)
        return std::optional<CkptField>{};
    SHARDLENS_ASSIGN(const auto bytes, m_window->view(m_at, std::min<std::uint64_t>(kMostHeadBytes, m_end - m_at)));
    CkptField field;
    SHARDLENS_TRY(fill(field, bytes));
    if (field.length > m_end - field.offset)
        return wireError(m_at, fmt::format("field {} claims {} B, more than what it is in,", field.number, groupedText(field.length)));
    m_at = field.offset + field.length;
    return std::optional(field);
}

// Key, and the number or length behind it. `bytes` are what there is of the message from m_at on.
Status CkptFieldReader::fill(CkptField& field, std::span<const std::byte> bytes)
{
    const auto broken = [&]() {
        m_isCut = m_at + bytes.size() >= m_window->end() && m_window->end() < m_end;
        return wireError(m_at, m_isCut ? "the file ends inside a field" : "a field without an end");
    };
    const auto key = readVarint(bytes);
    if (!key)
        return wireError(m_at, key.error().message());
    if (key->bytes == 0)
        return broken();
    field.number = key->value >> 3;
    const std::uint64_t type = key->value & 7;
    field.type = static_cast<CkptWireType>(type);
    if (field.number == 0 || (type != 0 && type != 1 && type != 2 && type != 5))
        return wireError(m_at, fmt::format("no field (key {})", groupedText(key->value)));
    field.offset = m_at + key->bytes;
    field.length = type == 1 ? 8 : 4;
    if (field.type == CkptWireType::Fixed32 || field.type == CkptWireType::Fixed64)
        return {};
    const auto number = readVarint(bytes.subspan(key->bytes));
    if (!number)
        return wireError(m_at, number.error().message());
    if (number->bytes == 0)
        return broken();
    field.value = field.type == CkptWireType::Varint ? number->value : 0;
    field.length = field.type == CkptWireType::Varint ? number->bytes : number->value;
    field.offset += field.type == CkptWireType::Varint ? 0 : number->bytes;
    return {};
}

Result<std::string> textOf(CkptWindow& window, const CkptField& field)
{
    SHARDLENS_ASSIGN(const auto bytes, window.view(field.offset, field.length));
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

} // namespace shardlens::mindspore
