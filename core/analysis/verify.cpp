#include "core/analysis/verify.h"

#include "core/analysis/file_sums.h"
#include "core/base/text.h"
#include "core/encoding/container_check.h"
#include "core/encoding/replica_compare.h"
#include "core/encoding/tensor_reader.h"
#include "core/model/coverage.h"
#include "core/numeric/cast.h"
#include "core/quantized/dequantized_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>
#include <map>

namespace shardlens {
namespace {

constexpr std::uint64_t kBlockCells = 1u << 20;
constexpr std::size_t kHolesSaid = 4; // of one tensor
constexpr std::uint64_t kHolesOfFileSaid = 8; // of one file that is not there

Finding findingAbout(Severity severity, const char* code, TensorId tensor, std::string text)
{
    return {severity, code, std::move(text), tensor, kNoFile, std::nullopt};
}

// What the two parts of a complex dtype are; others are their own.
DType realPartOf(DType dtype)
{
    switch (dtype) {
    case DType::C32: return DType::F16;
    case DType::C64: return DType::F32;
    case DType::C128: return DType::F64;
    default: return dtype;
    }
}

class Verifier {
public:
    Verifier(const CheckpointPtr& checkpoint, JobContext& job) : m_checkpoint(*checkpoint), m_streams(checkpoint), m_job(job) {}

    // Geometry; true where nothing is missing.
    bool checkCoverage(TensorId tensor, std::vector<Finding>& out) const
    {
        const Coverage coverage = coverageOf(m_checkpoint, tensor, kHolesSaid, kAsBoxes);
        if (coverage.scattered) {
            out.push_back(findingAbout(Severity::Error, "scattered", tensor, scatteredText(m_checkpoint, tensor) + "."));
            return false;
        }
        for (const Hole& hole : coverage.holes) {
            Finding finding = findingAbout(Severity::Error, "hole", tensor, holeText(m_checkpoint, tensor, hole) + ".");
            if (hole.expected) {
                const Piece piece = m_checkpoint.pieces().at(*hole.expected);
                finding.rank = m_checkpoint.rankOfPiece(piece);
                finding.file = m_checkpoint.stream(piece.source.stream).file;
            }
            out.push_back(std::move(finding));
        }
        return coverage.complete();
    }

    Status checkReplicas(TensorId tensor, std::vector<Finding>& out)
    {
        SHARDLENS_ASSIGN(const auto difference, replicaDifference(m_streams, tensor, m_job));
        if (difference)
            out.push_back(findingAbout(Severity::Warning, "replicas-differ", tensor, differenceText(m_checkpoint, tensor, *difference)));
        return {};
    }

    Status checkFinite(TensorId tensor, std::vector<Finding>& out)
    {
        const Tensor& owner = m_checkpoint.tensor(tensor);
        const bool isChecked = (isFloat(owner.dtype) || isComplex(owner.dtype)) && info(owner.dtype).valuesPerBlock == 1;
        if (!isChecked)
            return {};
        std::uint64_t count = 0;
        std::uint64_t first = 0;
        SHARDLENS_TRY(forEachBlock(tensor, [&](std::uint64_t at, std::span<const std::byte> values) {
            const std::size_t cell = info(owner.dtype).bytesPerBlock;
            const DType real = realPartOf(owner.dtype);
            const std::size_t half = info(real).bytesPerBlock;
            for (std::size_t i = 0; i < values.size() / cell; ++i) {
                const std::byte* const value = values.data() + i * cell;
                if (!std::isfinite(toDouble(real, value)) || !std::isfinite(toDouble(real, value + cell - half))) // the same place where it is real
                    first = count++ == 0 ? at + i : first;
            }
            return true;
        }));
        if (count == 0)
            return {};
        const bool isBuffer = m_checkpoint.roleOf(tensor).kind == RoleKind::Buffer; // masks hold −inf
        out.push_back(findingAbout(isBuffer ? Severity::Info : Severity::Warning, "non-finite", tensor,
                                   fmt::format("{} holds {} (NaN or Inf), first at element {}.", printable(m_checkpoint.fullName(tensor)),
                                               plural(count, "non-finite value", "non-finite values"), groupedText(first))));
        return {};
    }

    // The module's copy must be the rounded master, or the two are of different steps.
    Status checkStale(TensorId master, TensorId module, std::vector<Finding>& out)
    {
        const Tensor& narrow = m_checkpoint.tensor(module);
        const Tensor& wide = m_checkpoint.tensor(master);
        if (!canCast(wide.dtype, narrow.dtype) || wide.shape != narrow.shape)
            return {};
        SHARDLENS_ASSIGN(const TensorReader copy, TensorReader::open(m_streams, module));
        const std::size_t cell = info(narrow.dtype).bytesPerBlock;
        std::vector<std::byte> cast;
        std::vector<std::byte> stored;
        std::uint64_t count = 0;
        std::uint64_t first = 0;
        Status read;
        SHARDLENS_TRY(forEachBlock(master, [&](std::uint64_t at, std::span<const std::byte> values) {
            const std::size_t n = values.size() / info(wide.dtype).bytesPerBlock;
            cast.resize(n * cell);
            stored.resize(n * cell);
            castValues(wide.dtype, values.data(), narrow.dtype, cast.data(), n);
            read = copy.readAt(at * cell, stored);
            if (!read || std::memcmp(cast.data(), stored.data(), stored.size()) == 0)
                return read.ok();
            for (std::size_t i = 0; i < n; ++i)
                if (std::memcmp(cast.data() + i * cell, stored.data() + i * cell, cell) != 0 && !bothNan(narrow.dtype, cast.data() + i * cell, stored.data() + i * cell))
                    first = count++ == 0 ? at + i : first;
            return true;
        }));
        SHARDLENS_TRY(std::move(read));
        if (count > 0)
            out.push_back(findingAbout(Severity::Warning, "stale-module-copy", module,
                                       fmt::format("{}: the module's copy is not the rounded master: {} of {} values differ, first at element {}. They may come from different steps.",
                                                   printable(m_checkpoint.parameterOf(module)), groupedText(count), groupedText(elementCount(wide.shape).value_or(0)), groupedText(first))));
        return {};
    }

    [[nodiscard]] std::uint64_t bytesRead() const { return m_job.progress().bytesRead.load(); }

private:
    static bool bothNan(DType dtype, const std::byte* a, const std::byte* b)
    {
        return std::isnan(toDouble(dtype, a)) && std::isnan(toDouble(dtype, b));
    }

    // Calls visit(first element, values) in order until it says false.
    template <typename Visit>
    Status forEachBlock(TensorId tensor, Visit visit)
    {
        SHARDLENS_ASSIGN(const TensorReader reader, TensorReader::open(m_streams, tensor));
        const std::uint64_t cell = reader.cellBytes();
        std::vector<std::byte> buffer(std::min(kBlockCells * cell, reader.sizeBytes()));
        for (std::uint64_t at = 0; at < reader.sizeBytes(); at += buffer.size()) {
            SHARDLENS_TRY(m_job.poll());
            const std::span<std::byte> part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), reader.sizeBytes() - at));
            SHARDLENS_TRY(reader.readAt(at, part));
            m_job.progress().bytesRead.fetch_add(part.size(), std::memory_order_relaxed);
            m_job.advance(part.size());
            if (!visit(at / cell, std::span<const std::byte>(part)))
                return {};
        }
        return {};
    }

    const Checkpoint& m_checkpoint;
    StreamSet m_streams;
    JobContext& m_job;
};

// For each tensor the module copy that belongs to it, where it is a master.
std::vector<std::optional<TensorId>> moduleCopies(const Checkpoint& checkpoint)
{
    std::vector<std::optional<TensorId>> ofParameter(checkpoint.parameters().size());
    std::vector<std::optional<TensorId>> out(checkpoint.tensors().size());
    for (std::size_t i = 0; i < out.size(); ++i)
        if (checkpoint.roleOf(idAt<TensorId>(i)).kind == RoleKind::Module)
            ofParameter[indexOf(checkpoint.tensors()[i].parameter)] = idAt<TensorId>(i);
    for (std::size_t i = 0; i < out.size(); ++i)
        if (checkpoint.roleOf(idAt<TensorId>(i)).kind == RoleKind::Weight)
            out[i] = ofParameter[indexOf(checkpoint.tensors()[i].parameter)];
    return out;
}

// A tensor that cannot be read is a finding; only a cancel ends the check.
Status settle(Status status, TensorId tensor, std::vector<Finding>& out)
{
    if (status || status.error().code() == ErrorCode::Cancelled)
        return status;
    out.push_back(findingAbout(Severity::Error, "unreadable", tensor, status.error().sentence()));
    return {};
}

// All findings in one list. A lost file leaves a hole in every tensor that it has a part of: the first few are listed, the rest counted.
void gather(const Checkpoint& checkpoint, std::vector<std::vector<Finding>>& found, std::vector<Finding>& out)
{
    std::map<FileId, std::uint64_t> holesOf;
    for (std::vector<Finding>& ofTensor : found)
        for (Finding& finding : ofTensor) {
            const bool ofLostFile = finding.code == "hole" && finding.file != kNoFile && checkpoint.file(finding.file).state != File::State::Read;
            if (!ofLostFile || ++holesOf[finding.file] <= kHolesOfFileSaid)
                out.push_back(std::move(finding));
        }
    for (const auto& [file, holes] : holesOf)
        if (holes > kHolesOfFileSaid)
            out.push_back({Severity::Error, "hole", fmt::format("{} leaves {} more such holes.", printable(checkpoint.file(file).name), groupedText(holes - kHolesOfFileSaid)),
                           kNoTensor, file, checkpoint.file(file).rank});
}

// Megatron-core 0.15 to 0.19 cut masters and moments out of its buffers at wrong places where padding lay between (formats/megatron.md §6.8): then some
// masters are not what their parameters were rounded from, and the others are.
void addLayoutBug(const Checkpoint& checkpoint, std::size_t compared, const std::vector<std::vector<Finding>>& found, std::vector<Finding>& out)
{
    const auto type = checkpoint.modelFacts().find("distrib_optim_sharding_type");
    if (type == checkpoint.modelFacts().end() || type->second != "fully_reshardable")
        return;
    const auto stale = static_cast<std::size_t>(std::count_if(found.begin(), found.end(), [](const std::vector<Finding>& ofTensor) {
        return std::any_of(ofTensor.begin(), ofTensor.end(), [](const Finding& finding) { return finding.code == "stale-module-copy"; });
    }));
    if (stale == 0 || stale == compared)
        return;
    out.push_back({Severity::Warning, "known-layout-bug",
                   fmt::format("The masters of {} of {} parameters are not what the weights were rounded from, and the others are: the optimizer state was saved by a version of megatron-core (0.15 to 0.19) with a known "
                               "layout bug. The weights are not affected (--select module takes them); masters and moments of those parameters are shifted.",
                               groupedText(stale), groupedText(compared)),
                   kNoTensor, kNoFile, std::nullopt});
}

} // namespace

Severity VerifyReport::worst() const
{
    Severity out = Severity::Info;
    for (const Finding& finding : findings)
        out = std::max(out, finding.severity);
    return out;
}

Result<VerifyReport> verifyCheckpoint(const CheckpointPtr& checkpoint, const VerifyOptions& options, Executor& executor, JobContext& job)
{
    const std::size_t count = checkpoint->tensors().size();
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < count; ++i)
        total += checkpoint->bytesOf(idAt<TensorId>(i));
    std::optional<ContainerCheck> containers;
    if (!options.quick) {
        SHARDLENS_ASSIGN(containers, ContainerCheck::prepare(*checkpoint, job));
        total += containers->totalBytes() + summedBytes(*checkpoint);
    }
    const auto copies = moduleCopies(*checkpoint);
    for (std::size_t i = 0; i < count; ++i)
        total += copies[i] ? checkpoint->bytesOf(idAt<TensorId>(i)) : 0; // masters are read again, beside their copies
    job.setTotal(options.quick ? count : total);
    Verifier verifier(checkpoint, job);
    std::vector<char> complete(count, 0); // bytes, not bits: written by several threads
    std::vector<std::vector<Finding>> found(count);
    std::atomic<std::size_t> compared{0}; // masters with their copies
    SHARDLENS_TRY(executor.forEach(count, [&](std::size_t i) -> Status {
        SHARDLENS_TRY(job.poll());
        complete[i] = verifier.checkCoverage(idAt<TensorId>(i), found[i]) ? 1 : 0;
        if (options.quick)
            job.advance(1);
        return {};
    }));
    if (!options.quick) {
        SHARDLENS_TRY(executor.forEach(count, [&](std::size_t i) -> Status {
            const TensorId tensor = idAt<TensorId>(i);
            if (complete[i] == 0)
                return {};
            SHARDLENS_TRY(settle(verifier.checkReplicas(tensor, found[i]), tensor, found[i]));
            SHARDLENS_TRY(settle(verifier.checkFinite(tensor, found[i]), tensor, found[i]));
            if (!copies[i] || complete[indexOf(*copies[i])] == 0)
                return {};
            ++compared;
            return settle(verifier.checkStale(tensor, *copies[i], found[i]), tensor, found[i]);
        }));
    }
    VerifyReport report;
    report.findings = checkpoint->findings();
    if (containers) {
        SHARDLENS_ASSIGN(std::vector<Finding> harmed, containers->run(*checkpoint, executor, job));
        SHARDLENS_ASSIGN(std::vector<Finding> changed, checkFileSums(*checkpoint, executor, job));
        for (std::vector<Finding>* list : {&harmed, &changed})
            report.findings.insert(report.findings.end(), std::make_move_iterator(list->begin()), std::make_move_iterator(list->end()));
        addLayoutBug(*checkpoint, compared, found, report.findings);
    }
    for (Finding& finding : checkStoredWeights(checkpoint))
        report.findings.push_back(std::move(finding));
    report.tensorsChecked = count;
    report.bytesRead = verifier.bytesRead();
    gather(*checkpoint, found, report.findings);
    std::stable_sort(report.findings.begin(), report.findings.end(), [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
    return report;
}

} // namespace shardlens
