#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::test {

struct MadeMember {
    std::string name;
    std::string data{};
    std::uint16_t method = 0;
    std::optional<std::uint64_t> sizeBytes{}; // decoded; without: that of `data`
    std::uint16_t padding = 0;    // bytes of an extra field before the data
    bool wide = false;            // sizes and offset stand in a ZIP64 block
};

struct ZipOptions {
    std::string before{}; // bytes in front of the archive, which its offsets do not count
    std::string comment{};
    std::string after{};  // bytes behind it
    bool zip64 = false;  // ZIP64 end record and locator; the plain record says 0xFFFF and 0xFFFFFFFF
};

struct MadeZip {
    std::string bytes;
    std::vector<std::size_t> headers; // where each local header begins
    std::vector<std::size_t> data;    // where each member's bytes begin
    std::vector<std::size_t> rows;    // where each row of the directory begins
    std::size_t end = 0;              // where the end record begins
};

// An archive as any packer might write it; shares no code with the reader. CRCs are 0: the reader leaves them to who copies the data.
[[nodiscard]] MadeZip makeZip(const std::vector<MadeMember>& members, const ZipOptions& options = {});
// Deflated bytes of a text: one block that is stored as it is (RFC 1951 §3.2.4), at most 65,535 bytes.
[[nodiscard]] std::string deflatedAsIs(std::string_view text);
// Overwrites bytes with a little-endian number.
void patch(std::string& bytes, std::size_t at, std::uint64_t value, std::size_t count);

} // namespace shardlens::test
