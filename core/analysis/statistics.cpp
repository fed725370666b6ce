#include "core/analysis/statistics.h"

#include "core/analysis/value_spans.h"
#include "core/base/checked.h"
#include "core/encoding/tensor_reader.h"

#include <algorithm>
#include <map>
#include <optional>

namespace shardlens {
namespace {

constexpr std::uint64_t kSampleBlockBytes = 64u << 10;

struct StatisticsScratch {
    StatisticsAccumulator accumulator;
    std::vector<std::byte> buffer;
};

// One tensor on its way: parts arrive in any order, are taken together in theirs.
struct TensorWork {
    TensorId tensor{};
    std::optional<TensorReader> reader; // while spans of it are left
    std::mutex mutex;
    std::vector<ValueStatistics> parts; // by span; without fine bins
    std::vector<FineBin> bins;          // of all parts so far
    std::size_t left = 0;
    TensorStatistics result;
};

void settleStatistics(TensorWork& work, DType dtype)
{
    ValueStatistics whole;
    for (const ValueStatistics& part : work.parts)
        whole.merge(part);
    whole.bins = std::move(work.bins);
    work.result.tensor = work.tensor;
    work.result.histogram = histogramOf(whole, dtype, kHistogramBins);
    whole.bins = {};
    work.result.values = std::move(whole);
    work.parts = {};
    work.bins = {};
    work.reader.reset();
}

class StatisticsRun {
public:
    StatisticsRun(const CheckpointPtr& checkpoint, JobContext& job) : m_checkpoint(*checkpoint), m_streams(checkpoint), m_job(job) {}

    void plan(const std::vector<SelectedTensor>& selection)
    {
        std::uint64_t total = 0;
        for (const SelectedTensor& one : selection) {
            if (!m_workOf.try_emplace(one.tensor, m_work.size()).second)
                continue;
            const std::uint64_t bytes = m_checkpoint.bytesOf(one.tensor);
            const std::uint64_t cell = info(m_checkpoint.tensor(one.tensor).dtype).bytesPerBlock;
            const std::size_t before = m_spans.size();
            appendSpans(m_work.size(), bytes / cell, cell, m_spans);
            auto work = std::make_unique<TensorWork>();
            work->tensor = one.tensor;
            work->left = m_spans.size() - before;
            work->parts.resize(work->left);
            m_firstSpan.push_back(before);
            m_work.push_back(std::move(work));
            total += bytes;
        }
        m_job.setTotal(total);
    }

    Status run(Executor& executor)
    {
        return executor.forEach(m_spans.size(), [this](std::size_t i) {
            auto scratch = m_pool.take();
            Status status = takeSpan(i, *scratch);
            m_pool.give(std::move(scratch));
            return status;
        });
    }

    [[nodiscard]] const TensorStatistics& resultOf(TensorId tensor) const { return m_work[m_workOf.at(tensor)]->result; }

private:
    Status takeSpan(std::size_t index, StatisticsScratch& scratch)
    {
        const ValueSpan& span = m_spans[index];
        TensorWork& work = *m_work[span.item];
        const DType dtype = m_checkpoint.tensor(work.tensor).dtype;
        SHARDLENS_ASSIGN(const TensorReader* reader, readerOf(work));
        scratch.accumulator.start(dtype);
        const std::uint64_t cell = reader->cellBytes();
        const std::uint64_t readBytes = readBytesOf(m_checkpoint, work.tensor, kReadBytes);
        const std::uint64_t step = readBytes / cell;
        scratch.buffer.resize(std::max<std::size_t>(scratch.buffer.size(), readBytes));
        for (std::uint64_t at = span.begin; at < span.end; at += step) {
            SHARDLENS_TRY(m_job.poll());
            const std::span<std::byte> part = std::span(scratch.buffer).first(std::min(step, span.end - at) * cell);
            SHARDLENS_TRY(reader->readAt(at * cell, part));
            scratch.accumulator.add(part.data(), part.size() / cell * info(dtype).valuesPerBlock);
            m_job.progress().bytesRead.fetch_add(part.size(), std::memory_order_relaxed);
            m_job.advance(part.size());
        }
        ValueStatistics found = scratch.accumulator.finish();
        const std::lock_guard lock(work.mutex);
        ValueStatistics bins;
        bins.bins = std::move(work.bins);
        bins.merge({.bins = std::move(found.bins)});
        work.bins = std::move(bins.bins);
        found.bins = {};
        work.parts[index - m_firstSpan[span.item]] = std::move(found);
        if (--work.left == 0)
            settleStatistics(work, dtype);
        return {};
    }

    Result<const TensorReader*> readerOf(TensorWork& work)
    {
        const std::lock_guard lock(work.mutex);
        if (!work.reader) {
            SHARDLENS_ASSIGN(TensorReader opened, TensorReader::open(m_streams, work.tensor));
            work.reader.emplace(std::move(opened));
        }
        return &*work.reader;
    }

    const Checkpoint& m_checkpoint;
    StreamSet m_streams;
    JobContext& m_job;
    std::map<TensorId, std::size_t> m_workOf; // each tensor once, however many names it has
    std::vector<std::unique_ptr<TensorWork>> m_work;
    std::vector<std::size_t> m_firstSpan; // of each work
    std::vector<ValueSpan> m_spans;
    ScratchPool<StatisticsScratch> m_pool;
};

} // namespace

Result<std::vector<TensorStatistics>> statisticsOf(const CheckpointPtr& checkpoint, const std::vector<SelectedTensor>& selection,
                                                   Executor& executor, JobContext& job)
{
    StatisticsRun run(checkpoint, job);
    run.plan(selection);
    SHARDLENS_TRY(run.run(executor));
    std::vector<TensorStatistics> out;
    out.reserve(selection.size());
    for (const SelectedTensor& one : selection) {
        out.push_back(run.resultOf(one.tensor));
        out.back().name = one.name;
    }
    return out;
}

Result<TensorStatistics> sampledStatistics(const CheckpointPtr& checkpoint, TensorId tensor, std::uint64_t bytes, JobContext& job)
{
    const StreamSet streams(checkpoint);
    SHARDLENS_ASSIGN(const TensorReader reader, TensorReader::open(streams, tensor));
    const DType dtype = checkpoint->tensor(tensor).dtype;
    const std::uint64_t cell = reader.cellBytes();
    const std::uint64_t step = kSampleBlockBytes / cell;
    const std::uint64_t blocks = ceilDiv(reader.sizeBytes() / cell, step);
    const std::uint64_t wanted = std::clamp<std::uint64_t>(bytes / kSampleBlockBytes, 1, std::max<std::uint64_t>(blocks, 1));
    std::vector<std::byte> buffer(step * cell);
    StatisticsAccumulator accumulator;
    accumulator.start(dtype);
    for (std::uint64_t i = 0; i < wanted && blocks > 0; ++i) {
        SHARDLENS_TRY(job.poll());
        // the first and the last block, and others at even distances
        const std::uint64_t block = wanted == 1 ? 0 : i * ((blocks - 1) / (wanted - 1)) + i * ((blocks - 1) % (wanted - 1)) / (wanted - 1);
        const std::uint64_t at = block * step * cell;
        const std::span<std::byte> part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), reader.sizeBytes() - at));
        SHARDLENS_TRY(reader.readAt(at, part));
        accumulator.add(part.data(), part.size() / cell * info(dtype).valuesPerBlock);
    }
    TensorStatistics out;
    out.name = checkpoint->fullName(tensor);
    out.tensor = tensor;
    out.values = accumulator.finish();
    out.histogram = histogramOf(out.values, dtype, kHistogramBins);
    out.values.bins = {};
    return out;
}

} // namespace shardlens
