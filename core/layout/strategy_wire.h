#pragma once

#include "core/base/result.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace shardlens::mindspore {

// One field of a protobuf message.
struct WireField {
    enum class Type : std::uint8_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };
    std::uint32_t number = 0;
    Type type = Type::Varint;
    std::uint64_t value = 0;  // Varint, as it is on the wire
    std::string_view bytes;   // Bytes; dies with the message
    std::uint64_t offset = 0; // of its tag, in the file
};

// Walks the fields of one message in memory, without recursion: a message in a field is walked by a reader of its own.
class WireReader {
public:
    // `offset` is where `message` begins in the file, for what errors say.
    explicit WireReader(std::string_view message, std::uint64_t offset = 0) : m_message(message), m_offset(offset) {}
    // Of a field of type Bytes.
    explicit WireReader(const WireField& field, std::string_view file) : WireReader(field.bytes, static_cast<std::uint64_t>(field.bytes.data() - file.data())) {}

    [[nodiscard]] bool atEnd() const { return m_at == m_message.size(); }
    // Corrupt: "truncated: …" with the bytes that are missing, a varint of more than 10 bytes, groups and unknown wire types. Not after the end.
    [[nodiscard]] Result<WireField> next();
    // A varint by itself: packed numbers.
    [[nodiscard]] Result<std::uint64_t> varint();

private:
    std::string_view m_message;
    std::uint64_t m_offset;
    std::size_t m_at = 0;
};

void appendVarint(std::string& out, std::uint64_t value);
void appendNumber(std::string& out, std::uint32_t field, std::uint64_t value); // negative numbers: sign-extended to 64 bits
void appendBytes(std::string& out, std::uint32_t field, std::string_view bytes);

} // namespace shardlens::mindspore
