#include "core/convert/source_checksums.h"

#include "core/base/text.h"
#include "core/encoding/mindspore_checksum.h"
#include "core/encoding/mindspore_ckpt.h"
#include "core/io/byte_source.h"

#include <fmt/format.h>

#include <set>

namespace shardlens {
namespace {

// Of a layout the files that its own are made of, else all of the source.
std::vector<const File*> filesRead(const Plan& plan)
{
    std::set<FileId> named;
    for (const PlannedFile& file : plan.files)
        named.insert(file.sources.begin(), file.sources.end());
    std::vector<const File*> out;
    for (std::size_t i = 0; i < plan.source->files().size(); ++i) {
        const File& file = plan.source->files()[i];
        const bool hasOne = file.container == mindspore::kCkptContainer || file.container == "safetensors";
        if (file.state == File::State::Read && hasOne && (named.empty() || named.contains(idAt<FileId>(i))))
            out.push_back(&file);
    }
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
