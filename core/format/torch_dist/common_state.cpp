#include "core/format/torch_dist/common_state.h"

#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/opened_file.h"
#include "core/format/torch_dist/key_names.h"

#include <fmt/format.h>

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

std::optional<StepNumber> numberOf(const TorchFile& file, Value value)
{
    if (value.kind() == Kind::Int)
        return value.asInt() ? std::optional<StepNumber>(*value.asInt()) : std::nullopt;
    if (value.kind() == Kind::Float)
        return value.asFloat() ? std::optional<StepNumber>(*value.asFloat()) : std::nullopt;
    if (!TorchFile::isTensor(value) || TorchFile::sparseLayoutOf(value))
        return std::nullopt;
    auto tensor = file.tensorOf(value);
    return tensor && tensor->shape.empty() && !tensor->noData ? std::optional<StepNumber>(tensor.take()) : std::nullopt;
}

bool isSameStep(const StepNumber& a, const StepNumber& b)
{
    if (a.index() != b.index())
        return false;
    if (const auto* left = std::get_if<TorchTensor>(&a)) { // which other values share the memory of is not asked
        const auto& right = std::get<TorchTensor>(b);
        return left->storage == right.storage && left->offsetBytes == right.offsetBytes && left->dtype == right.dtype;
    }
    return std::holds_alternative<std::int64_t>(a) ? std::get<std::int64_t>(a) == std::get<std::int64_t>(b) : std::get<double>(a) == std::get<double>(b);
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

std::optional<StepNumber> stepOf(const CommonState& common)
{
    if (!common)
        return std::nullopt;
    std::optional<StepNumber> out;
    for (const Value optimizer : optimizersOf(common.root)) {
        const Value inner = optimizer.find("optimizer").isMapping() ? optimizer.find("optimizer") : optimizer;
        std::vector<Value> said{inner.find("state").find("common_step")};
        for (std::size_t i = 0; i < inner.find("param_groups").size(); ++i)
            said.push_back(inner.find("param_groups").at(i).find("step"));
        for (const Value value : said) {
            const auto number = value ? numberOf(*common.file, value) : std::nullopt;
            if (number && out && !isSameStep(*number, *out))
                return std::nullopt;
            if (number)
                out = number;
        }
    }
    return out;
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
