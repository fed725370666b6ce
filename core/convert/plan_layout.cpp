#include "core/convert/plan_layout.h"

#include "core/base/text.h"
#include "core/convert/plan_archive.h"
#include "core/convert/stored_reads.h"
#include "core/encoding/tensor_reader.h"

#include <fmt/format.h>

#include <set>
#include <unordered_map>

namespace shardlens {
namespace {

constexpr std::size_t kFilesNamed = 32;

PlanLine::Kind kindOf(TargetNote::Kind kind)
{
    switch (kind) {
    case TargetNote::Kind::Kept: return PlanLine::Kind::Kept;
    case TargetNote::Kind::Info: return PlanLine::Kind::Info;
    case TargetNote::Kind::Dropped: return PlanLine::Kind::Dropped;
    case TargetNote::Kind::Cast: return PlanLine::Kind::Cast;
    case TargetNote::Kind::Warning: return PlanLine::Kind::Warning;
    }
    return PlanLine::Kind::Info;
}

// Turns the files of a target into files of a plan.
class TargetPlanner {
public:
    TargetPlanner(Plan& plan, JobContext& job) : m_plan(plan), m_job(job), m_streams(plan.payload) {}

    Status addTorch(TargetTorchFile file);
    Status addFlat(TargetFlatFile file);
    Status addDcp(TargetDcpFile file);
    void addBytes(TargetBytesFile file);
    void addText(TargetTextFile file);
    void finish();

private:
    // True where it is computed.
    Result<bool> checkWhole(TensorId tensor);
    Result<PlannedTensor> planned(const TargetRun& run);
    Result<ArchiveStorage> storageOf(TargetStorage storage);
    Result<ArchiveContent> archiveOf(std::vector<std::byte> pickle, std::vector<TargetStorage> storages);
    template <class TargetFile> Status keep(Result<PlannedFile> planned, const TargetFile& file); // with the file's name, rank, tensors and sources

    Plan& m_plan;
    JobContext& m_job;
    StreamSet m_streams;
    struct Checked {
        std::vector<FileId> files;
        bool isComputed = false;
    };
    std::unordered_map<TensorId, Checked> m_checked;
    std::set<FileId> m_sources; // of the file being planned
    StoredReads m_reads;
};

// A hole is refused with tensor, region, rank and file.
Result<bool> TargetPlanner::checkWhole(TensorId tensor)
{
    auto [known, isNew] = m_checked.try_emplace(tensor);
    if (isNew) {
        SHARDLENS_TRY(m_job.poll());
        SHARDLENS_ASSIGN(const TensorReader reader, TensorReader::open(m_streams, tensor));
        std::set<FileId> files;
        reader.forEachPiece([&](PieceId piece, std::uint64_t) {
            const Stream& stream = m_plan.payload->stream(m_plan.payload->pieces().at(piece).source.stream);
            if (stream.file != kNoFile)
                files.insert(stream.file);
        });
        known->second = {{files.begin(), files.end()}, m_reads.add(*m_plan.payload, reader)};
    }
    m_sources.insert(known->second.files.begin(), known->second.files.end());
    return known->second.isComputed;
}

void TargetPlanner::finish()
{
    m_plan.bytesToRead += m_reads.computedBytes();
    m_reads.finish(m_plan);
}

Result<PlannedTensor> TargetPlanner::planned(const TargetRun& run)
{
    SHARDLENS_ASSIGN(const bool isComputed, checkWhole(run.tensor));
    const std::uint64_t cell = info(run.dtype).bytesPerBlock;
    if (!isComputed) // computations are counted whole, in the end
        m_plan.bytesToRead += run.values * info(m_plan.payload->tensor(run.tensor).dtype).bytesPerBlock;
    return PlannedTensor{m_plan.payload->fullName(run.tensor), run.tensor, run.dtype, run.offsetBytes, run.values * cell, false, false, run.firstValue * cell};
}

Result<ArchiveStorage> TargetPlanner::storageOf(TargetStorage storage)
{
    ArchiveStorage out{storage.sizeBytes, {}};
    out.runs.reserve(storage.runs.size());
    for (const TargetRun& run : storage.runs) {
        SHARDLENS_ASSIGN(PlannedTensor tensor, planned(run));
        out.runs.push_back(std::move(tensor));
    }
    return out;
}

Status TargetPlanner::addFlat(TargetFlatFile file)
{
    m_sources.clear();
    PlannedFile out;
    out.name = std::move(file.name);
    out.container = file.container == TargetFlatFile::Container::Safetensors ? PlannedFile::Container::Safetensors : PlannedFile::Container::MindSporeCkpt;
    out.sizeBytes = file.sizeBytes;
    for (TargetBytes& literal : file.literals)
        out.literals.push_back({literal.offset, std::move(literal.bytes)});
    out.tensors.reserve(file.runs.size());
    for (const TargetRun& run : file.runs) {
        SHARDLENS_ASSIGN(PlannedTensor tensor, planned(run));
        out.tensors.push_back(std::move(tensor));
    }
    out.tensorCount = file.tensors;
    out.rank = file.rank;
    out.sources.assign(m_sources.begin(), m_sources.end());
    m_plan.files.push_back(std::move(out));
    return {};
}

Result<ArchiveContent> TargetPlanner::archiveOf(std::vector<std::byte> pickle, std::vector<TargetStorage> storages)
{
    ArchiveContent out;
    out.pickle = std::move(pickle);
    for (TargetStorage& storage : storages) {
        SHARDLENS_ASSIGN(ArchiveStorage planned, storageOf(std::move(storage)));
        out.storages.push_back(std::move(planned));
    }
    return out;
}

template <class TargetFile> Status TargetPlanner::keep(Result<PlannedFile> planned, const TargetFile& file)
{
    if (!planned)
        return planned.takeError().within(printable(file.name));
    planned->tensorCount = file.tensors;
    planned->rank = file.rank;
    planned->sources.assign(m_sources.begin(), m_sources.end());
    m_plan.files.push_back(planned.take());
    return {};
}

Status TargetPlanner::addDcp(TargetDcpFile file)
{
    m_sources.clear();
    std::vector<ArchiveContent> items;
    for (TargetDcpItem& item : file.items) {
        SHARDLENS_ASSIGN(ArchiveContent content, archiveOf(std::move(item.pickle), std::move(item.storages)));
        items.push_back(std::move(content));
    }
    return keep(planDcpFile(file.name, std::move(items)), file);
}

void TargetPlanner::addBytes(TargetBytesFile file)
{
    PlannedFile out;
    out.name = std::move(file.name);
    out.container = PlannedFile::Container::Pickle;
    out.sizeBytes = file.bytes.size();
    out.literals.push_back({0, std::move(file.bytes)});
    m_plan.files.push_back(std::move(out));
}

Status TargetPlanner::addTorch(TargetTorchFile file)
{
    m_sources.clear();
    SHARDLENS_ASSIGN(ArchiveContent content, archiveOf(std::move(file.pickle), std::move(file.storages)));
    content.bigEndian = file.bigEndian;
    return keep(planTorchArchive(file.name, std::move(content)), file);
}

void TargetPlanner::addText(TargetTextFile file)
{
    const auto* bytes = reinterpret_cast<const std::byte*>(file.text.data());
    PlannedFile out;
    out.name = std::move(file.name);
    out.sizeBytes = file.text.size();
    out.literals.push_back({0, {bytes, bytes + file.text.size()}});
    m_plan.files.push_back(std::move(out));
}

// What is wrong with the source as a whole stops a job that takes all of it.
Status checkWholeSource(const Checkpoint& source)
{
    for (const Finding& finding : source.findings()) {
        if (finding.severity != Severity::Error || finding.lost) // the family decides about what it does not read
            continue;
        std::string text = finding.text;
        if (!text.empty() && text.back() == '.')
            text.pop_back();
        return Error{ErrorCode::Refused, std::move(text)};
    }
    return {};
}

} // namespace

namespace {

// For whoever copies the files of one rank to where it runs.
void addReads(Plan& plan)
{
    if (!plan.request.rank || plan.files.size() != 1)
        return;
    const std::vector<FileId>& sources = plan.files.front().sources;
    std::string names;
    for (std::size_t i = 0; i < std::min(sources.size(), kFilesNamed); ++i)
        names += (names.empty() ? "" : ", ") + printable(plan.payload->file(sources[i]).name);
    plan.lines.push_back({PlanLine::Kind::Info, "Reads", fmt::format("Of {} of the source {}: {}{}.", plural(plan.source->files().size(), "file", "files"), sources.size(), names,
                                                                      sources.size() > kFilesNamed ? " …" : "")});
}

} // namespace

Status planTarget(Target target, Plan& plan, JobContext& job)
{
    SHARDLENS_TRY(checkWholeSource(*plan.source));
    plan.payload = std::move(target.payload);
    TargetPlanner planner(plan, job);
    for (TargetTorchFile& file : target.torchFiles)
        SHARDLENS_TRY(planner.addTorch(std::move(file)));
    for (TargetFlatFile& file : target.flatFiles)
        SHARDLENS_TRY(planner.addFlat(std::move(file)));
    for (TargetDcpFile& file : target.dcpFiles)
        SHARDLENS_TRY(planner.addDcp(std::move(file)));
    for (TargetBytesFile& file : target.bytesFiles)
        planner.addBytes(std::move(file));
    for (TargetTextFile& file : target.textFiles)
        planner.addText(std::move(file));
    planner.finish();
    addReads(plan);
    plan.leftOut = std::move(target.leftOut);
    plan.layoutBefore = std::move(target.before);
    plan.layoutAfter = std::move(target.after);
    for (const TargetResult& result : target.results)
        plan.results.push_back({result.name, result.tensor, result.dtype});
    for (TargetNote& note : target.notes)
        plan.lines.push_back({kindOf(note.kind), std::move(note.topic), std::move(note.text)});
    for (const Finding& finding : plan.source->findings())
        if (finding.severity == Severity::Warning)
            plan.lines.push_back({PlanLine::Kind::Warning, "Source", finding.text});
    if (target.logical)
        plan.source = std::move(target.logical);
    return {};
}

} // namespace shardlens
