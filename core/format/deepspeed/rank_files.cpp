#include "core/format/deepspeed/rank_files.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/deepspeed/moe_groups.h"
#include "core/format/opened_file.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::deepspeed {
namespace {

constexpr std::uint32_t kMaxRanks = 1u << 16;
constexpr std::uint32_t kMissingRanksSaid = 32; // more are counted
constexpr std::int64_t kLateNs = 600ll * 1'000'000'000; // ten minutes: longer than a save takes

void sayMissing(Run& run, FileId file, std::uint32_t rank)
{
    run.find(Severity::Error, "missing-file",
             fmt::format("Rank {} has no file {}: it is not in the folder. Copy it here; nothing else holds its part.", rank, printable(run.builder.file(file).name)), file, rank);
}

// W: what the lowest readable optimizer file says, else the model file (formats/deepspeed.md §1.4).
std::uint32_t worldOf(const Run& run, std::size_t fileCount)
{
    std::uint64_t world = 0;
    if (const auto first = run.firstOptimizer()) {
        const pickle::Value counts = run.optimizerState(*first).find("partition_count");
        const pickle::Value rows = run.optimizerState(*first).find("base_optimizer_state").find("param_groups");
        world = countOf(counts).value_or(0);
        std::uint64_t ofExperts = 0; // a group of experts is cut over the W / E ranks that hold the same ones
        for (std::size_t i = 0; i < counts.size(); ++i) {
            const std::uint64_t count = countOf(counts.at(i)).value_or(0);
            if (const auto size = namedExpertSize(rows.at(i)))
                ofExperts = std::max(ofExperts, checkedMul(count, *size).value_or(0));
            else
                world = std::max(world, count);
        }
        if (world == 0)
            world = ofExperts;
    }
    if (world == 0)
        world = countOf(run.model.root().find("dp_world_size")).value_or(0);
    if (world == 0 || world > kMaxRanks)
        world = std::max<std::size_t>(fileCount, 1);
    return static_cast<std::uint32_t>(world);
}

// Drops what lies beyond W, and puts a missing file for every rank that has none.
void complete(Run& run, std::map<std::uint32_t, RankFile>& files, const std::map<std::uint32_t, std::string>& names, const std::string& pattern)
{
    for (const auto& [rank, name] : names)
        if (rank >= run.world)
            addLeftover(run, name, rank, fmt::format("it belongs to rank {}, and this run has {}; a run with more ranks left it here", rank, plural(run.world, "rank", "ranks")));
    files.erase(files.lower_bound(run.world), files.end());
    std::uint32_t missing = 0;
    for (std::uint32_t rank = 0; rank < run.world; ++rank) {
        if (files.contains(rank))
            continue;
        RankFile file = missingRankFile(run, fmt::format(fmt::runtime(pattern), rank), rank);
        if (missing++ < kMissingRanksSaid)
            sayMissing(run, file.id, rank);
        files.emplace(rank, std::move(file));
    }
    if (missing > kMissingRanksSaid)
        run.find(Severity::Error, "missing-file", fmt::format("{} more ranks of {} have no file of this kind.", groupedText(missing - kMissingRanksSaid), groupedText(run.world)));
}

Status openOptimizers(Run& run, JobContext& job)
{
    for (const auto& [rank, name] : run.folder.optimizers) {
        SHARDLENS_TRY(job.poll());
        // Ranks beyond W are left over; rank 0 is the first to be opened and knows W.
        const auto first = run.firstOptimizer();
        if (first && rank >= worldOf(run, run.folder.optimizers.size()))
            continue;
        run.optimizers.emplace(rank, openRankFile(run, name, rank));
    }
    return {};
}

bool isStateDict(pickle::Value value)
{
    bool hasTensor = false;
    for (std::size_t i = 0; i < value.size(); ++i)
        hasTensor = hasTensor || (value.keyAt(i).asText() && TorchFile::isTensor(value.valueAt(i)));
    return hasTensor;
}

void findLateFiles(Run& run)
{
    std::vector<std::int64_t> times;
    for (const auto& [rank, file] : run.optimizers)
        if (file.torch)
            times.push_back(run.builder.file(file.id).modifiedNs);
    if (times.size() < 2)
        return;
    std::sort(times.begin(), times.end());
    const std::int64_t middle = times[times.size() / 2];
    for (const auto& [rank, file] : run.optimizers) {
        const std::int64_t late = file.torch ? run.builder.file(file.id).modifiedNs - middle : 0;
        if (late > kLateNs)
            run.find(Severity::Warning, "late-rank",
                     fmt::format("Rank {} was written {} after the others. Compare it with the module copy before you trust it.", rank,
                                 durationText(static_cast<double>(late) / 1e9)),
                     file.id, rank);
    }
}

Status openModels(Run& run, JobContext& job)
{
    for (const auto& [rank, name] : run.folder.stage3Models) {
        SHARDLENS_TRY(job.poll());
        if (rank < run.world)
            run.stage3Models.emplace(rank, openRankFile(run, name, rank));
    }
    return {};
}

// The model file of ZeRO-3 that stands for all: rank 0's, whose buffers and ties count.
void takeStage3Model(Run& run)
{
    for (auto& [rank, file] : run.stage3Models) {
        if (!file.torch)
            continue;
        run.model = file;
        if (rank != 0)
            run.find(Severity::Warning, "buffers-of-another-rank",
                     fmt::format("Buffers and tied names come from rank {}: the model file of rank 0, whose values count, cannot be used.", rank), file.id, rank);
        return;
    }
}

} // namespace

RankFile openRankFile(Run& run, const std::string& name, std::optional<std::uint32_t> rank)
{
    RankFile out;
    out.name = name;
    const std::string path = run.folder.path + "/" + name;
    const auto unreadable = [&](File row, const Error& error) {
        row.state = File::State::Unreadable;
        row.rank = rank;
        out.id = run.builder.addFile(std::move(row));
        run.find(Severity::Error, "unreadable-file", fmt::format("{} cannot be read: {}.", printable(name), error.text()), out.id, rank);
        return std::move(out);
    };
    auto opened = openFile(path, name);
    if (!opened)
        return unreadable(missingFile(path, name), opened.error());
    auto torch = TorchFile::open(opened->source, run.job());
    if (!torch)
        return unreadable(opened->row, torch.error());
    opened->row.rank = rank;
    opened->row.container = torch->container() == TorchFile::Container::Zip ? "torch zip" : "torch legacy";
    out.id = run.builder.addFile(std::move(opened->row));
    out.torch = std::make_shared<const TorchFile>(torch.take());
    addContainerSpans(run.builder, out.id, *out.torch);
    for (const TorchNote& note : out.torch->notes())
        run.find(Severity::Info, note.code, fmt::format("{}: {}.", printable(name), note.text), out.id, rank);
    return out;
}

RankFile missingRankFile(Run& run, const std::string& name, std::optional<std::uint32_t> rank)
{
    RankFile out;
    out.name = name;
    File row = missingFile(run.folder.path + "/" + name, name);
    row.rank = rank;
    out.id = run.builder.addFile(std::move(row));
    return out;
}

void addLeftover(Run& run, const std::string& name, std::optional<std::uint32_t> rank, const std::string& why)
{
    File row = missingFile(run.folder.path + "/" + name, name);
    if (auto opened = openFile(row.path, name))
        row = opened->row;
    row.rank = rank;
    row.holds = "left over from another run";
    const FileId id = run.builder.addFile(std::move(row));
    run.find(Severity::Warning, "leftover-file", fmt::format("{}: {}. It is not read.", printable(name), why), id, rank);
}

Status openRankFiles(Run& run, JobContext& job)
{
    run.setJob(job);
    SHARDLENS_TRY(openOptimizers(run, job));
    if (!run.folder.model.empty())
        run.model = openRankFile(run, run.folder.model, 0);
    run.isModuleAlone = run.folder.stageDegree && run.model.root().isMapping() && !run.model.root().find("module") && isStateDict(run.model.root());
    const bool stage3 = run.folder.model.empty() && (!run.folder.stage3Models.empty() || run.firstOptimizer());
    run.world = worldOf(run, std::max(run.folder.optimizers.size(), run.folder.stage3Models.size()));
    const bool isZero3File = run.firstOptimizer() && run.optimizerState(*run.firstOptimizer()).find("fp32_flat_groups");
    if (stage3 && (isZero3File || run.folder.optimizers.empty() || !run.folder.stage3Models.empty())) {
        SHARDLENS_TRY(openModels(run, job));
        takeStage3Model(run);
        if (run.folder.optimizers.empty() && run.model.torch)
            run.world = worldOf(run, run.folder.stage3Models.size());
        complete(run, run.stage3Models, run.folder.stage3Models, fmt::format("zero_pp_rank_{{}}_mp_rank_{:02d}_model_states.pt", run.folder.mpRank));
    }
    if (!run.model.torch) {
        const std::string name = stage3 && !run.folder.stage3Models.empty() ? fmt::format("zero_pp_rank_0_mp_rank_{:02d}_model_states.pt", run.folder.mpRank)
                                                                                  : modelRankName(run.folder, run.folder.mpRank) + "_model_states.pt";
        const bool isThere = !run.folder.model.empty() || !run.folder.stage3Models.empty();
        return Error{isThere ? ErrorCode::Corrupt : ErrorCode::NotFound,
                     fmt::format("{} {}; the names and shapes of the parameters lie only there", name, isThere ? "cannot be read" : "is not in the folder")};
    }
    const bool isZero = !run.folder.optimizers.empty() || !run.model.root().find("param_shapes").isNone();
    if (isZero)
        complete(run, run.optimizers, run.folder.optimizers, fmt::format("{}zero_pp_rank_{{}}_mp_rank_{:02d}_optim_states.pt", run.folder.optimizerPrefix, run.folder.mpRank));
    findLateFiles(run);
    for (const Finding& finding : run.folder.findings)
        run.builder.addFinding(finding);
    return {};
}

} // namespace shardlens::deepspeed
