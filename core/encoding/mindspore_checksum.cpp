#include "core/encoding/mindspore_checksum.h"

#include "core/io/checksum.h"

#include <algorithm>
#include <charconv>
#include <span>
#include <string_view>
#include <vector>

namespace shardlens::mindspore {
namespace {

constexpr std::string_view kCrcMember = "crc_num";
constexpr std::uint64_t kBlock = 1u << 20;

} // namespace

std::optional<std::uint64_t> storedSafetensorsCrc(const SafetensorsHeader& header)
{
    for (const auto& [key, value] : header.metadata) {
        if (key != kCrcMember)
            continue;
        std::uint64_t out = 0;
        const auto [end, failed] = std::from_chars(value.data(), value.data() + value.size(), out);
        if (!value.empty() && failed == std::errc{} && end == value.data() + value.size())
            return out;
    }
    return std::nullopt;
}

Result<std::uint32_t> safetensorsCrc(const ByteSource& source, const SafetensorsHeader& header, JobContext& job)
{
    std::vector<const SafetensorsEntry*> entries;
    for (const SafetensorsEntry& entry : header.entries)
        entries.push_back(&entry);
    std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry* a, const SafetensorsEntry* b) { return a->name < b->name; });
    std::uint32_t sum = 0;
    std::vector<std::byte> buffer(kBlock);
    for (const SafetensorsEntry* entry : entries) {
        sum = crc32Of(std::as_bytes(std::span(entry->name)), sum);
        for (std::uint64_t at = entry->begin; at < entry->end; at += kBlock) {
            SHARDLENS_TRY(job.poll());
            const auto bytes = std::span(buffer).first(static_cast<std::size_t>(std::min(kBlock, entry->end - at)));
            SHARDLENS_TRY(source.readAt(header.dataOffset + at, bytes));
            sum = crc32Of(bytes, sum);
            job.progress().bytesRead.fetch_add(bytes.size(), std::memory_order_relaxed);
            job.advance(bytes.size());
        }
    }
    return sum;
}

} // namespace shardlens::mindspore
