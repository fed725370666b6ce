#pragma once

#include "core/base/result.h"
#include "core/io/byte_source.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace shardlens::mindspore {

// A moving view on a file whose interesting bytes lie far apart or close together: reads ahead while it is asked for neighbours, little after a leap.
// The source must outlive it.
class CkptWindow {
public:
    // Nothing at or behind `end` is read; it lies inside the source.
    CkptWindow(const ByteSource& source, std::uint64_t end) : m_source(&source), m_end(end) {}

    // As many of `count` bytes from `offset` as there are; valid until the next call. `count` is small: it is what is read at least.
    Result<std::span<const std::byte>> view(std::uint64_t offset, std::uint64_t count);
    [[nodiscard]] std::uint64_t end() const { return m_end; }

private:
    Status refill(std::uint64_t offset, std::uint64_t count);

    const ByteSource* m_source;
    std::uint64_t m_end;
    std::uint64_t m_begin = 0;
    std::uint64_t m_filled = 0;
    std::uint64_t m_step = 0; // bytes of the next read
    std::vector<std::byte> m_buffer;
};

enum class CkptWireType : std::uint8_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

struct CkptField {
    std::uint64_t number = 0;
    CkptWireType type = CkptWireType::Varint;
    std::uint64_t value = 0;  // of a Varint
    std::uint64_t offset = 0; // of the payload in the source
    std::uint64_t length = 0;

    [[nodiscard]] bool is(std::uint64_t wanted, CkptWireType kind) const { return number == wanted && type == kind; }
};

struct CkptVarint {
    std::uint64_t value = 0;
    std::size_t bytes = 0; // 0: more bytes are needed than there are
};
// A base-128 number at the start of `bytes`. Corrupt where it has more than 64 bits.
[[nodiscard]] Result<CkptVarint> readVarint(std::span<const std::byte> bytes);

// The fields of one protobuf message that lies in [begin, end), in file order and without touching their payload. `end` may lie behind the window's: then
// reading stops at what is not there, with isCut(). Corrupt: a field that leaves the message, a number past 64 bits, field 0, a group.
class CkptFieldReader {
public:
    CkptFieldReader(CkptWindow& window, std::uint64_t begin, std::uint64_t end) : m_window(&window), m_at(begin), m_end(end) {}

    // Nothing at the message's end.
    Result<std::optional<CkptField>> next();
    [[nodiscard]] bool isCut() const { return m_isCut; }
    [[nodiscard]] std::uint64_t at() const { return m_at; }

private:
    Status fill(CkptField& field, std::span<const std::byte> bytes);

    CkptWindow* m_window;
    std::uint64_t m_at;
    std::uint64_t m_end;
    bool m_isCut = false;
};

// The payload of a Bytes field as text, as far as the window goes.
[[nodiscard]] Result<std::string> textOf(CkptWindow& window, const CkptField& field);

} // namespace shardlens::mindspore
