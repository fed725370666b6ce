#include "core/convert/execute.h"

#include "core/base/text.h"
#include "core/compute/devices.h"
#include "core/convert/copier.h"
#include "core/convert/process_memory.h"
#include "core/convert/publish.h"
#include "core/convert/source_checksums.h"
#include "core/convert/verify_result.h"
#include "core/encoding/container_check.h"
#include "core/io/disk_space.h"
#include "core/io/staged_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace shardlens {
namespace {

void enter(ConvertPhase phase, JobContext& job)
{
    job.progress().phase.store(static_cast<std::uint32_t>(phase), std::memory_order_relaxed);
}

std::uint64_t tensorBytes(const Plan& plan)
{
    std::uint64_t bytes = 0;
    for (const PlannedResult& result : plan.results)
        bytes += resultBytes(plan, result);
    return bytes;
}

Result<StagedOutput> stage(const Plan& plan)
{
    SHARDLENS_TRY(checkTarget(*plan.source, plan.request));
    const TargetPath target(plan.request.target);
    if (Status room = checkDiskSpace(target.parent, plan.bytesToWrite); !room)
        return room.takeError().within("target " + printable(target.path));
    auto staged = StagedOutput::create({target.path, plan.targetIsFile, jobHash(plan.request)});
    if (!staged)
        return staged.takeError().within("target " + printable(target.path));
    return staged;
}

// Fills the staged folder; returns what the run has to say beside the plan.
Status copyAll(const Plan& plan, StagedOutput& staged, Executor& executor, JobContext& job, ConvertReport& report)
{
    for (const PlannedFile& file : plan.files)
        SHARDLENS_TRY(staged.makeFoldersOf(file.name));
    enter(ConvertPhase::Copy, job);
    Copier copier(plan, staged.contentFolder(), job);
    SHARDLENS_TRY(copier.run(executor));
    report.bytesRead = copier.bytesRead();
    report.bytesWritten = plan.bytesToWrite;
    for (PlanLine& line : copier.overflowLines())
        report.lines.push_back(std::move(line));
    for (std::string& remark : plan.engine ? plan.engine->remarks() : std::vector<std::string>())
        report.lines.push_back({PlanLine::Kind::Warning, "Device", std::move(remark)});
    return {};
}

// The tensors whose stored bytes the result is made of; of a computed one those that it is computed from.
StoredTensors sourcesOf(const Plan& plan)
{
    StoredTensors out;
    for (const PlannedResult& result : plan.results)
        addStored(*plan.source, result.source, out);
    if (plan.results.empty()) // files of one rank alone: parts of any tensor
        for (std::size_t i = 0; i < plan.source->tensors().size(); ++i)
            addStored(*plan.source, idAt<TensorId>(i), out);
    return out;
}

// The sums of the archives that the source's bytes lie in. Bytes that changed since they were written are copied as they are, with a new checksum: only the source
// can tell. PyTorch does not look.
class SourceSums {
public:
    static Result<SourceSums> prepare(const Plan& plan, JobContext& job)
    {
        SourceSums out;
        for (const auto& [checkpoint, tensors] : sourcesOf(plan)) {
            SHARDLENS_ASSIGN(ContainerCheck check, ContainerCheck::prepareFor(*checkpoint, {tensors.begin(), tensors.end()}, job));
            out.m_checks.emplace_back(checkpoint, std::move(check));
        }
        return out;
    }

    [[nodiscard]] std::uint64_t totalBytes() const
    {
        std::uint64_t bytes = 0;
        for (const auto& [checkpoint, check] : m_checks)
            bytes += check.totalBytes();
        return bytes;
    }

    Status run(Executor& executor, JobContext& job, ConvertReport& report) const
    {
        report.bytesRead += totalBytes();
        for (const auto& [checkpoint, check] : m_checks) {
            SHARDLENS_ASSIGN(const std::vector<Finding> found, check.run(*checkpoint, executor, job));
            for (const Finding& finding : found)
                if (finding.severity != Severity::Info)
                    report.lines.push_back({PlanLine::Kind::Warning, "Source is damaged", finding.text + " The result is made of the changed bytes."});
        }
        return {};
    }

private:
    std::vector<std::pair<const Checkpoint*, ContainerCheck>> m_checks;
};

} // namespace

const char* nameOf(ConvertPhase phase)
{
    switch (phase) {
    case ConvertPhase::Open: return "open";
    case ConvertPhase::Plan: return "plan";
    case ConvertPhase::Copy: return "copy";
    case ConvertPhase::Flush: return "flush";
    case ConvertPhase::Verify: return "verify";
    case ConvertPhase::Publish: return "publish";
    case ConvertPhase::Done: return "done";
    }
    return "";
}

Result<ConvertReport> executePlan(const Plan& plan, Executor& executor, JobContext& job)
{
    const auto start = std::chrono::steady_clock::now();
    if (plan.engine)
        if (auto devices = chooseDevices(plan.request.device); !devices) // before anything is made
            return devices.takeError();
    SHARDLENS_TRY(checkSourceChecksums(plan, executor, job));
    job.progress().done.store(0, std::memory_order_relaxed); // opening and planning may have counted other things
    SourceSums sums;
    if (plan.request.verify) {
        SHARDLENS_ASSIGN(sums, SourceSums::prepare(plan, job));
    }
    job.setTotal(plan.bytesToPrepare() + plan.bytesToWrite + (plan.request.verify ? tensorBytes(plan) + sums.totalBytes() : 0));
    SHARDLENS_ASSIGN(StagedOutput staged, stage(plan));
    ConvertReport report;
    report.target = plan.request.target;
    report.lines = plan.lines;
    for (const PlannedFile& file : plan.files)
        report.files.push_back(file.name);
    SHARDLENS_TRY(copyAll(plan, staged, executor, job, report));
    if (plan.request.verify) {
        enter(ConvertPhase::Verify, job);
        auto bytes = verifyResult(plan, staged.resultPath(), executor, job);
        if (!bytes)
            return bytes.error().code() == ErrorCode::Cancelled ? bytes.takeError() : bytes.takeError().within("comparing the result with the source");
        report.bytesRead += *bytes;
        SHARDLENS_TRY(sums.run(executor, job, report));
        report.verified = true;
    }
    enter(ConvertPhase::Publish, job);
    SHARDLENS_TRY(publishResult(plan, staged, job));
    enter(ConvertPhase::Done, job);
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const Progress& progress = job.progress();
    report.stages = {progress.readNs.load(std::memory_order_relaxed), progress.computeNs.load(std::memory_order_relaxed), progress.writeNs.load(std::memory_order_relaxed)};
    report.peakResidentBytes = peakResidentBytes();
    return report;
}

} // namespace shardlens
