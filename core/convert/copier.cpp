#include "core/convert/copier.h"

#include "core/base/text.h"
#include "core/convert/execute.h"
#include "core/convert/stage_clock.h"
#include "core/io/page_buffer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace shardlens {
namespace {

constexpr std::size_t kMostOverflows = 12; // tensors named in one line

} // namespace

Copier::Copier(const Plan& plan, const std::string& folder, JobContext& job) : m_plan(plan), m_job(job), m_values(plan.payload), m_blocks(cutIntoBlocks(plan, plan.blockBytes))
{
    for (const PlannedFile& file : plan.files)
        m_files.push_back(std::make_unique<FileWriter>(file, folder));
    std::vector<std::size_t> counts(plan.files.size(), 0);
    for (const Block& block : m_blocks)
        m_numberInFile.push_back(counts[block.file]++);
    addSteps(counts);
    for (std::size_t i = 0; i < counts.size(); ++i)
        m_files[i]->expect(counts[i]);
}

void Copier::addSteps(std::vector<std::size_t>& counts)
{
    for (std::size_t i = 0; i < m_plan.computed.size(); ++i) {
        const PlannedComputation& planned = m_plan.computed[i];
        for (std::uint64_t step = 0; step < planned.computation->steps(); ++step) {
            m_steps.push_back({i, step, m_writeIndex.size()});
            for (const PlannedComputation::Place& place : planned.places)
                m_writeIndex.push_back(planned.computation->bytesOf(place.output, step).empty() ? 0 : counts[place.file]++);
        }
    }
}

Status Copier::run(Executor& executor)
{
    for (std::size_t i = 0; i < m_files.size(); ++i)
        if (m_plan.files[i].sizeBytes == 0)
            if (Status made = m_files[i]->writeEmpty(m_job); !made)
                return made.error().code() == ErrorCode::Cancelled ? made.takeError() : made.takeError().within("writing " + printable(m_plan.files[i].name));
    SHARDLENS_TRY(prepareComputations(executor));
    return executor.forEach(m_steps.size() + m_blocks.size(), [this](std::size_t i) -> Status {
        SHARDLENS_TRY(m_job.poll());
        const StageClock clock(m_job.progress());
        return i < m_steps.size() ? computeStep(m_steps[i]) : copyBlock(i - m_steps.size());
    });
}

// What must be known of whole tensors, before any thread waits for another's.
Status Copier::prepareComputations(Executor& executor)
{
    std::vector<std::pair<const Computation*, std::size_t>> parts;
    for (const auto& computation : m_plan.prepared)
        for (std::size_t part = 0; part < computation->preparations(); ++part)
            parts.emplace_back(computation.get(), part);
    std::atomic<std::uint64_t> counted{0};
    const PrepareWatch watch{m_job.stopToken(), [&](std::uint64_t bytes) {
                                 counted.fetch_add(bytes, std::memory_order_relaxed);
                                 m_job.advance(bytes);
                                 addRead(bytes);
                             }};
    SHARDLENS_TRY(executor.forEach(parts.size(), [&](std::size_t i) -> Status {
        SHARDLENS_TRY(m_job.poll());
        const StageClock clock(m_job.progress());
        return parts[i].first->prepare(parts[i].second, watch);
    }));
    m_job.advance(m_plan.bytesToPrepare() - std::min(m_plan.bytesToPrepare(), counted.load())); // what was known before: a dry run measured it
    return {};
}

void Copier::countDone()
{
    if (m_done.fetch_add(1, std::memory_order_relaxed) + 1 == m_steps.size() + m_blocks.size())
        m_job.progress().phase.store(static_cast<std::uint32_t>(ConvertPhase::Flush), std::memory_order_relaxed);
}

void Copier::addRead(std::uint64_t bytes)
{
    m_bytesRead.fetch_add(bytes, std::memory_order_relaxed);
    m_job.progress().bytesRead.fetch_add(bytes, std::memory_order_relaxed);
}

Status Copier::write(std::size_t index, const Block& block, std::span<const std::byte> bytes)
{
    Status status = m_files[block.file]->write(index, block, bytes, m_job);
    if (!status)
        return status.error().code() == ErrorCode::Cancelled ? status.takeError() : status.takeError().within("writing " + printable(m_plan.files[block.file].name));
    m_job.advance(block.size());
    return {};
}

Status Copier::copyBlock(std::size_t index)
{
    const Block& block = m_blocks[index];
    thread_local PageBuffer buffer;
    const std::span<std::byte> bytes = buffer.take(block.size());
    SHARDLENS_TRY(fill(m_plan.files[block.file], block, bytes));
    countDone();
    return write(m_numberInFile[index], block, bytes);
}

Status Copier::computeStep(const Step& step)
{
    const PlannedComputation& planned = m_plan.computed[step.computation];
    const Computation& computation = *planned.computation;
    thread_local std::vector<std::vector<std::byte>> buffers;
    buffers.resize(std::max(buffers.size(), computation.outputs()));
    std::vector<std::span<std::byte>> out(computation.outputs());
    for (const PlannedComputation::Place& place : planned.places) {
        buffers[place.output].resize(computation.bytesOf(place.output, step.number).size());
        out[place.output] = buffers[place.output];
    }
    SHARDLENS_ASSIGN(const std::uint64_t read, computation.computeStep(step.number, out));
    addRead(read);
    countDone();
    for (std::size_t i = 0; i < planned.places.size(); ++i) {
        const PlannedComputation::Place& place = planned.places[i];
        const FlatRange bytes = computation.bytesOf(place.output, step.number);
        if (!bytes.empty())
            SHARDLENS_TRY(write(m_writeIndex[step.firstWrite + i], {place.file, place.offset + bytes.begin, place.offset + bytes.end}, out[place.output]));
    }
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
    addRead(*bytes);
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

} // namespace shardlens
