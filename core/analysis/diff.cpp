#include "core/analysis/diff.h"

#include "core/analysis/value_spans.h"
#include "core/base/text.h"
#include "core/encoding/tensor_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>

namespace shardlens {
namespace {

constexpr std::uint64_t kPairReadBytes = 128u << 10; // of each side: both and their doubles fit the second cache

struct DiffScratch {
    std::vector<std::byte> a;
    std::vector<std::byte> b;
};

// Two tensors on their way: parts arrive in any order, are taken together in theirs.
struct PairWork {
    TensorId a{};
    TensorId b{};
    std::mutex mutex;
    std::optional<TensorReader> readerA;
    std::optional<TensorReader> readerB;
    std::optional<Error> problem; // nothing more is read of it
    std::vector<ValueDifference> parts;
    std::size_t left = 0;
    ValueDifference whole;
};

// A failure says which of the two it is about.
template <typename T>
Result<T> placed(Result<T> result, const Checkpoint& checkpoint)
{
    if (result)
        return result;
    return result.takeError().within(printable(checkpoint.path()));
}

using Pair = std::pair<TensorId, TensorId>;

class DiffRun {
public:
    DiffRun(const CheckpointPtr& a, const CheckpointPtr& b, const DiffOptions& options, JobContext& job)
        : m_a(*a), m_b(*b), m_streamsA(a), m_streamsB(b), m_options(options), m_job(job)
    {
    }

    void add(TensorId a, TensorId b)
    {
        if (!m_workOf.try_emplace(Pair{a, b}, m_work.size()).second)
            return;
        const std::uint64_t values = elementCount(m_a.tensor(a).shape).value_or(0);
        auto work = std::make_unique<PairWork>();
        work->a = a;
        work->b = b;
        m_firstSpan.push_back(m_spans.size());
        appendSpans(m_work.size(), values / kValuesTogether, cellBytes(*work), m_spans);
        m_spans.back().end = values; // what is counted in whole cells so far
        for (std::size_t i = m_firstSpan.back(); i < m_spans.size(); ++i) {
            m_spans[i].begin *= kValuesTogether;
            if (i + 1 < m_spans.size())
                m_spans[i].end *= kValuesTogether;
        }
        work->left = m_spans.size() - m_firstSpan.back();
        work->parts.resize(work->left);
        m_work.push_back(std::move(work));
        m_total += m_a.bytesOf(a) + m_b.bytesOf(b);
    }

    Status run(Executor& executor)
    {
        m_job.setTotal(m_total);
        return executor.forEach(m_spans.size(), [this](std::size_t i) {
            auto scratch = m_pool.take();
            Status status = takeSpan(i, *scratch);
            m_pool.give(std::move(scratch));
            return status;
        });
    }

    [[nodiscard]] const PairWork& workOf(TensorId a, TensorId b) const { return *m_work[m_workOf.at(Pair{a, b})]; }

private:
    // So that blocks of every dtype are whole: F4 has 2 values, F6 has 4.
    static constexpr std::uint64_t kValuesTogether = 4;

    [[nodiscard]] std::uint64_t cellBytes(const PairWork& work) const
    {
        return std::max(bytesOf(m_a.tensor(work.a).dtype, kValuesTogether).value_or(1), bytesOf(m_b.tensor(work.b).dtype, kValuesTogether).value_or(1));
    }

    Status takeSpan(std::size_t index, DiffScratch& scratch)
    {
        const ValueSpan& span = m_spans[index];
        PairWork& work = *m_work[span.item];
        Result<ValueDifference> found = compareSpan(work, span, scratch);
        if (!found && found.error().code() == ErrorCode::Cancelled)
            return found.takeError();
        const std::lock_guard lock(work.mutex);
        if (found)
            work.parts[index - m_firstSpan[span.item]] = found.take();
        else if (!work.problem)
            work.problem = found.takeError();
        if (--work.left > 0)
            return {};
        for (const ValueDifference& part : work.parts)
            work.whole.append(part);
        work.parts = {};
        work.readerA.reset();
        work.readerB.reset();
        return {};
    }

    Result<ValueDifference> compareSpan(PairWork& work, const ValueSpan& span, DiffScratch& scratch)
    {
        SHARDLENS_TRY(openReaders(work));
        const DType dtypeA = m_a.tensor(work.a).dtype;
        const DType dtypeB = m_b.tensor(work.b).dtype;
        const std::uint64_t readBytes = std::max(readBytesOf(m_a, work.a, kPairReadBytes), readBytesOf(m_b, work.b, kPairReadBytes));
        const std::uint64_t step = readBytes / cellBytes(work) * kValuesTogether;
        scratch.a.resize(std::max<std::size_t>(scratch.a.size(), readBytes));
        scratch.b.resize(scratch.a.size());
        ValueDifference out;
        for (std::uint64_t at = span.begin; at < span.end; at += step) {
            SHARDLENS_TRY(m_job.poll());
            const std::uint64_t values = std::min(step, span.end - at);
            SHARDLENS_TRY(placed(readValues(*work.readerA, dtypeA, at, values, scratch.a), m_a));
            SHARDLENS_TRY(placed(readValues(*work.readerB, dtypeB, at, values, scratch.b), m_b));
            out.append(compareValues(dtypeA, scratch.a.data(), dtypeB, scratch.b.data(), values, m_options.tolerance));
        }
        return out;
    }

    Status readValues(const TensorReader& reader, DType dtype, std::uint64_t at, std::uint64_t values, std::span<std::byte> buffer)
    {
        const DTypeInfo& known = info(dtype);
        const std::span<std::byte> part = buffer.first(values / known.valuesPerBlock * known.bytesPerBlock);
        SHARDLENS_TRY(reader.readAt(at / known.valuesPerBlock * known.bytesPerBlock, part));
        m_job.progress().bytesRead.fetch_add(part.size(), std::memory_order_relaxed);
        m_job.advance(part.size());
        return {};
    }

    Status openReaders(PairWork& work)
    {
        const std::lock_guard lock(work.mutex);
        if (work.problem)
            return *work.problem;
        if (work.readerB)
            return {};
        SHARDLENS_ASSIGN(TensorReader a, placed(TensorReader::open(m_streamsA, work.a), m_a));
        SHARDLENS_ASSIGN(TensorReader b, placed(TensorReader::open(m_streamsB, work.b), m_b));
        work.readerA.emplace(std::move(a));
        work.readerB.emplace(std::move(b));
        return {};
    }

    const Checkpoint& m_a;
    const Checkpoint& m_b;
    StreamSet m_streamsA;
    StreamSet m_streamsB;
    const DiffOptions& m_options;
    JobContext& m_job;
    std::map<Pair, std::size_t> m_workOf; // each pair once, however many names it has
    std::vector<std::unique_ptr<PairWork>> m_work;
    std::vector<std::size_t> m_firstSpan; // of each work
    std::vector<ValueSpan> m_spans;
    std::uint64_t m_total = 0;
    ScratchPool<DiffScratch> m_pool;
};

bool isQuantized(const Tensor& tensor)
{
    return info(tensor.dtype).kind == DTypeKind::Quantized;
}

// Tensors of either side that could not be read at all: no pair of them is equal, and none may be passed over.
class LostPairs {
public:
    using Left = std::unordered_map<std::string_view, const SelectedTensor*>;

    LostPairs(const Checkpoint& a, const Checkpoint& b, const DiffOptions& options) : m_a(a), m_b(b), m_options(options)
    {
        for (const std::size_t i : selectLost(b, options.selection))
            m_left.emplace(b.lostTensors()[i].name, i);
    }

    // Whether B has lost the tensor of that name; then the row says so.
    bool takeB(const std::string& nameInB, TensorDiff& row)
    {
        const auto found = m_left.find(nameInB);
        if (found == m_left.end())
            return false;
        row.state = DiffState::Unreadable;
        row.problem = m_b.lostTensors()[found->second].problem;
        m_left.erase(found);
        return true;
    }

    // What A has lost, beside what B has under the name.
    Status addA(Left& left, std::vector<TensorDiff>& out)
    {
        for (const std::size_t i : selectLost(m_a, m_options.selection)) {
            const LostTensor& lost = m_a.lostTensors()[i];
            SHARDLENS_ASSIGN(std::string name, renamed(lost.name, m_options.renames));
            TensorDiff& row = out.emplace_back();
            row.name = lost.name;
            row.state = DiffState::Unreadable;
            row.problem = lost.problem;
            m_left.erase(name);
            if (const auto found = left.find(name); found != left.end()) {
                row.b = found->second->tensor;
                left.erase(found);
            }
            row.nameInB = std::move(name);
        }
        return {};
    }

    void addB(std::vector<TensorDiff>& out)
    {
        for (const auto& [name, i] : m_left) {
            TensorDiff& row = out.emplace_back();
            row.name = row.nameInB = name;
            row.state = DiffState::Unreadable;
            row.problem = m_b.lostTensors()[i].problem;
        }
    }

private:
    const Checkpoint& m_a;
    const Checkpoint& m_b;
    const DiffOptions& m_options;
    std::map<std::string, std::size_t> m_left; // of B, by name
};

// Brings the names together; what can be told without reading is told.
Result<std::vector<TensorDiff>> pairTensors(const Checkpoint& a, const Checkpoint& b, const DiffOptions& options)
{
    LostPairs lost(a, b, options);
    const std::vector<SelectedTensor> ofA = selectTensors(a, options.selection);
    const std::vector<SelectedTensor> ofB = selectTensors(b, options.selection);
    std::unordered_map<std::string_view, const SelectedTensor*> left;
    for (const SelectedTensor& one : ofB)
        left.emplace(one.name, &one);
    std::unordered_map<std::string, std::string_view> taken; // outside name → name in A
    std::vector<TensorDiff> out;
    out.reserve(std::max(ofA.size(), ofB.size()));
    for (const SelectedTensor& one : ofA) {
        SHARDLENS_ASSIGN(std::string name, renamed(one.name, options.renames));
        const auto [before, isNew] = taken.try_emplace(name, one.name);
        if (!isNew)
            return Error{ErrorCode::Refused, fmt::format("the rename rules make both {} and {} into {}", printable(before->second), printable(one.name), printable(name))};
        TensorDiff& row = out.emplace_back();
        row.name = one.name;
        row.nameInB = name;
        row.a = one.tensor;
        row.state = DiffState::OnlyInA;
        const auto found = left.find(name);
        if (lost.takeB(name, row)) {
            left.erase(name);
            continue;
        }
        if (found == left.end())
            continue;
        row.b = found->second->tensor;
        const Tensor& tensorA = a.tensor(one.tensor);
        const Tensor& tensorB = b.tensor(*row.b);
        left.erase(found);
        if (isQuantized(tensorA) || isQuantized(tensorB)) {
            row.state = DiffState::Unreadable;
            row.problem = fmt::format("{} is quantized: its codes mean nothing without their scale and zero point, which are not read.", printable(one.name));
            continue;
        }
        row.state = tensorA.shape != tensorB.shape ? DiffState::Shape : tensorA.dtype != tensorB.dtype && !options.ignoreDtype ? DiffState::Dtype : DiffState::Equal;
    }
    SHARDLENS_TRY(lost.addA(left, out));
    for (const SelectedTensor& one : ofB)
        if (left.contains(one.name)) {
            TensorDiff& row = out.emplace_back();
            row.name = one.name;
            row.nameInB = one.name;
            row.b = one.tensor;
            row.state = DiffState::OnlyInB;
        }
    lost.addB(out);
    return out;
}

void takeValues(const PairWork& work, TensorDiff& row)
{
    if (work.problem) {
        row.state = DiffState::Unreadable;
        row.problem = work.problem->sentence();
        return;
    }
    row.values = work.whole;
    if (work.whole.differing > 0)
        row.state = DiffState::Values;
}

std::optional<RenameSuggestion> suggestionFor(const std::vector<TensorDiff>& rows)
{
    std::vector<std::string> a;
    std::vector<std::string> b;
    for (const TensorDiff& row : rows)
        (row.state == DiffState::OnlyInA ? a : b).push_back(row.state == DiffState::OnlyInA ? row.nameInB : row.name);
    return suggestRename(a, b);
}

} // namespace

const char* nameOf(DiffState state)
{
    switch (state) {
    case DiffState::Equal: return "equal";
    case DiffState::Values: return "values";
    case DiffState::Dtype: return "dtype";
    case DiffState::Shape: return "shape";
    case DiffState::OnlyInA: return "only-a";
    case DiffState::OnlyInB: return "only-b";
    case DiffState::Unreadable: return "unreadable";
    }
    return "";
}

Result<DiffReport> diffCheckpoints(const CheckpointPtr& a, const CheckpointPtr& b, const DiffOptions& options, Executor& executor, JobContext& job)
{
    DiffReport out;
    SHARDLENS_ASSIGN(out.tensors, pairTensors(*a, *b, options));
    if (out.tensors.empty())
        return Error{ErrorCode::Refused, fmt::format("nothing is selected: neither checkpoint has {} of these names", nameOf(options.selection.select))};
    const auto isCompared = [](const TensorDiff& row) { return row.state == DiffState::Equal || row.state == DiffState::Dtype; };
    DiffRun run(a, b, options, job);
    for (const TensorDiff& row : out.tensors)
        if (isCompared(row))
            run.add(*row.a, *row.b);
    SHARDLENS_TRY(run.run(executor));
    for (TensorDiff& row : out.tensors) {
        if (isCompared(row))
            takeValues(run.workOf(*row.a, *row.b), row);
        ++out.counts[static_cast<std::size_t>(row.state)];
    }
    out.arguments = differingArguments(*a, *b);
    if (!out.sharesNames() && out.countOf(DiffState::OnlyInA) > 0 && out.countOf(DiffState::OnlyInB) > 0)
        out.suggestion = suggestionFor(out.tensors);
    out.bytesRead = job.progress().bytesRead.load();
    return out;
}

} // namespace shardlens
