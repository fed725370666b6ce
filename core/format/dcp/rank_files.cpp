#include "core/format/dcp/rank_files.h"

#include "core/base/text.h"
#include "core/encoding/tensor_leaves.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/dcp/distributed_value.h"
#include "core/format/nested_states.h"
#include "core/format/opened_file.h"
#include "core/layout/branches.h"
#include "core/model/checkpoint_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>
#include <unordered_map>

namespace shardlens::dcp {
namespace {

using pickle::Value;

constexpr std::array<std::string_view, 4> kRankFileEndings{".bin", ".pt", ".pth", ".ckpt"};
constexpr std::string_view kModelSeries = "pytorch_model_fsdp"; // accelerate's names (§1.2)
constexpr std::string_view kOptimizerSeries = "optimizer";
constexpr std::size_t kNodesOfRankFile = 20'000;
constexpr std::size_t kMissingSaid = 16;
constexpr std::uint32_t kMostMissingRanks = 65'536;
constexpr std::size_t kMostLostPieces = 4'000'000; // of all tensors; beyond them holes name no file

// "pytorch_model_fsdp_0_rank3.bin" is number 3 of the series "pytorch_model_fsdp_0_rank" … ".bin".
struct SeriesName {
    std::string before;
    std::string after;
    std::uint32_t rank = 0;
};

std::optional<SeriesName> seriesName(const std::string& name)
{
    if (std::none_of(kRankFileEndings.begin(), kRankFileEndings.end(), [&](std::string_view one) { return name.ends_with(one); }))
        return std::nullopt;
    const std::size_t word = name.rfind("rank");
    if (word == std::string::npos)
        return std::nullopt;
    std::size_t at = word + 4;
    if (at < name.size() && (name[at] == '_' || name[at] == '-'))
        ++at;
    std::uint32_t rank = 0;
    const auto [end, failed] = std::from_chars(name.data() + at, name.data() + name.size(), rank);
    if (failed != std::errc{})
        return std::nullopt;
    return SeriesName{name.substr(0, at), name.substr(static_cast<std::size_t>(end - name.data())), rank};
}

// Files of ranks that belong together.
struct Series {
    std::string before;
    std::string after;
    std::map<std::uint32_t, std::string> files; // by rank
    bool isOptimizer = false;
};

std::vector<Series> seriesIn(const Candidate& folder)
{
    std::map<std::pair<std::string, std::string>, Series> found;
    for (const DirectoryEntry& entry : folder.entries)
        if (const auto name = entry.isFolder ? std::nullopt : seriesName(entry.name)) {
            Series& series = found[{name->before, name->after}];
            series.before = name->before;
            series.after = name->after;
            series.files[name->rank] = entry.name;
        }
    std::vector<Series> out;
    for (auto& [key, series] : found)
        out.push_back(std::move(series));
    return out;
}

// The series that make up one checkpoint: one, or accelerate's model and optimizer.
Result<std::vector<Series>> chooseSeries(std::vector<Series> all)
{
    if (all.size() == 1)
        return all;
    std::vector<Series> out;
    for (const std::string_view begin : {kModelSeries, kOptimizerSeries}) {
        for (Series& series : all)
            if (series.before.starts_with(begin)) {
                out.push_back(std::move(series));
                out.back().isOptimizer = begin == kOptimizerSeries;
            }
    }
    const auto models = static_cast<std::size_t>(std::count_if(out.begin(), out.end(), [](const Series& one) { return !one.isOptimizer; }));
    if (out.size() != all.size() || models > 1 || out.size() - models > 1)
        return Error{ErrorCode::Refused, fmt::format("{} series of rank files, and nothing says which of them belong together: put one of them into a folder of its own", all.size())};
    return out;
}

// A value under its name: tensors of the model, or states of an optimizer.
struct Named {
    std::string parameter;
    RoleKind role = RoleKind::Weight;
    std::string state;
    Value value;
};

struct RankFile {
    std::uint32_t rank = 0;
    FileId id{};
    std::shared_ptr<const TorchFile> torch;
    std::vector<Named> values;
};

// What the ranks' files say about one name.
struct Gathered {
    Named name;
    std::vector<std::pair<std::size_t, Value>> values; // file, value
};

class RankFilesReader {
public:
    explicit RankFilesReader(CheckpointBuilder& builder, std::string folder) : m_builder(builder), m_folder(std::move(folder)) {}

    Status read(const Series& series, JobContext& job);

private:
    Status openFiles(const Series& series, JobContext& job);
    void findMissing(const Series& series);
    Status addGathered(const Gathered& gathered);
    Status addDistributed(const Gathered& gathered);
    Status addPlain(const Gathered& gathered);
    TensorId newTensor(const Named& name, DType dtype, const Shape& shape, Combine combine);
    Status addPart(TensorId tensor, std::size_t file, const TorchTensor& value, const Box& box);
    void lose(const Named& name, std::string problem, FileId file);

    CheckpointBuilder& m_builder;
    std::string m_folder;
    std::vector<RankFile> m_files;       // of the series at hand
    std::vector<std::uint32_t> m_missing;
    std::map<std::uint32_t, FileId> m_missingFiles;
    std::size_t m_lostPieces = 0;
    std::set<std::string> m_fragmented; // prefixes of flat parameters whose fragments lie beside them
};

std::string fullNameOf(const Named& name)
{
    return name.state.empty() ? name.parameter : name.parameter + "/" + name.state;
}

// `state` → FQN → STATE of an optimizer's dictionary.
void addStates(Value optimizer, std::vector<Named>& out)
{
    const Value states = optimizer.find("state");
    for (std::size_t i = 0; i < states.size(); ++i) {
        const Value of = states.valueAt(i);
        for (std::size_t s = 0; of.isMapping() && s < of.size(); ++s)
            if (TorchFile::isTensor(of.valueAt(s)))
                out.push_back({keyText(states.keyAt(i)), RoleKind::OptimizerState, keyText(of.keyAt(s)), of.valueAt(s)});
    }
}

Result<std::vector<Named>> namesIn(const TorchFile& file, bool isOptimizer, JobContext& job)
{
    std::vector<Named> out;
    Value root = file.root();
    if (isOptimizer) {
        addStates(root, out);
        return out;
    }
    std::string model;
    std::string optimizer;
    for (std::size_t i = 0; root.isMapping() && i < root.size(); ++i) {
        const std::string key = keyText(root.keyAt(i));
        if (isModelBranch(key) && root.valueAt(i).isMapping())
            model = key;
        if (isOptimizerBranch(key) && root.valueAt(i).isMapping())
            optimizer = key;
    }
    if (!optimizer.empty())
        addStates(root.find(optimizer), out);
    SHARDLENS_ASSIGN(const std::vector<TreeLeaf> leaves, tensorLeavesOf(root, job));
    for (const TreeLeaf& leaf : leaves) {
        if (!optimizer.empty() && leaf.branch == optimizer)
            continue;
        const bool isOfModel = !model.empty() && leaf.branch == model;
        out.push_back({isOfModel ? leaf.name.substr(std::min(leaf.name.size(), model.size() + 1)) : leaf.name, isOfModel || model.empty() ? RoleKind::Weight : RoleKind::Other, "", leaf.value});
    }
    return out;
}

void RankFilesReader::lose(const Named& name, std::string problem, FileId file)
{
    m_builder.addLost({fullNameOf(name), name.role, std::move(problem)}, "unsupported-tensor", file);
}

Status RankFilesReader::openFiles(const Series& series, JobContext& job)
{
    m_files.clear();
    for (const auto& [rank, name] : series.files) {
        SHARDLENS_TRY(job.poll());
        auto opened = openFile(m_folder + "/" + name, name);
        auto torch = opened ? TorchFile::open(opened->source, job) : Result<TorchFile>(opened.takeError());
        if (!torch)
            return torch.takeError().within(printable(name));
        auto file = std::make_shared<const TorchFile>(torch.take());
        auto values = namesIn(*file, series.isOptimizer, job);
        if (!values)
            return values.takeError().within(printable(name));
        opened->row.container = containerText(file->container());
        opened->row.rank = rank;
        opened->row.holds = plural(values->size(), "tensor", "tensors");
        const FileId id = m_builder.addFile(std::move(opened->row));
        addContainerSpans(m_builder, id, *file);
        for (const TorchNote& note : file->notes())
            m_builder.addFinding({note.isWarning ? Severity::Warning : Severity::Info, note.code, fmt::format("{}: {}.", printable(name), note.text), kNoTensor, id, rank});
        m_builder.addMetadata({id, describe(*file, kNodesOfRankFile)});
        m_files.push_back({rank, id, std::move(file), values.take()});
    }
    return {};
}

// Every file says how many ranks there were; those without a file are named, with the parts that they should hold.
void RankFilesReader::findMissing(const Series& series)
{
    std::uint32_t world = series.files.rbegin()->first + 1;
    for (const RankFile& file : m_files)
        for (const Named& named : file.values)
            if (isDistributed(named.value)) {
                if (const auto value = distributedValueOf(*file.torch, named.value, file.rank, {}))
                    world = std::max(world, std::min(value->worldSize, kMostMissingRanks));
                break; // one says it for all
            }
    m_missing.clear();
    m_missingFiles.clear();
    for (std::uint32_t rank = 0; rank < world; ++rank)
        if (!series.files.contains(rank))
            m_missing.push_back(rank);
    for (std::size_t i = 0; i < m_missing.size(); ++i) {
        const std::string name = fmt::format("{}{}{}", series.before, m_missing[i], series.after);
        const FileId id = m_builder.addFile(missingFile(m_folder + "/" + name, name));
        m_builder.file(id).rank = m_missing[i];
        m_missingFiles.emplace(m_missing[i], id);
        if (i < kMissingSaid)
            m_builder.addFinding({Severity::Warning, "missing-file", fmt::format("{} is not in the folder: the file of rank {} of {}.", printable(name), m_missing[i], world), kNoTensor, id, m_missing[i]});
    }
}

TensorId RankFilesReader::newTensor(const Named& name, DType dtype, const Shape& shape, Combine combine)
{
    const RoleId role = m_builder.role(name.role, name.role == RoleKind::OptimizerState ? name.state : name.role == RoleKind::Weight ? "weight" : "other");
    return m_builder.addTensor({m_builder.parameter(name.parameter), role, dtype, combine, name.role == RoleKind::Weight, shape});
}

Status RankFilesReader::addPart(TensorId tensor, std::size_t file, const TorchTensor& value, const Box& box)
{
    TorchPieces pieces(m_builder, m_files[file].id, *m_files[file].torch);
    const CheckpointBuilder::Placement at = pieces.placementOf(value, m_builder.holder({}));
    return m_builder.addPiece(tensor, BoxView(box), at, value.contiguous ? std::span<const std::int64_t>() : value.strides);
}

Status RankFilesReader::addDistributed(const Gathered& gathered)
{
    struct Piece {
        std::size_t file;
        Box box;
        TorchTensor tensor;
    };
    std::vector<Piece> pieces;
    std::optional<DistributedValue> first;
    std::uint64_t cells = 0;
    for (const auto& [file, value] : gathered.values) {
        const RankFile& of = m_files[file];
        const std::string place = fmt::format("{} in {}", printable(fullNameOf(gathered.name)), printable(m_builder.file(of.id).name));
        auto one = isDistributed(value) ? distributedValueOf(*of.torch, value, of.rank, first ? std::span<const std::uint32_t>() : m_missing)
                                        : Result<DistributedValue>(Error{ErrorCode::Corrupt, "it is a plain tensor there, and a distributed one in other ranks' files"});
        if (!one) {
            lose(gathered.name, fmt::format("{} cannot be read: {}.", place, one.error().text()), of.id);
            return {};
        }
        if (first && (one->dtype != first->dtype || one->shape != first->shape)) {
            lose(gathered.name, fmt::format("{} is {} {}, and {} {} in another rank's file: files of different saves.", place, nameOf(one->dtype), shapeText(one->shape), nameOf(first->dtype), shapeText(first->shape)), of.id);
            return {};
        }
        for (DistributedValue::Part& part : one->parts) {
            auto tensor = of.torch->tensorOf(part.tensor);
            if (tensor && (tensor->dtype != one->dtype || tensor->shape != part.box.extent))
                tensor = Error{ErrorCode::Corrupt, fmt::format("it holds {} {}, and its place in the whole is {} {}", nameOf(tensor->dtype), shapeText(tensor->shape), nameOf(one->dtype), shapeText(part.box.extent))};
            if (!tensor) {
                lose(gathered.name, fmt::format("{} cannot be read: {}.", place, tensor.error().text()), of.id);
                return {};
            }
            if (part.box.volume() == 0)
                continue;
            cells += part.box.volume();
            pieces.push_back({file, std::move(part.box), tensor.take()});
        }
        if (!first)
            first = std::move(*one);
    }
    const TensorId id = newTensor(gathered.name, first->dtype, first->shape, cells > elementCount(first->shape).value_or(0) ? Combine::Replicas : Combine::Exclusive);
    for (const Piece& piece : pieces)
        SHARDLENS_TRY(addPart(id, piece.file, piece.tensor, piece.box));
    for (const DistributedValue::Place& place : first->places) // what the lost files held
        if (place.box.volume() > 0 && ++m_lostPieces <= kMostLostPieces)
            SHARDLENS_TRY(m_builder.addPiece(id, BoxView(place.box), {m_builder.streamOf(m_missingFiles.at(place.rank)), 0, m_builder.holder({}), {}}));
    return {};
}

// A plain tensor that every rank has in one shape is one tensor. Where lengths differ, the ranks hold fragments of a flat parameter (§5.1).
Status RankFilesReader::addPlain(const Gathered& gathered)
{
    std::vector<std::pair<std::size_t, TorchTensor>> tensors;
    for (const auto& [file, value] : gathered.values) {
        auto tensor = m_files[file].torch->tensorOf(value);
        if (!tensor) {
            lose(gathered.name, fmt::format("{} cannot be read: {}.", printable(fullNameOf(gathered.name)), tensor.error().text()), m_files[file].id);
            return {};
        }
        tensors.emplace_back(file, tensor.take());
    }
    const TorchTensor& first = tensors.front().second;
    const bool isSame = std::all_of(tensors.begin(), tensors.end(), [&](const auto& one) { return one.second.dtype == first.dtype && one.second.shape == first.shape; });
    const std::string prefix = gathered.name.parameter.substr(0, gathered.name.parameter.rfind('.') + 1);
    const bool isFragment = first.shape.size() == 1 && std::any_of(m_fragmented.begin(), m_fragmented.end(), [&](const std::string& unit) { return prefix.starts_with(unit); });
    if (!isSame || isFragment) {
        lose(gathered.name, fmt::format("{} is in pieces: each rank's file holds a fragment of it, cut out of a flat parameter, and no file says where in the flat parameter it lies. _flat_param holds the same values.",
                                        printable(fullNameOf(gathered.name))),
             m_files[tensors.front().first].id);
        return {};
    }
    const TensorId id = newTensor(gathered.name, first.dtype, first.shape, tensors.size() > 1 ? Combine::Replicas : Combine::Exclusive);
    const Shape units = unitShape(first.shape, first.dtype);
    for (const auto& [file, tensor] : tensors)
        SHARDLENS_TRY(addPart(id, file, tensor, Box{Shape(units.size(), 0), units}));
    return {};
}

Status RankFilesReader::addGathered(const Gathered& gathered)
{
    const bool any = std::any_of(gathered.values.begin(), gathered.values.end(), [](const auto& one) { return isDistributed(one.second); });
    return any ? addDistributed(gathered) : addPlain(gathered);
}

Status RankFilesReader::read(const Series& series, JobContext& job)
{
    SHARDLENS_TRY(openFiles(series, job));
    bool isDistributedAnywhere = false;
    std::vector<Gathered> all;
    std::unordered_map<std::string, std::size_t> byName;
    for (std::size_t file = 0; file < m_files.size(); ++file)
        for (Named& named : m_files[file].values) {
            isDistributedAnywhere = isDistributedAnywhere || isDistributed(named.value);
            const auto [at, isNew] = byName.emplace(fullNameOf(named), all.size());
            if (isNew)
                all.push_back({named, {}});
            if (all[at->second].values.empty() || all[at->second].values.back().first != file) // a name twice in one file: the first
                all[at->second].values.emplace_back(file, named.value);
        }
    if (!isDistributedAnywhere)
        return Error{ErrorCode::Refused, fmt::format("{} files ({} … {}), and nothing in them says how they belong together: open one of them", series.files.size(), printable(series.files.begin()->second),
                                                     printable(series.files.rbegin()->second))};
    findMissing(series);
    for (const Gathered& gathered : all) { // fragments show by their lengths
        std::set<Shape> shapes;
        for (const auto& [file, value] : gathered.values)
            if (const auto tensor = isDistributed(value) ? Result<TorchTensor>(Error{ErrorCode::Unsupported, ""}) : m_files[file].torch->tensorOf(value))
                shapes.insert(tensor->shape);
        if (shapes.size() > 1)
            m_fragmented.insert(gathered.name.parameter.substr(0, gathered.name.parameter.rfind('.') + 1));
    }
    for (const Gathered& gathered : all) {
        SHARDLENS_TRY(job.poll());
        SHARDLENS_TRY(addGathered(gathered));
    }
    return {};
}

std::string folderOfRankFile(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
}

} // namespace

Match matchRankFiles(const Candidate& candidate)
{
    if (candidate.isFolder) { // one file of a name that anybody could have given is a torch file
        const std::vector<Series> all = seriesIn(candidate);
        const bool isSeries = std::any_of(all.begin(), all.end(), [](const Series& one) { return one.files.size() > 1 || one.before.starts_with(kModelSeries); });
        return isSeries ? Match::ByName : Match::No;
    }
    const auto name = seriesName(candidate.name()); // accelerate's names say it; other files may be anything
    const bool isKnown = name && (name->before.starts_with(kModelSeries) || name->before.starts_with("optimizer_"));
    return isKnown ? Match::ByContent : Match::No;
}

Result<CheckpointPtr> openRankFiles(const Candidate& candidate, JobContext& job)
{
    Candidate folder = candidate;
    if (!candidate.isFolder) {
        SHARDLENS_ASSIGN(folder, lookAt(folderOfRankFile(candidate.path)));
    }
    std::vector<Series> all = seriesIn(folder);
    if (!candidate.isFolder) { // the series that the file is of
        const auto name = seriesName(candidate.name());
        std::erase_if(all, [&](const Series& one) { return one.before != name->before || one.after != name->after; });
    }
    SHARDLENS_ASSIGN(const std::vector<Series> chosen, chooseSeries(std::move(all)));
    CheckpointBuilder builder(candidate.path, folder.path);
    builder.setFormat("dcp", "PyTorch rank files");
    builder.setTitle(candidate.name(), "");
    RankFilesReader reader(builder, folder.path);
    for (const Series& series : chosen)
        SHARDLENS_TRY(reader.read(series, job));
    sayNestedStates(builder);
    return std::move(builder).finish();
}

} // namespace shardlens::dcp
