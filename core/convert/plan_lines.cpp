#include "core/convert/plan_lines.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
#include <system_error>
#include <unordered_set>

namespace shardlens {
namespace {

using Kind = PlanLine::Kind;

constexpr std::array<std::string_view, 4> kHelperEndings{".json", ".model", ".txt", ".py"};
constexpr std::size_t kMostFilesListed = 1000;
constexpr std::size_t kMostFoldersLooked = 64;
constexpr std::size_t kMostNames = 12; // listed in one line

struct Sum {
    std::uint64_t count = 0;
    std::uint64_t bytes = 0;

    void add(std::uint64_t size)
    {
        ++count;
        bytes += size;
    }
    [[nodiscard]] std::string text() const { return fmt::format("{}, {}", plural(count, "tensor", "tensors"), exactSizeText(bytes)); }
};

void addKept(const OutputTensors& selected, Select select, std::vector<PlanLine>& lines)
{
    Sum kept;
    for (const OutputTensor& tensor : selected.tensors)
        kept.add(tensor.sizeBytes);
    const char* topic = select == Select::Module ? "Module copies" : select == Select::Optimizer ? "Optimizer state" : select == Select::All ? "Everything" : "Weights";
    lines.push_back({Kind::Kept, topic, fmt::format("{}.", kept.text())});
}

void addCasts(const Checkpoint& source, const OutputTensors& selected, std::vector<PlanLine>& lines)
{
    std::map<std::pair<DType, DType>, Sum> casts;
    for (const OutputTensor& tensor : selected.tensors) {
        const DType own = source.tensor(tensor.source).dtype;
        if (own != tensor.dtype)
            casts[{own, tensor.dtype}].add(tensor.sizeBytes);
    }
    for (const auto& [pair, sum] : casts)
        lines.push_back({Kind::Cast, "Cast", fmt::format("{} to {}: {}.", nameOf(pair.first), nameOf(pair.second), sum.text())});
}

void addTies(const OutputTensors& selected, OutputKind kind, std::vector<PlanLine>& lines)
{
    std::string first; // the name under which the tensor at hand came first
    for (const OutputTensor& tensor : selected.tensors) {
        if (!tensor.isAlias) {
            first = printable(tensor.name);
            continue;
        }
        if (kind == OutputKind::Torch)
            lines.push_back({Kind::Info, "Tied names", fmt::format("{} shares the bytes of {}, as it does in the source.", printable(tensor.name), first)});
        else
            lines.push_back({Kind::Duplicated, "Tied names", fmt::format("{} and {} were tied; {} knows no ties, so the values are written twice ({}).", first,
                                                                         printable(tensor.name), formatIdOf(kind), exactSizeText(tensor.sizeBytes))});
    }
}

const char* droppedTopic(RoleKind kind)
{
    switch (kind) {
    case RoleKind::OptimizerState: return "Optimizer state";
    case RoleKind::Module: return "Module copies";
    case RoleKind::Other: return "Other tensors";
    case RoleKind::Weight:
    case RoleKind::Buffer: return "Weights";
    }
    return "";
}

// Tensors that are not in the result: by what they are, or because a pattern says so.
void addDroppedTensors(const Checkpoint& source, const ConvertRequest& request, const OutputTensors& selected, std::vector<PlanLine>& lines)
{
    std::unordered_set<std::size_t> kept;
    for (const OutputTensor& tensor : selected.tensors)
        kept.insert(indexOf(tensor.source));
    const auto without = selectTensors(source, SelectionOptions{chosen(request), {}, {}});
    Sum byPattern;
    for (const SelectedTensor& tensor : without)
        if (!tensor.repeats && kept.insert(indexOf(tensor.tensor)).second)
            byPattern.add(source.bytesOf(tensor.tensor));
    std::map<RoleKind, Sum> sums;
    std::vector<std::string> others;
    for (std::size_t i = 0; i < source.tensors().size(); ++i) {
        const auto id = idAt<TensorId>(i);
        if (kept.contains(i))
            continue;
        sums[source.roleOf(id).kind].add(source.bytesOf(id));
        if (source.roleOf(id).kind == RoleKind::Other)
            others.push_back(source.fullName(id));
    }
    if (byPattern.count != 0)
        lines.push_back({Kind::Dropped, "Patterns", fmt::format("Left out by --include and --exclude: {}.", byPattern.text())});
    for (const auto& [kind, sum] : sums)
        lines.push_back({Kind::Dropped, droppedTopic(kind), fmt::format("Not carried over: {}{}.", sum.text(), kind == RoleKind::Other ? ": " + listed(others) : "")});
}

bool holdsTensors(const MetaNode& node)
{
    return node.kind == MetaNode::Kind::Tensor || node.kind == MetaNode::Kind::Summary ||
           std::any_of(node.children.begin(), node.children.end(), holdsTensors);
}

// The outermost names under which there are values and no tensors.
void collectValues(const MetaNode& node, const std::string& path, std::vector<std::string>& into)
{
    for (const MetaNode& child : node.children) {
        if (path.empty() && child.key == kOwnMetadataKey)
            continue;
        const std::string name = path.empty() ? child.key : path + "." + child.key;
        if (child.kind == MetaNode::Kind::Tensor || child.kind == MetaNode::Kind::Summary || child.key == "(metadata)") // of the container's own
            continue;
        if (holdsTensors(child))
            collectValues(child, name, into);
        else if (std::find(into.begin(), into.end(), name) == into.end())
            into.push_back(name);
        if (into.size() > 1000)
            return;
    }
}

void addDroppedValues(const Checkpoint& source, std::vector<PlanLine>& lines)
{
    std::vector<std::string> names; // files of one run repeat them
    for (const FileMetadata& file : source.metadata())
        if (file.file == kNoFile || source.file(file.file).container != "safetensors")
            collectValues(file.root, "", names);
    const std::set<std::string> tensors(source.parameters().begin(), source.parameters().end()); // some are objects to their file: a shard with its place
    std::erase_if(names, [&](const std::string& name) { return tensors.contains(name) || tensors.contains(name.substr(name.find('.') + 1)); });
    if (!names.empty())
        lines.push_back({Kind::Dropped, "Other values", fmt::format("Not carried over, because the result holds tensors only: {}.", listed(names))});
}

void addPadding(const Checkpoint& source, std::vector<PlanLine>& lines)
{
    std::uint64_t bytes = 0;
    for (const FileSpan& span : source.fileSpans())
        if (span.kind == FileSpan::Kind::Padding)
            bytes += span.length;
    if (bytes != 0)
        lines.push_back({Kind::Info, "Padding", fmt::format("{} that fill up the source's partitions belong to no tensor and are not written.", exactSizeText(bytes))});
}

// Of one folder of the source ("" or "modeling/"), those that are no part of the model.
void addHelpers(const Checkpoint& source, const std::string& below, const std::set<std::string>& known, std::vector<std::string>& names)
{
    std::error_code failed;
    for (std::filesystem::directory_iterator at(source.folder() + "/" + below, failed), end; !failed && at != end && names.size() < kMostFilesListed; at.increment(failed)) {
        const std::string own = at->path().filename().string();
        const std::string ending = at->path().extension().string();
        const bool helps = std::find(kHelperEndings.begin(), kHelperEndings.end(), ending) != kHelperEndings.end();
        if (helps && !known.contains(below + own) && !own.ends_with(".index.json") && !own.starts_with('.') && at->is_regular_file(failed))
            names.push_back(below + own);
    }
}

void addFindings(const Checkpoint& source, std::vector<PlanLine>& lines)
{
    for (const Finding& finding : source.findings())
        if (finding.severity != Severity::Info || finding.code == "no-strategy") // each rank's part would pass for a tensor
            lines.push_back({Kind::Warning, "Source", finding.text});
}

} // namespace

std::string listed(const std::vector<std::string>& names)
{
    std::string out;
    for (std::size_t i = 0; i < std::min(names.size(), kMostNames); ++i)
        out += (i == 0 ? "" : ", ") + printable(names[i]);
    if (names.size() > kMostNames)
        out += fmt::format(" and {} more", groupedText(names.size() - kMostNames));
    return out;
}

void addOtherFiles(const Checkpoint& source, const std::vector<PlannedFile>& written, std::vector<PlanLine>& lines)
{
    if (source.path() != source.folder() && !source.path().ends_with(".index.json"))
        return;
    std::set<std::string> known;
    std::set<std::string> folders{""};
    for (const PlannedFile& file : written)
        known.insert(file.name);
    for (const File& file : source.files()) {
        known.insert(file.name);
        folders.insert(file.name.substr(0, file.name.rfind('/') + 1)); // of none: ""
    }
    std::vector<std::string> names;
    if (folders.size() <= kMostFoldersLooked)
        for (const std::string& folder : folders)
            addHelpers(source, folder, known, names);
    std::sort(names.begin(), names.end(), naturalLess);
    if (!names.empty())
        lines.push_back({PlanLine::Kind::Dropped, "Other files", fmt::format("Not copied: {}. Loaders such as from_pretrained want them beside the weights.", listed(names))});
}

std::vector<PlanLine> planLines(const Checkpoint& source, const ConvertRequest& request, const OutputTensors& selected, OutputKind kind)
{
    std::vector<PlanLine> lines;
    addKept(selected, chosen(request), lines);
    addCasts(source, selected, lines);
    addTies(selected, kind, lines);
    addDroppedTensors(source, request, selected, lines);
    addDroppedValues(source, lines);
    addPadding(source, lines);
    addOtherFiles(source, {}, lines);
    addFindings(source, lines);
    return lines;
}

} // namespace shardlens
