#include "core/convert/verify_result.h"

#include "core/base/text.h"
#include "core/convert/stage_clock.h"
#include "core/encoding/value_reader.h"
#include "core/format/format.h"
#include "core/layout/selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <unordered_map>

namespace shardlens {
namespace {

// A run of one tensor's bytes in the result, and the same in the source.
struct Comparison {
    const PlannedResult* wanted;
    TensorId written;
    std::uint64_t offset;
    std::uint64_t size;
};

std::unordered_map<std::string, TensorId> tensorsByName(const Checkpoint& result)
{
    std::unordered_map<std::string, TensorId> out;
    for (SelectedTensor& tensor : selectTensors(result, SelectionOptions{Select::All, {}, {}}))
        out.emplace(std::move(tensor.name), tensor.tensor);
    return out;
}

Status checkDescription(const Plan& plan, const PlannedResult& wanted, const Tensor& written)
{
    const Tensor& source = plan.source->tensor(wanted.source);
    if (written.dtype != wanted.dtype || written.shape != source.shape)
        return Error{ErrorCode::Corrupt, fmt::format("{} {} was to be written, and {} {} is read back", nameOf(wanted.dtype), shapeText(source.shape), nameOf(written.dtype),
                                                     shapeText(written.shape))}.within(printable(wanted.name));
    return {};
}

Result<std::vector<Comparison>> comparisonsOf(const Plan& plan, const Checkpoint& result)
{
    const auto byName = tensorsByName(result);
    if (plan.payload == plan.source && byName.size() != plan.tensorCount()) // a layout may hold more: copies that the source had not
        return Error{ErrorCode::Corrupt, fmt::format("{} were to be written, and {} are read back", plural(plan.tensorCount(), "tensor", "tensors"), byName.size())};
    std::vector<Comparison> out;
    for (const PlannedResult& wanted : plan.results) {
        const auto written = byName.find(wanted.name);
        if (written == byName.end())
            return Error{ErrorCode::Corrupt, "it is not read back"}.within(printable(wanted.name));
        SHARDLENS_TRY(checkDescription(plan, wanted, result.tensor(written->second)));
        const std::uint64_t cell = info(wanted.dtype).bytesPerBlock;
        const std::uint64_t step = plan.blockBytes / 2 / cell * cell; // two buffers instead of one
        const std::uint64_t size = resultBytes(plan, wanted);
        for (std::uint64_t at = 0; at < size; at += step)
            out.push_back({&wanted, written->second, at, std::min(step, size - at)});
    }
    return out;
}

Status compareOne(const Comparison& what, const ValueReader& source, const ValueReader& result, std::atomic<std::uint64_t>& bytesRead)
{
    thread_local std::vector<std::byte> wanted;
    thread_local std::vector<std::byte> found;
    wanted.resize(what.size);
    found.resize(what.size);
    CastCounts counted; // while copying
    SHARDLENS_ASSIGN(const std::uint64_t fromSource, source.readAt(what.wanted->source, what.wanted->dtype, what.offset, wanted, counted));
    SHARDLENS_ASSIGN(const std::uint64_t fromResult, result.readAt(what.written, what.wanted->dtype, what.offset, found, counted));
    bytesRead.fetch_add(fromSource + fromResult, std::memory_order_relaxed);
    const auto differs = std::mismatch(wanted.begin(), wanted.end(), found.begin());
    if (differs.first != wanted.end())
        return Error{ErrorCode::Corrupt, fmt::format("byte {} is {:#04x} in the source and {:#04x} in the result",
                                                     groupedText(what.offset + static_cast<std::uint64_t>(differs.first - wanted.begin())),
                                                     std::to_integer<int>(*differs.first), std::to_integer<int>(*differs.second))}
            .within(printable(what.wanted->name));
    return {};
}

// A result of the source's own kind is read as the source was.
OpenOptions resultOptions(const Plan& plan)
{
    OpenOptions out;
    if (plan.formatId == plan.source->formatId()) {
        out.moduleKey = plan.request.open.moduleKey;
        out.rules = plan.request.open.rules;
    }
    if (!plan.request.rank) // one rank alone is no model
        out.sourceStrategy = plan.request.strategy;
    return out;
}

} // namespace

std::uint64_t resultBytes(const Plan& plan, const PlannedResult& result)
{
    return plan.source->bytesOf(result.source) / info(plan.source->tensor(result.source).dtype).bytesPerBlock * info(result.dtype).bytesPerBlock;
}

Result<std::uint64_t> verifyResult(const Plan& plan, const std::string& resultPath, Executor& executor, JobContext& job)
{
    SHARDLENS_ASSIGN(const CheckpointPtr result, openCheckpoint(resultPath, resultOptions(plan), job));
    SHARDLENS_ASSIGN(const std::vector<Comparison> comparisons, comparisonsOf(plan, *result));
    const ValueReader fromSource(plan.source);
    const ValueReader fromResult(result);
    std::atomic<std::uint64_t> bytesRead{0};
    Status status = executor.forEach(comparisons.size(), [&](std::size_t i) -> Status {
        SHARDLENS_TRY(job.poll());
        const StageClock clock(job.progress());
        SHARDLENS_TRY(compareOne(comparisons[i], fromSource, fromResult, bytesRead));
        job.progress().bytesRead.fetch_add(comparisons[i].size, std::memory_order_relaxed);
        job.advance(comparisons[i].size);
        return {};
    });
    if (!status)
        return status.takeError();
    return bytesRead.load();
}

} // namespace shardlens
