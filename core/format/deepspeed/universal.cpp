#include "core/format/deepspeed/universal.h"

#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/deepspeed/optimizer_states.h"
#include "core/format/deepspeed/parameter_shapes.h"
#include "core/format/deepspeed/rank_files.h"
#include "core/format/deepspeed/universal_entries.h"
#include "core/format/deepspeed/zero3.h"
#include "core/format/opened_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace shardlens::deepspeed {
namespace {

constexpr std::uint64_t kMaxUniversalRanks = 1u << 16;

// What the model files say of the names that the optimizer owns: all model-parallel ranks together, in their order.
struct OwnedNames {
    std::vector<std::string> inOrder;
    std::map<std::string, ParameterShape, std::less<>> shapes; // of one model-parallel rank; whole only where there is just one
    bool shapesAreWhole = true;
    std::vector<std::string> buffers; // of the further model-parallel ranks
};

Result<OwnedNames> ownedNames(Run& run)
{
    OwnedNames out;
    out.shapesAreWhole = run.folder.otherModels.empty();
    const auto take = [&](const ParameterGroup& group) {
        for (const ParameterShape& parameter : group)
            if (out.shapes.emplace(parameter.name, parameter).second)
                out.inOrder.push_back(parameter.name);
    };
    for (const ParameterGroup& group : run.groups)
        take(group);
    for (const std::string& name : run.folder.otherModels) {
        SHARDLENS_TRY(run.job().poll());
        const RankFile file = openRankFile(run, name, std::nullopt);
        run.builder.file(file.id).holds = file.torch ? "arguments" : "";
        const pickle::Value buffers = file.root().find("buffer_names");
        for (std::size_t i = 0; i < buffers.size(); ++i)
            out.buffers.emplace_back(buffers.at(i).asText().value_or(""));
        auto& groups = run.otherGroups.emplace_back();
        const pickle::Value shapes = file.root().find("param_shapes");
        for (std::size_t i = 0; shapes.isSequence() && i < shapes.size(); ++i) {
            auto group = groupOf(shapes.at(i));
            if (!group)
                return group.takeError().within(printable(name));
            take(*group);
            groups.push_back(group.take());
        }
    }
    return out;
}

// Puts the tensors of zero/ together, parameter by parameter.
class UniversalReader {
public:
    UniversalReader(Run& run, const ModuleNames& names, OwnedNames owned, UniversalListing listing)
        : m_run(run), m_names(names), m_owned(std::move(owned)), m_listing(std::move(listing))
    {
        for (const ParameterGroup& group : run.groups)
            if (!group.empty())
                m_samples.insert(group.front().name);
    }

    Status read()
    {
        for (const std::string& name : m_owned.inOrder)
            if (const auto at = m_listing.find(name); at != m_listing.end())
                for (const auto& [state, file] : at->second)
                    m_expected.insert(state);
        m_expected.insert(kUniversalMaster);
        for (const std::string& name : m_owned.inOrder)
            SHARDLENS_TRY(readParameter(name, true));
        SHARDLENS_TRY(addStepOfAll());
        return readOthers();
    }

private:
    using Entries = std::map<std::string, UniversalEntry, std::less<>>; // of a parameter by state

    // All files of a parameter. `owned`: its states must be complete.
    Status readParameter(const std::string& name, bool owned);
    [[nodiscard]] std::optional<Shape> shapeOf(const std::string& name, const Entries& entries) const;
    [[nodiscard]] std::vector<std::string> statesOf(const Entries& entries, bool owned) const;
    Status addMissing(const std::string& name, const std::string& state, const std::optional<Shape>& shape);
    Status addEntry(const std::string& name, const std::string& state, UniversalEntry& entry, std::optional<Shape>& shape);
    void checkShape(const std::string& name, const UniversalEntry& entry, const Shape& shape);
    Status addHole(const std::string& name, const std::string& state, FileId file, const std::optional<Shape>& shape);
    Status addStepOfAll();
    Status readOthers();
    void addUnread(const UniversalStates& states, const char* holds);
    [[nodiscard]] TensorId addTensor(const std::string& name, const std::string& state, DType dtype, const Shape& shape);

    Run& m_run;
    const ModuleNames& m_names;
    OwnedNames m_owned;
    UniversalListing m_listing;
    std::set<std::string, std::less<>> m_expected; // states that any parameter of the optimizer has
    std::set<std::string, std::less<>> m_samples;  // the first parameter of each group
};

TensorId UniversalReader::addTensor(const std::string& name, const std::string& state, DType dtype, const Shape& shape)
{
    Role role{RoleKind::OptimizerState, state};
    if (state == kUniversalMaster)
        role = m_owned.shapes.contains(name) ? Role{RoleKind::Weight, dtype == DType::F32 ? "fp32 master" : "master"}
               : m_names.buffers.contains(name) ? Role{RoleKind::Buffer, "buffer"}
                                                : Role{RoleKind::Weight, "weight"};
    return m_run.builder.addTensor({m_run.builder.parameter(name), m_run.builder.role(role.kind, role.name), dtype, Combine::Exclusive, false, shape});
}

// A file that is not there or holds no entry: a hole, where anything says how large.
Status UniversalReader::addHole(const std::string& name, const std::string& state, FileId file, const std::optional<Shape>& shape)
{
    if (!shape || state == kUniversalStep)
        return {};
    return m_run.builder.addWhole(addTensor(name, state, DType::F32, *shape), {m_run.builder.addStream({Stream::Kind::Missing, file}), 0, m_run.anyRank(), {}});
}

void UniversalReader::checkShape(const std::string& name, const UniversalEntry& entry, const Shape& shape)
{
    const Shape& stored = entry.tensor->shape;
    const bool fewerRows = entry.isVocabulary && stored.size() == shape.size() && !shape.empty() && stored[0] <= shape[0] && std::equal(shape.begin() + 1, shape.end(), stored.begin() + 1);
    if (stored != shape && !fewerRows)
        m_run.find(Severity::Error, "wrong-shape",
                   fmt::format("{} holds {} for {}, and {} is expected.", printable(m_run.builder.file(entry.file.id).name), shapeText(stored), printable(name), shapeText(shape)), entry.file.id);
}

// `shape`: what is known of it so far.
Status UniversalReader::addEntry(const std::string& name, const std::string& state, UniversalEntry& entry, std::optional<Shape>& shape)
{
    TorchPieces pieces(m_run.builder, entry.file.id, *entry.file.torch);
    if (entry.scalar) {
        SHARDLENS_ASSIGN(const auto scalar, scalarState(m_run, pieces, entry.file, state, entry.scalar, m_run.anyRank()));
        return scalar ? addScalarState(m_run, name, *scalar) : Status{};
    }
    TorchTensor& tensor = *entry.tensor;
    if (entry.isBare && shape) {
        const std::uint64_t have = elementCount(tensor.shape).value_or(0);
        const std::uint64_t need = elementCount(*shape).value_or(0);
        if (tensor.shape.size() != 1 || !tensor.contiguous || have < need) { // before 0.18.0 more: what lies behind is garbage
            m_run.find(Severity::Error, "wrong-shape",
                       fmt::format("{} holds {} for {}, and {} needs {} elements.", printable(m_run.builder.file(entry.file.id).name), shapeText(tensor.shape), printable(name),
                                   shapeText(*shape), groupedText(need)),
                       entry.file.id);
            return addHole(name, state, entry.file.id, shape);
        }
        tensor.shape = *shape;
    } else if (shape) {
        checkShape(name, entry, *shape);
    } else if (entry.isBare) {
        m_run.find(Severity::Warning, "no-shape", fmt::format("The shape of {} is in no model file: it is shown as one row of elements.", printable(name)), entry.file.id);
    }
    if (entry.isVocabulary)
        shape = tensor.shape;
    return pieces.addWhole(addTensor(name, state, tensor.dtype, tensor.shape), tensor, m_run.anyRank());
}

std::optional<Shape> UniversalReader::shapeOf(const std::string& name, const Entries& entries) const
{
    const auto known = m_owned.shapes.find(name);
    if (known != m_owned.shapes.end() && m_owned.shapesAreWhole) {
        Shape shape = known->second.shape;
        for (const auto& [state, entry] : entries)
            if (entry.experts && !shape.empty())
                shape[0] = *entry.experts; // the model file knows those of one rank
        return shape;
    }
    const auto master = entries.find(kUniversalMaster);
    if (master != entries.end() && master->second.tensor)
        return master->second.tensor->shape;
    for (const auto& [state, entry] : entries)
        if (entry.tensor)
            return entry.tensor->shape;
    return std::nullopt;
}

// The states that a parameter has or should have, the master first.
std::vector<std::string> UniversalReader::statesOf(const Entries& entries, bool owned) const
{
    std::set<std::string, std::less<>> all;
    if (owned)
        all = m_expected;
    for (const auto& [state, entry] : entries)
        all.insert(state);
    std::vector<std::string> out(all.begin(), all.end());
    std::stable_partition(out.begin(), out.end(), [](const std::string& state) { return state == kUniversalMaster; });
    return out;
}

Status UniversalReader::addMissing(const std::string& name, const std::string& state, const std::optional<Shape>& shape)
{
    const std::string fileName = fmt::format("zero/{}/{}.pt", name, state);
    const RankFile missing = missingRankFile(m_run, fileName, std::nullopt);
    m_run.find(Severity::Error, "missing-file",
               fmt::format("{} has no {}: {} is not in the folder. Copy it here; nothing else holds it.", printable(name), printable(state), printable(fileName)), missing.id);
    return addHole(name, state, missing.id, shape);
}

Status UniversalReader::readParameter(const std::string& name, bool owned)
{
    SHARDLENS_TRY(m_run.job().poll());
    Entries entries;
    if (const auto listed = m_listing.find(name); listed != m_listing.end())
        for (const auto& [state, file] : listed->second)
            entries.emplace(state, readUniversalEntry(m_run, name, state, file));
    std::optional<Shape> shape = shapeOf(name, entries);
    for (const std::string& state : statesOf(entries, owned)) {
        const auto entry = entries.find(state);
        if (entry == entries.end()) {
            SHARDLENS_TRY(addMissing(name, state, shape));
            continue;
        }
        const RankFile& file = entry->second.file;
        const bool holds = entry->second.tensor || entry->second.scalar;
        Status added = holds ? addEntry(name, state, entry->second, shape) : addHole(name, state, file.id, shape);
        if (!added)
            return added.takeError().within(printable(m_run.builder.file(file.id).name));
        if (holds && m_samples.contains(name))
            m_run.universalSamples[name].emplace_back(state, file);
    }
    return {};
}

// ZeRO-3 writes no step.pt: the step in the optimizer's own file counts for every parameter (formats/deepspeed.md §14.1).
Status UniversalReader::addStepOfAll()
{
    const auto first = m_run.firstOptimizer();
    if (m_expected.contains(kUniversalStep) || !first)
        return {};
    const pickle::Value step = m_run.optimizerState(*first).find("optimizer_state_dict").find("state").valueAt(0).find(kUniversalStep);
    const RankFile& file = m_run.optimizers.at(*first);
    if (!step)
        return {};
    TorchPieces pieces(m_run.builder, file.id, *file.torch);
    SHARDLENS_ASSIGN(const auto scalar, scalarState(m_run, pieces, file, kUniversalStep, step, m_run.anyRank()));
    for (const std::string& name : m_owned.inOrder)
        if (scalar)
            SHARDLENS_TRY(addScalarState(m_run, name, *scalar));
    return {};
}

// Files that say again, as floats, what the model file holds in its own dtype.
void UniversalReader::addUnread(const UniversalStates& states, const char* holds)
{
    for (const auto& [state, name] : states) {
        File row = missingFile(m_run.folder.path + "/" + name, name);
        if (auto opened = openFile(row.path, name))
            row = opened->row;
        row.holds = holds;
        m_run.builder.addFile(std::move(row));
    }
}

Status UniversalReader::readOthers()
{
    std::set<std::string_view> inModule;
    const pickle::Value module = m_run.module();
    for (std::size_t i = 0; m_owned.shapesAreWhole && i < module.size(); ++i)
        inModule.insert(module.keyAt(i).asText().value_or(""));
    for (const auto& [name, states] : m_listing) {
        if (m_owned.shapes.contains(name))
            continue;
        const bool isOnlyCopy = states.size() == 1 && states.contains(kUniversalMaster);
        if (m_names.aliases.contains(name)) {
            addUnread(states, "a tied parameter again, rounded; not read");
        } else if (isOnlyCopy && inModule.contains(name)) {
            addUnread(states, "what the model file holds, as floats; not read");
        } else {
            if (m_run.model.torch)
                m_run.find(Severity::Info, "unlisted", fmt::format("{} is in no list of the model files; it is shown as zero/ has it.", printable(name)));
            SHARDLENS_TRY(readParameter(name, false));
        }
    }
    return {};
}

// Frozen parameters of ZeRO-3 lie in fragments, in the model file of every rank.
void completeStage3Models(Run& run)
{
    if (run.folder.stage3Models.empty() || run.model.root().find("frozen_param_shapes").size() == 0)
        return;
    for (std::uint32_t rank = 0; rank < run.world; ++rank) {
        if (run.stage3Models.contains(rank))
            continue;
        const std::string name = fmt::format("zero_pp_rank_{}_mp_rank_00_model_states.pt", rank);
        RankFile file = missingRankFile(run, name, rank);
        run.find(Severity::Error, "missing-file", fmt::format("{} is not in the folder: it holds a part of every frozen parameter.", name), file.id, rank);
        run.stage3Models.emplace(rank, std::move(file));
    }
}

void openModelFiles(Run& run)
{
    for (const auto& [rank, name] : run.folder.stage3Models)
        if (run.folder.model.empty())
            run.stage3Models.emplace(rank, openRankFile(run, name, rank));
    if (!run.folder.model.empty())
        run.model = openRankFile(run, run.folder.model, std::nullopt);
    for (const auto& [rank, file] : run.stage3Models)
        if (file.torch && !run.model.torch)
            run.model = file;
    if (run.model.id != kNoFile)
        return;
    run.model = missingRankFile(run, "mp_rank_00_model_states.pt", std::nullopt);
    run.find(Severity::Error, "missing-file", "mp_rank_00_model_states.pt is not in the folder: frozen parameters, buffers, tied names and the order of the parameters lie only there.",
             run.model.id);
}

void sayRoundRobin(Run& run)
{
    if (run.stage == Stage::Zero2 && configOf(run, {"zero_optimization", "round_robin_gradients"}).asBool().value_or(false) && run.world > 1)
        run.find(Severity::Info, "round-robin",
                 "The run that this was made from used round_robin_gradients. DeepSpeed's own converter (ds_to_universal) mixes up values of such runs without a word; "
                 "verify compares them with the module copies.");
}

} // namespace

Status openUniversalFiles(Run& run, JobContext& job)
{
    run.setJob(job);
    openModelFiles(run);
    const std::uint64_t said = countOf(run.model.root().find("dp_world_size")).value_or(1);
    run.world = said == 0 || said > kMaxUniversalRanks ? 1 : static_cast<std::uint32_t>(said);
    // The engine looks for its files under this name exactly where bf16 is on (formats/deepspeed.md §15).
    run.folder.optimizerPrefix = configOf(run.model.root(), {"bf16", "enabled"}).asBool().value_or(false) ? "bf16_" : "";
    completeStage3Models(run);
    SHARDLENS_ASSIGN(const Candidate zero, lookAt(run.folder.path + "/zero"));
    const bool hasOptimizer = zero.entry("optimizer_state.pt") != nullptr;
    run.optimizers.emplace(0, hasOptimizer ? openRankFile(run, kUniversalOptimizer, std::nullopt) : missingRankFile(run, kUniversalOptimizer, std::nullopt));
    if (!hasOptimizer)
        run.find(Severity::Warning, "missing-file", fmt::format("{} is not in the folder: the optimizer's settings lie only there.", kUniversalOptimizer), run.optimizers.at(0).id);
    SHARDLENS_ASSIGN(const Candidate tag, lookAt(run.folder.path));
    if (const DirectoryEntry* left = tag.entry("tmp"); left != nullptr && left->isFolder)
        run.find(Severity::Warning, "interrupted", "tmp/ is here: a conversion to this folder was interrupted, and zero/ may be incomplete.");
    return {};
}

Status readUniversal(Run& run, ModuleNames& names)
{
    if (run.stage == Stage::Zero3)
        run.builder.setTopology({{{Axis::Dp, run.world}}});
    SHARDLENS_TRY(readParameterShapes(run));
    SHARDLENS_ASSIGN(OwnedNames owned, ownedNames(run));
    names = moduleNames(run);
    for (const auto& [name, shape] : owned.shapes) {
        names.trainable.insert(name);
        names.withMaster.insert(name);
    }
    names.buffers.insert(owned.buffers.begin(), owned.buffers.end());
    const bool hasModule = owned.shapesAreWhole && run.module().isMapping();
    if (hasModule)
        registerParameters(run, names);
    for (const std::string& name : owned.inOrder)
        run.builder.parameter(name);
    SHARDLENS_ASSIGN(UniversalListing listing, listUniversal(run.folder.path));
    SHARDLENS_TRY(UniversalReader(run, names, std::move(owned), std::move(listing)).read());
    if (run.stage == Stage::Zero3)
        SHARDLENS_TRY(addFrozenFragments(run));
    if (hasModule)
        SHARDLENS_TRY(addModule(run, names));
    addAliases(run, names);
    sayRoundRobin(run);
    return {};
}

} // namespace shardlens::deepspeed
