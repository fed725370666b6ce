#include "core/encoding/mindspore_ckpt.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/mindspore_collect.h"
#include "core/io/checksum.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace shardlens::mindspore {
namespace {

constexpr std::byte kRecordKey{0x0a};
constexpr std::string_view kTrailerMark = "crc_num";
constexpr std::uint64_t kTrailerBytes = 17; // the mark and a big-endian number of 10 bytes
constexpr std::uint64_t kHeadBytes = 512;
constexpr std::uint64_t kCrcBlock = 8 << 20;
constexpr std::uint64_t kRecordsAPoll = 1024;

Error noWeights(std::string text)
{
    return {ErrorCode::Corrupt, std::move(text)};
}

// How many layouts a strategy map holds, as far as it can be read.
Result<std::uint64_t> layoutsOf(const ByteSource& source)
{
    CkptWindow window(source, source.size());
    CkptFieldReader reader(window, 0, source.size());
    std::uint64_t layouts = 0;
    for (std::uint64_t i = 0; i < kMaxCkptRecords; ++i) {
        const auto field = reader.next();
        if (!field && field.error().code() != ErrorCode::Corrupt)
            return field.error();
        if (!field || !*field)
            break;
        layouts += (*field)->is(3, CkptWireType::Bytes) ? 1 : 0;
    }
    return layouts;
}

// Fails for what is something else than weights.
Status checkKind(const ByteSource& source)
{
    if (source.size() == 0)
        return noWeights("empty file");
    SHARDLENS_ASSIGN(const auto head, readBytes(source, 0, std::min(kHeadBytes, source.size()), kHeadBytes));
    switch (mindSporeKindOf(head, source.size())) {
    case MindSporeKind::Encrypted: return Error{ErrorCode::Unsupported, fmt::format("encrypted with {}: a key is needed, and encrypted files are not read here; save it without enc_key in MindSpore", cipherOf(head))};
    case MindSporeKind::GroupMap: return noWeights("this is a map of communication groups, not weights");
    case MindSporeKind::Strategy: {
        SHARDLENS_ASSIGN(const std::uint64_t layouts, layoutsOf(source));
        return noWeights(fmt::format("this is a strategy file for {}, not weights: --source-strategy gives it to a run, and `shardlens strategy show` says what is in it", plural(layouts, "parameter", "parameters")));
    }
    case MindSporeKind::No:
    case MindSporeKind::Weights: return {};
    }
    return {};
}

// The records of one file, up to its end or to the first byte that is no record.
class CkptScan {
public:
    CkptScan(const ByteSource& source, const JobContext* job) : m_source(&source), m_job(job), m_collector(source) {}

    Result<CkptFile> run()
    {
        SHARDLENS_TRY(readTrailer());
        CkptWindow window(*m_source, m_out.contentEnd);
        bool goesOn = true;
        while (goesOn && m_at < m_out.contentEnd) {
            if (m_job != nullptr && m_out.records % kRecordsAPoll == 0)
                SHARDLENS_TRY(m_job->poll());
            SHARDLENS_ASSIGN(goesOn, record(window));
        }
        SHARDLENS_TRY(m_collector.finishRun());
        m_collector.moveInto(m_out);
        return finished();
    }

private:
    Status readTrailer()
    {
        m_out.contentEnd = m_source->size();
        if (m_source->size() < kTrailerBytes)
            return {};
        std::array<std::byte, kTrailerBytes> bytes{};
        SHARDLENS_TRY(m_source->readAt(m_source->size() - kTrailerBytes, bytes));
        if (std::string_view(reinterpret_cast<const char*>(bytes.data()), kTrailerMark.size()) != kTrailerMark)
            return {};
        m_out.contentEnd -= kTrailerBytes;
        m_out.storedCrc = loadBe64(bytes.data() + kTrailerBytes - 8);
        if (bytes[kTrailerMark.size()] != std::byte{0} || bytes[kTrailerMark.size() + 1] != std::byte{0})
            m_out.storedCrc = UINT64_MAX;
        return {};
    }

    // False where reading ends.
    Result<bool> record(CkptWindow& window)
    {
        SHARDLENS_ASSIGN(const auto head, window.view(m_at, 1 + 10));
        if (head[0] != kRecordKey)
            return noRecord(head);
        const auto length = readVarint(head.subspan(1));
        if (!length)
            return stop("mindspore-no-value", fmt::format("{}: not a MindSpore value ({})", here(), length.error().message()));
        if (length->bytes == 0) {
            SHARDLENS_TRY(m_collector.finishRun());
            return stop("mindspore-truncated", fmt::format("truncated: the file ends in the head of record {}; {}", groupedText(m_out.records + 1), beforeText()));
        }
        const std::uint64_t begin = m_at + 1 + length->bytes;
        if (length->value > m_out.contentEnd - begin)
            return cut(window, begin, length->value);
        RawRecord raw;
        const Status read = readRecord(window, begin, begin + length->value, raw);
        if (!read && read.error().code() != ErrorCode::Corrupt)
            return read.error();
        SHARDLENS_TRY(m_collector.add(raw, read ? "" : fmt::format("{}: {}", here(), read.error().message())));
        if (++m_out.records > kMaxCkptRecords)
            return Error{ErrorCode::LimitExceeded, fmt::format("more than {} records", groupedText(kMaxCkptRecords))};
        m_at = begin + length->value;
        return true;
    }

    // The record's body begins at `begin` and has more bytes than the file.
    Result<bool> cut(CkptWindow& window, std::uint64_t begin, std::uint64_t length)
    {
        const std::uint64_t missing = length - (m_out.contentEnd - begin);
        const std::uint64_t logicalEnd = length > UINT64_MAX - begin ? UINT64_MAX : begin + length;
        SHARDLENS_ASSIGN(const std::string tag, tagOfCutRecord(window, begin, logicalEnd));
        SHARDLENS_TRY(m_collector.finishRunUnless(tag));
        if (tag.empty())
            return stop("mindspore-truncated", fmt::format("truncated: {} needs {}; {}", here(), moreText(missing), beforeText()));
        m_cut = fmt::format("truncated: parameter '{}' needs {}; {}", printable(nameOfTag(tag)), moreText(missing), beforeText());
        SHARDLENS_TRY(m_collector.loseCut(tag, fmt::format("truncated: it needs {}; {}", moreText(missing), beforeText())));
        return false;
    }

    Result<bool> noRecord(std::span<const std::byte> head)
    {
        const std::uint64_t left = m_out.contentEnd - m_at;
        if (m_out.records > 0 && left <= 2 * kTrailerBytes && looksLikeTrailer(head)) {
            m_collector.note({"mindspore-crc-trailer", fmt::format("damaged or doubled CRC trailer: {} B behind the last parameter", left),
                              Severity::Warning});
            return false;
        }
        SHARDLENS_TRY(m_collector.finishRun());
        const std::string last = m_collector.lastName().empty() ? "" : fmt::format("; the last one before it is '{}'", printable(m_collector.lastName()));
        return stop("mindspore-no-value", fmt::format("{}: not a MindSpore value (byte 0x{:02x}){}", here(), std::to_integer<unsigned>(head[0]), last));
    }

    // The mark, with at most two other letters, or the start of one that is cut.
    static bool looksLikeTrailer(std::span<const std::byte> bytes)
    {
        const std::size_t letters = std::min(bytes.size(), kTrailerMark.size());
        std::size_t same = 0;
        for (std::size_t i = 0; i < letters; ++i)
            same += bytes[i] == static_cast<std::byte>(kTrailerMark[i]) ? 1 : 0;
        return same == letters || same + 2 >= kTrailerMark.size();
    }

    Result<bool> stop(std::string code, std::string text)
    {
        m_stop = text;
        m_collector.note({std::move(code), std::move(text), Severity::Error});
        return false;
    }

    Result<CkptFile> finished()
    {
        if (!m_out.entries.empty())
            return std::move(m_out);
        if (!m_stop.empty())
            return noWeights(m_stop);
        if (!m_cut.empty())
            return noWeights(m_cut);
        if (!m_out.lost.empty())
            return noWeights(fmt::format("parameter '{}': {}", printable(m_out.lost.front().name), m_out.lost.front().problem));
        return noWeights("no parameters");
    }

    [[nodiscard]] std::string here() const { return fmt::format("record {} at offset {}", groupedText(m_out.records + 1), groupedText(m_at)); }
    static std::string moreText(std::uint64_t bytes) { return plural(bytes, "more byte", "more bytes"); }
    [[nodiscard]] std::string beforeText() const { return fmt::format("{} before it", plural(m_collector.complete(), "complete parameter", "complete parameters")); }

    const ByteSource* m_source;
    const JobContext* m_job;
    CkptCollector m_collector;
    CkptFile m_out;
    std::uint64_t m_at = 0;
    std::string m_stop; // why reading ended
    std::string m_cut;  // the same, of a parameter with a name
};

} // namespace

Result<CkptFile> readCkpt(const ByteSource& source, const JobContext* job)
{
    SHARDLENS_TRY(checkKind(source));
    return CkptScan(source, job).run();
}

Result<std::uint32_t> contentCrc(const ByteSource& source, std::uint64_t end, JobContext& job)
{
    std::uint32_t sum = 0;
    std::vector<std::byte> buffer(static_cast<std::size_t>(std::min(kCrcBlock, end)));
    for (std::uint64_t at = 0; at < end; at += buffer.size()) {
        SHARDLENS_TRY(job.poll());
        const auto bytes = std::span(buffer).first(static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), end - at)));
        SHARDLENS_TRY(source.readAt(at, bytes));
        sum = crc32Of(bytes, sum);
        job.progress().bytesRead.fetch_add(bytes.size(), std::memory_order_relaxed);
        job.advance(bytes.size());
    }
    return sum;
}

std::string crcProblem(const CkptFile& file, std::uint32_t computed)
{
    const std::uint64_t stored = *file.storedCrc;
    if (stored == computed)
        return {};
    if (stored > UINT32_MAX)
        return fmt::format("the CRC trailer is damaged: its number has more than 32 bits; the CRC-32 of the bytes before it is {:08x}", computed);
    return fmt::format("CRC mismatch: the CRC-32 of its bytes is {:08x}, and {:08x} was written with them{}", computed, stored,
                       file.hasUncountedRecords ? " (known for files with map, huge or offloaded parameters)" : ": they have changed since");
}

} // namespace shardlens::mindspore
