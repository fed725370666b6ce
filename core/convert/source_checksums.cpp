#include "core/convert/source_checksums.h"

#include "core/base/text.h"
#include "core/encoding/mindspore_checksum.h"
#include "core/encoding/mindspore_ckpt.h"
#include "core/io/byte_source.h"

#include <fmt/format.h>

#include <set>
#include <string_view>

namespace shardlens {
namespace {

bool hasOne(const File& file)
{
    return file.state == File::State::Read && (file.container == mindspore::kCkptContainer || file.container == "safetensors");
}

// Of the files that hold what the source's tensors are computed from.
void addFilesBelow(const Plan& plan, std::vector<const File*>& out)
{
    StoredTensors below;
    for (const auto& computation : plan.prepared)
        for (const Computation::Input& input : computation->inputs())
            addStored(*input.checkpoint, input.tensor, below);
    std::set<std::string_view> known;
    for (const File* const file : out)
        known.insert(file->path);
    for (const auto& [checkpoint, tensors] : below)
        for (const TensorId tensor : tensors)
            for (std::size_t row = checkpoint->pieces().firstOf(tensor); row < checkpoint->pieces().lastOf(tensor); ++row) {
                const FileId file = checkpoint->stream(checkpoint->pieces().at(idAt<PieceId>(row)).source.stream).file;
                if (file != kNoFile && hasOne(checkpoint->file(file)) && known.insert(checkpoint->file(file).path).second)
                    out.push_back(&checkpoint->file(file));
            }
}

// Of a layout the files that its own are made of, else all of the source.
std::vector<const File*> filesRead(const Plan& plan)
{
    std::set<FileId> named;
    for (const PlannedFile& file : plan.files)
        named.insert(file.sources.begin(), file.sources.end());
    std::vector<const File*> out;
    for (std::size_t i = 0; i < plan.source->files().size(); ++i) {
        const File& file = plan.source->files()[i];
        if (hasOne(file) && (named.empty() || named.contains(idAt<FileId>(i))))
            out.push_back(&file);
    }
    addFilesBelow(plan, out);
    return out;
}

Status checkSafetensors(const ByteSource& source, JobContext& job)
{
    SHARDLENS_ASSIGN(const SafetensorsHeader header, readSafetensorsHeader(source));
    const auto stored = mindspore::storedSafetensorsCrc(header);
    if (!stored)
        return {};
    SHARDLENS_ASSIGN(const std::uint32_t sum, mindspore::safetensorsCrc(source, header, job));
    if (sum != *stored)
        return Error{ErrorCode::Corrupt, fmt::format("CRC mismatch: the CRC-32 of its names and tensors is {}, and crc_num says {}: they have changed since", sum, *stored)};
    return {};
}

Status checkFile(const File& file, JobContext& job)
{
    SHARDLENS_ASSIGN(const auto source, FileSource::open(file.path));
    if (file.container != mindspore::kCkptContainer)
        return checkSafetensors(*source, job);
    SHARDLENS_ASSIGN(const auto ckpt, mindspore::readCkpt(*source, &job));
    if (!ckpt.storedCrc)
        return {};
    SHARDLENS_ASSIGN(const std::uint32_t sum, mindspore::contentCrc(*source, ckpt.contentEnd, job));
    if (const std::string problem = mindspore::crcProblem(ckpt, sum); !problem.empty())
        return Error{ErrorCode::Corrupt, problem};
    return {};
}

} // namespace

Status checkSourceChecksums(const Plan& plan, Executor& executor, JobContext& job)
{
    const std::vector<const File*> files = filesRead(plan);
    return executor.forEach(files.size(), [&](std::size_t i) -> Status {
        SHARDLENS_TRY(job.poll());
        Status checked = checkFile(*files[i], job);
        if (!checked && checked.error().code() != ErrorCode::Cancelled)
            return checked.takeError().within(printable(files[i]->name));
        return checked;
    });
}

} // namespace shardlens
