#include "core/convert/execute.h"

#include "core/base/text.h"
#include "core/convert/blocks.h"
#include "core/convert/file_writer.h"
#include "core/convert/process_memory.h"
#include "core/convert/publish.h"
#include "core/convert/source_checksums.h"
#include "core/convert/value_reader.h"
#include "core/convert/verify_result.h"
#include "core/encoding/container_check.h"
#include "core/io/disk_space.h"
#include "core/io/page_buffer.h"
#include "core/io/staged_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>

namespace shardlens {
namespace {

constexpr std::size_t kMostOverflows = 12; // tensors named in one line

void enter(ConvertPhase phase, JobContext& job)
{
    job.progress().phase.store(static_cast<std::uint32_t>(phase), std::memory_order_relaxed);
}

// Reads, fills and writes blocks. One object a run; safe from several threads.
class Copier {
public:
    Copier(const Plan& plan, const std::string& folder, JobContext& job)
        : m_plan(plan), m_job(job), m_values(plan.payload), m_blocks(cutIntoBlocks(plan, plan.blockBytes))
    {
        for (const PlannedFile& file : plan.files)
            m_files.push_back(std::make_unique<FileWriter>(file, folder));
        std::vector<std::size_t> counts(plan.files.size(), 0);
        for (const Block& block : m_blocks)
            m_numberInFile.push_back(counts[block.file]++);
        for (std::size_t i = 0; i < counts.size(); ++i)
            m_files[i]->expect(counts[i]);
    }

    Status run(Executor& executor)
    {
        for (std::size_t i = 0; i < m_files.size(); ++i)
            if (m_plan.files[i].sizeBytes == 0)
                if (Status made = m_files[i]->writeEmpty(m_job); !made)
                    return made.error().code() == ErrorCode::Cancelled ? made.takeError() : made.takeError().within("writing " + printable(m_plan.files[i].name));
        return executor.forEach(m_blocks.size(), [this](std::size_t i) { return copyBlock(i); });
    }
    [[nodiscard]] std::uint64_t bytesRead() const { return m_bytesRead.load(); }
    [[nodiscard]] std::vector<PlanLine> overflowLines() const;

private:
    Status copyBlock(std::size_t index);
    Status fill(const PlannedFile& file, const Block& block, std::span<std::byte> out);
    Status fillTensor(const PlannedTensor& tensor, const Block& block, std::span<std::byte> out);

    const Plan& m_plan;
    JobContext& m_job;
    ValueReader m_values;
    std::vector<Block> m_blocks;
    std::vector<std::size_t> m_numberInFile; // of each block
    std::vector<std::unique_ptr<FileWriter>> m_files;
    std::atomic<std::uint64_t> m_bytesRead{0};
    std::atomic<std::size_t> m_done{0};
    mutable std::mutex m_mutex;
    std::map<std::pair<DType, std::string>, CastCounts> m_lost; // by the dtype cast to, and tensor
};

Status Copier::copyBlock(std::size_t index)
{
    SHARDLENS_TRY(m_job.poll());
    const Block& block = m_blocks[index];
    const PlannedFile& file = m_plan.files[block.file];
    thread_local PageBuffer buffer;
    const std::span<std::byte> bytes = buffer.take(block.size());
    Status status = fill(file, block, bytes);
    if (!status)
        return status;
    if (m_done.fetch_add(1, std::memory_order_relaxed) + 1 == m_blocks.size())
        enter(ConvertPhase::Flush, m_job);
    status = m_files[block.file]->write(m_numberInFile[index], block, bytes, m_job);
    if (!status)
        return status.error().code() == ErrorCode::Cancelled ? status.takeError() : status.takeError().within("writing " + printable(file.name));
    m_job.advance(block.size());
    return {};
}

Status Copier::fill(const PlannedFile& file, const Block& block, std::span<std::byte> out)
{
    std::uint64_t filled = 0;
    for (const PlannedBytes& literal : literalsIn(file, block.begin, block.end)) {
        const std::uint64_t from = std::max(literal.offset, block.begin);
        const std::uint64_t to = std::min(literal.offset + literal.bytes.size(), block.end);
        std::memcpy(out.data() + (from - block.begin), literal.bytes.data() + (from - literal.offset), to - from);
        filled += to - from;
    }
    for (const PlannedTensor& tensor : tensorsIn(file, block.begin, block.end)) {
        if (tensor.sharesBytes)
            continue;
        SHARDLENS_TRY(fillTensor(tensor, block, out));
        filled += std::min(tensor.offset + tensor.sizeBytes, block.end) - std::max(tensor.offset, block.begin);
    }
    if (filled != block.size()) // every output byte has a source (DESIGN.md §6)
        return Error{ErrorCode::Refused, fmt::format("the plan says nothing about {} B of {} between {} and {}", block.size() - filled, printable(file.name),
                                                     block.begin, block.end)};
    return {};
}

Status Copier::fillTensor(const PlannedTensor& tensor, const Block& block, std::span<std::byte> out)
{
    const std::uint64_t from = std::max(tensor.offset, block.begin);
    const std::uint64_t to = std::min(tensor.offset + tensor.sizeBytes, block.end);
    CastCounts lost;
    auto bytes = m_values.readAt(tensor.source, tensor.dtype, tensor.sourceOffset + (from - tensor.offset), out.subspan(from - block.begin, to - from), lost);
    if (!bytes)
        return bytes.takeError();
    m_bytesRead.fetch_add(*bytes, std::memory_order_relaxed);
    m_job.progress().bytesRead.fetch_add(*bytes, std::memory_order_relaxed);
    if (lost.overflow != 0) {
        const std::lock_guard lock(m_mutex);
        m_lost[{tensor.dtype, tensor.name}] += lost;
    }
    return {};
}

std::vector<PlanLine> Copier::overflowLines() const
{
    struct Lost {
        std::uint64_t values = 0;
        std::size_t tensors = 0;
        std::string names;
    };
    std::map<DType, Lost> byDType; // a run that is resumed may need more than one cast
    for (const auto& [cast, lost] : m_lost) {
        Lost& into = byDType[cast.first];
        into.values += lost.overflow;
        if (into.tensors++ < kMostOverflows)
            into.names += fmt::format("{}{} ({})", into.names.empty() ? "" : ", ", printable(cast.second), groupedText(lost.overflow));
    }
    std::vector<PlanLine> lines;
    for (const auto& [dtype, lost] : byDType) {
        const std::string more = lost.tensors > kMostOverflows ? fmt::format(" and {} more", groupedText(lost.tensors - kMostOverflows)) : std::string{};
        lines.push_back({PlanLine::Kind::Warning, "Overflow",
                         fmt::format("overflow in the cast to {}: {} beyond its range, finite in the source, in {}{}.", nameOf(dtype),
                                     lost.values == 1 ? "1 value is" : groupedText(lost.values) + " values are", lost.names, more)});
    }
    return lines;
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
    return {};
}

std::vector<TensorId> sourcesOf(const Plan& plan)
{
    std::vector<TensorId> out;
    for (const PlannedResult& result : plan.results)
        out.push_back(result.source);
    if (out.empty()) // files of one rank alone: parts of any tensor
        for (std::size_t i = 0; i < plan.source->tensors().size(); ++i)
            out.push_back(idAt<TensorId>(i));
    return out;
}

// Bytes that changed since the source was written are copied as they are, with a new checksum: only the source can tell. PyTorch does not look.
Status addHarm(const Plan& plan, const ContainerCheck& checksums, Executor& executor, JobContext& job, ConvertReport& report)
{
    SHARDLENS_ASSIGN(const std::vector<Finding> found, checksums.run(*plan.source, executor, job));
    report.bytesRead += checksums.totalBytes();
    for (const Finding& finding : found)
        if (finding.severity != Severity::Info)
            report.lines.push_back({PlanLine::Kind::Warning, "Source is damaged", finding.text + " The result has the changed bytes."});
    return {};
}

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
    SHARDLENS_TRY(checkSourceChecksums(plan, executor, job));
    job.progress().done.store(0, std::memory_order_relaxed); // opening and planning may have counted other things
    std::optional<ContainerCheck> checksums;
    if (plan.request.verify) {
        SHARDLENS_ASSIGN(checksums, ContainerCheck::prepareFor(*plan.source, sourcesOf(plan), job));
    }
    job.setTotal(plan.bytesToWrite + (plan.request.verify ? tensorBytes(plan) + checksums->totalBytes() : 0));
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
        SHARDLENS_TRY(addHarm(plan, *checksums, executor, job, report));
        report.verified = true;
    }
    enter(ConvertPhase::Publish, job);
    SHARDLENS_TRY(publishResult(plan, staged, job));
    enter(ConvertPhase::Done, job);
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    report.peakResidentBytes = peakResidentBytes();
    return report;
}

} // namespace shardlens
