#include "core/format/torch_dist/common_state.h"

#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/opened_file.h"
#include "core/format/torch_dist/key_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace shardlens::torch_dist {
namespace {

using pickle::Kind;
using pickle::Value;

constexpr std::size_t kNodesOfCommon = 20'000;
constexpr std::size_t kMostOptimizers = 64;

// Dictionaries of optimizers: one, or those of several by their number or in a list.
std::vector<Value> optimizersOf(Value root)
{
    const Value all = root.find("optimizer");
    std::vector<Value> out;
    if (all.isMapping() && (all.find("param_groups") || all.find("optimizer") || all.find("param_state_sharding_type")))
        return {all};
    for (std::size_t i = 0; i < std::min(all.size(), kMostOptimizers); ++i)
        if (const Value one = all.isMapping() ? all.valueAt(i) : all.isSequence() ? all.at(i) : Value{}; one.isMapping())
            out.push_back(one);
    return out;
}

std::optional<Step> numberOf(const CommonState& from, Value value)
{
    Step out{std::int64_t{0}, from.file, from.id, from.offset};
    if (const auto whole = value.kind() == Kind::Int ? value.asInt() : std::nullopt) {
        out.number = *whole;
        return out;
    }
    if (value.kind() == Kind::Float) {
        out.number = value.asFloat().value_or(0);
        return out;
    }
    if (!TorchFile::isTensor(value) || TorchFile::sparseLayoutOf(value))
        return std::nullopt;
    auto tensor = from.file->tensorOf(value);
    if (!tensor || !tensor->shape.empty() || tensor->noData)
        return std::nullopt;
    out.number = tensor.take();
    return out;
}

// Tensors are the same where they are one: their values are not read on opening.
bool isSameStep(const Step& a, const Step& b)
{
    if (a.number.index() != b.number.index())
        return false;
    if (const auto* left = std::get_if<TorchTensor>(&a.number)) {
        const auto& right = std::get<TorchTensor>(b.number);
        return a.file == b.file && left->storage == right.storage && left->offsetBytes == right.offsetBytes && left->dtype == right.dtype;
    }
    return std::holds_alternative<std::int64_t>(a.number) ? std::get<std::int64_t>(a.number) == std::get<std::int64_t>(b.number) : std::get<double>(a.number) == std::get<double>(b.number);
}

// Steps that torch's own dictionary of an optimizer says.
void addStepsOf(const CommonState& from, Value inner, std::vector<Step>& out)
{
    const auto add = [&](Value value) {
        if (auto number = value ? numberOf(from, value) : std::nullopt)
            out.push_back(std::move(*number));
    };
    add(inner.find("state").find("common_step"));
    const Value groups = inner.find("param_groups");
    for (std::size_t i = 0; i < groups.size(); ++i)
        add(groups.at(i).find("step"));
}

void sayUnreadable(CheckpointBuilder& builder, FileId id, const Error& error)
{
    builder.addFinding({Severity::Warning, "unreadable-common", fmt::format("{} cannot be read ({}): the arguments of the run are not known; the weights do not depend on them.", kCommonFile, error.text()), kNoTensor, id,
                        std::nullopt});
}

} // namespace

Result<CommonState> readCommonFile(const Iteration& iteration, CheckpointBuilder& builder, JobContext& job)
{
    CommonState out;
    if (iteration.entry(kCommonFile) == nullptr)
        return out;
    const std::string path = iteration.path + "/" + kCommonFile;
    auto opened = openFile(path, kCommonFile);
    auto torch = opened ? TorchFile::open(opened->source, job) : Result<TorchFile>(opened.error());
    if (!torch && torch.error().code() == ErrorCode::Cancelled)
        return torch.takeError();
    File row = opened ? opened->row : missingFile(path, kCommonFile);
    row.state = torch ? File::State::Read : File::State::Unreadable;
    row.holds = "what is not sharded";
    row.container = torch ? containerText(torch->container()) : "";
    out.id = builder.addFile(std::move(row));
    if (!torch) {
        sayUnreadable(builder, out.id, torch.error());
        return out;
    }
    auto file = std::make_shared<const TorchFile>(torch.take());
    addContainerSpans(builder, out.id, *file);
    builder.addMetadata({out.id, describe(*file, kNodesOfCommon)});
    if (file->root().isMapping()) {
        out.root = file->root();
        out.file = std::move(file);
    } else {
        sayUnreadable(builder, out.id, Error{ErrorCode::Corrupt, "it holds no dictionary"});
    }
    return out;
}

Result<CommonState> readCommonEntry(DcpFolder& folder, JobContext& job)
{
    CommonState out;
    for (const DcpEntry& entry : folder.metadata().entries) {
        const auto key = entry.kind == DcpEntry::Kind::Bytes ? objectKeyOf(entry.key) : std::nullopt;
        if (!key || key->key != kCommonState)
            continue;
        auto file = folder.object(entry, job);
        if (!file && file.error().code() == ErrorCode::Cancelled)
            return file.takeError();
        if (!file || (*file)->root().size() == 0 || !(*file)->root().at(0).isMapping())
            return out; // the objects' own finding says why
        out.root = (*file)->root().at(0);
        out.file = file.take();
        out.id = folder.fileOf(entry.item.file);
        out.offset = entry.item.offset;
        out.isEntry = true;
        return out;
    }
    return out;
}

std::optional<Step> stepOf(const CommonState& common, const std::vector<CommonState>& optimizers)
{
    std::vector<Step> said;
    if (common)
        for (const Value optimizer : optimizersOf(common.root))
            addStepsOf(common, optimizer.find("optimizer").isMapping() ? optimizer.find("optimizer") : optimizer, said);
    for (const CommonState& one : optimizers)
        addStepsOf(one, one.root, said);
    const bool agree = std::all_of(said.begin(), said.end(), [&](const Step& step) { return isSameStep(step, said.front()); });
    return said.empty() || !agree ? std::nullopt : std::optional(said.front());
}

std::string shardingTypeOf(const CommonState& common)
{
    if (!common)
        return {};
    if (const auto said = common.root.find("content_metadata").find("distrib_optim_sharding_type").asText())
        return std::string(*said);
    for (const Value optimizer : optimizersOf(common.root))
        if (const auto said = optimizer.find("param_state_sharding_type").asText())
            return std::string(*said);
    return {};
}

} // namespace shardlens::torch_dist
