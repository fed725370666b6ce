#include "core/encoding/mindspore_text.h"

#include "core/base/endian.h"

namespace shardlens::mindspore {
namespace {

constexpr std::size_t kCodePointBytes = 4;

void appendUtf8(std::string& out, std::uint32_t point)
{
    if (point < 0x80) {
        out += static_cast<char>(point);
        return;
    }
    const int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3; // bytes behind the first
    constexpr std::uint32_t kLead[] = {0, 0xc0, 0xe0, 0xf0};
    out += static_cast<char>(kLead[more] | point >> (6 * more));
    for (int i = more - 1; i >= 0; --i)
        out += static_cast<char>(0x80 | (point >> (6 * i) & 0x3f));
}

} // namespace

std::optional<std::string> utf8OfUtf32(std::span<const std::byte> bytes)
{
    if (bytes.size() % kCodePointBytes != 0)
        return std::nullopt;
    while (!bytes.empty() && loadLe32(bytes.data() + bytes.size() - kCodePointBytes) == 0)
        bytes = bytes.first(bytes.size() - kCodePointBytes);
    std::string out;
    for (std::size_t at = 0; at < bytes.size(); at += kCodePointBytes) {
        const std::uint32_t point = loadLe32(bytes.data() + at);
        if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
            return std::nullopt;
        appendUtf8(out, point);
    }
    return out;
}

std::vector<std::byte> utf32OfUtf8(std::string_view text)
{
    std::vector<std::byte> out;
    const auto append = [&](std::uint32_t point) {
        out.resize(out.size() + kCodePointBytes);
        storeLe(out.data() + out.size() - kCodePointBytes, point);
    };
    for (std::size_t at = 0; at < text.size();) {
        const auto lead = static_cast<unsigned char>(text[at++]);
        const int more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
        std::uint32_t point = more == 0 ? lead : lead & (0x3fu >> more);
        for (int i = 0; i < more && at < text.size(); ++i)
            point = point << 6 | (static_cast<unsigned char>(text[at++]) & 0x3fu);
        append(point);
    }
    if (out.empty())
        append(0);
    return out;
}

} // namespace shardlens::mindspore
