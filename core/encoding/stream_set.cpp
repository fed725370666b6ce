#include "core/encoding/tensor_reader.h"

#include "core/base/text.h"
#include "core/encoding/zstd_stream.h"

#include <fmt/format.h>
#include <libdeflate.h>

#include <sys/resource.h>

namespace shardlens {
namespace {

constexpr std::size_t kLeastOpen = 128;
constexpr std::size_t kOthersOpen = 256; // descriptors that the rest of the process may need
constexpr std::uint64_t kMostDecoded = 1ull << 30; // bytes of decoded members that are kept
constexpr std::uint64_t kDecodedOverhead = 256;    // of keeping one, so that empty ones are not free
constexpr std::uint64_t kLargestDecodedMember = 4ull << 30;
constexpr std::uint64_t kLargestGain = 1032; // of deflate: a larger claim is a lie

Status checkUnchanged(const File& file, const FileStamp& now)
{
    if (now.sizeBytes != file.size)
        return Error{ErrorCode::Io, fmt::format("changed since it was opened: {} B then, {} B now", groupedText(file.size), groupedText(now.sizeBytes))};
    if (now.modifiedNs != file.modifiedNs)
        return Error{ErrorCode::Io, "changed since it was opened: its time is another one"};
    if (file.inode != 0 && now.inode != file.inode)
        return Error{ErrorCode::Io, "changed since it was opened: another file has its name"};
    return {};
}

Result<std::shared_ptr<const ByteSource>> decodeMember(const ByteSource& file, const Stream& stream)
{
    if (stream.sizeBytes > kLargestDecodedMember)
        return Error{ErrorCode::LimitExceeded, fmt::format("a compressed member of {} B, at most {} B are decoded", groupedText(stream.sizeBytes),
                                                           groupedText(kLargestDecodedMember))};
    if (stream.codec == Stream::Codec::Zstd) {
        SHARDLENS_ASSIGN(std::vector<std::byte> plain, zstdPrefix(file, stream.offset, stream.storedBytes, stream.sizeBytes));
        if (plain.size() != stream.sizeBytes)
            return Error{ErrorCode::Corrupt, fmt::format("a compressed item at offset {} decodes to {} B, and {} are needed", groupedText(stream.offset), groupedText(plain.size()), groupedText(stream.sizeBytes))};
        return std::shared_ptr<const ByteSource>(std::make_shared<MemorySource>(std::move(plain)));
    }
    if (stream.sizeBytes / kLargestGain > stream.storedBytes)
        return Error{ErrorCode::Corrupt, fmt::format("a compressed member says {} B from {} compressed", groupedText(stream.sizeBytes), groupedText(stream.storedBytes))};
    SHARDLENS_ASSIGN(const auto packed, readBytes(file, stream.offset, stream.storedBytes, kLargestDecodedMember));
    std::vector<std::byte> bytes(stream.sizeBytes);
    libdeflate_decompressor* decoder = libdeflate_alloc_decompressor();
    std::size_t made = 0;
    const libdeflate_result result = libdeflate_deflate_decompress(decoder, packed.data(), packed.size(), bytes.data(), bytes.size(), &made);
    libdeflate_free_decompressor(decoder);
    if (result != LIBDEFLATE_SUCCESS || made != bytes.size())
        return Error{ErrorCode::Corrupt, fmt::format("a compressed member at offset {} does not decode to its {} B", groupedText(stream.offset), groupedText(stream.sizeBytes))};
    return std::shared_ptr<const ByteSource>(std::make_shared<MemorySource>(std::move(bytes)));
}

// An output of a computation, as bytes to be read.
class ComputedSource final : public ByteSource {
public:
    ComputedSource(std::shared_ptr<const Computation> computation, std::size_t output) : m_computation(std::move(computation)), m_output(output) {}

    [[nodiscard]] std::uint64_t size() const override { return m_computation->sizeBytes(m_output); }
    Status readAt(std::uint64_t offset, std::span<std::byte> out) const override { return m_computation->readAt(m_output, offset, out); }

private:
    std::shared_ptr<const Computation> m_computation;
    std::size_t m_output;
};

// As many as the process may have open, less what others need: a thousand ranks are read piece by piece in turn.
std::size_t mostOpen()
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < kLeastOpen + kOthersOpen)
        return kLeastOpen;
    return static_cast<std::size_t>(limit.rlim_cur) - kOthersOpen;
}

} // namespace

StreamSet::StreamSet(CheckpointPtr checkpoint) : m_checkpoint(std::move(checkpoint)), m_files(mostOpen()), m_decoded(kMostDecoded) {}

std::shared_ptr<const ByteSource> StreamSet::known(StreamId id) const
{
    const std::lock_guard lock(m_mutex);
    return m_checkpoint->stream(id).kind == Stream::Kind::Deflated ? m_decoded.find(id) : m_files.find(id);
}

Result<std::shared_ptr<const ByteSource>> StreamSet::source(StreamId id) const
{
    const Stream& stream = m_checkpoint->stream(id);
    if (stream.kind == Stream::Kind::Inline || stream.kind == Stream::Kind::Computed)
        return openStream(stream); // in memory, or nothing to open
    if (auto opened = known(id))
        return opened;
    // Of threads that want the same compressed member one decodes it, and the others wait.
    std::unique_lock<std::mutex> alone;
    if (stream.kind == Stream::Kind::Deflated) {
        alone = std::unique_lock(m_decoding[indexOf(id) % m_decoding.size()]);
        if (auto opened = known(id))
            return opened;
    }
    SHARDLENS_ASSIGN(auto opened, openStream(stream));
    const std::lock_guard lock(m_mutex);
    if (stream.kind == Stream::Kind::Deflated)
        return m_decoded.add(id, std::move(opened), stream.sizeBytes + kDecodedOverhead);
    return m_files.add(id, std::move(opened), 1);
}

Result<std::shared_ptr<const ByteSource>> StreamSet::openStream(const Stream& stream) const
{
    if (stream.kind == Stream::Kind::Inline) {
        const auto first = m_checkpoint->inlineBytes().begin() + static_cast<std::ptrdiff_t>(stream.offset);
        return std::shared_ptr<const ByteSource>(
            std::make_shared<MemorySource>(std::vector<std::byte>(first, first + static_cast<std::ptrdiff_t>(stream.sizeBytes))));
    }
    if (stream.kind == Stream::Kind::Computed)
        return std::shared_ptr<const ByteSource>(std::make_shared<ComputedSource>(m_checkpoint->computations()[stream.computation], stream.output));
    if (stream.kind == Stream::Kind::Missing)
        return Error{ErrorCode::NotFound, stream.file == kNoFile ? "not stored" : fmt::format("{} is missing", printable(m_checkpoint->file(stream.file).name))};
    const File& file = m_checkpoint->file(stream.file);
    auto opened = FileSource::open(file.path);
    if (!opened)
        return opened.takeError().within(printable(file.name));
    if (Status same = checkUnchanged(file, (*opened)->stamp()); !same)
        return same.takeError().within(printable(file.name));
    if (stream.kind == Stream::Kind::File)
        return std::shared_ptr<const ByteSource>(opened.take());
    auto decoded = decodeMember(**opened, stream);
    if (!decoded)
        return decoded.takeError().within(printable(file.name));
    return decoded;
}

} // namespace shardlens
