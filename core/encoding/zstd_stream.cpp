#include "core/encoding/zstd_stream.h"

#include "core/base/text.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <memory>

namespace shardlens {

Result<std::vector<std::byte>> zstdPrefix(const ByteSource& source, std::uint64_t offset, std::uint64_t storedBytes, std::uint64_t most)
{
    const std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(), ZSTD_freeDStream);
    if (!stream)
        return Error{ErrorCode::LimitExceeded, "no memory for a zstd decoder"};
    std::vector<std::byte> packed(ZSTD_DStreamInSize());
    std::vector<std::byte> plain(ZSTD_DStreamOutSize());
    std::vector<std::byte> out;
    std::size_t hint = 1; // 0: a frame is complete
    for (std::uint64_t at = 0; at < storedBytes && out.size() < most;) {
        const std::span<std::byte> part = std::span(packed).first(std::min<std::uint64_t>(packed.size(), storedBytes - at));
        SHARDLENS_TRY(source.readAt(offset + at, part));
        at += part.size();
        ZSTD_inBuffer in{part.data(), part.size(), 0};
        bool isFull = true; // more may come out without more going in
        while ((in.pos < in.size || isFull) && out.size() < most) {
            ZSTD_outBuffer made{plain.data(), plain.size(), 0};
            hint = ZSTD_decompressStream(stream.get(), &made, &in);
            if (ZSTD_isError(hint) != 0)
                return Error{ErrorCode::Corrupt, fmt::format("zstd: {}", ZSTD_getErrorName(hint))};
            const std::size_t taken = std::min<std::uint64_t>(made.pos, most - out.size());
            out.insert(out.end(), plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(taken));
            isFull = made.pos == made.size;
        }
    }
    if (out.size() < most && hint != 0)
        return Error{ErrorCode::Corrupt, fmt::format("zstd: the data end after {} B inside a frame", groupedText(out.size()))};
    return out;
}

} // namespace shardlens
