#include "core/format/torch_dist/target_source.h"

#include "core/base/text.h"
#include "core/format/opened_file.h"
#include "core/format/torch_dist/reading.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::torch_dist {
namespace {

using pickle::Value;

constexpr std::string_view kRankFile = "model_optim_rng.pt";
constexpr std::string_view kFlatStates = "distrib_optim.pt";
constexpr std::string_view kExtra = "._extra_state";

FileId rowOf(const Checkpoint& source, std::string_view name)
{
    for (std::size_t i = 0; i < source.files().size(); ++i)
        if (source.files()[i].name == name)
            return idAt<FileId>(i);
    return kNoFile;
}

void addExtra(std::string_view name, TargetSource& out)
{
    const TargetName place = targetNameOf(name);
    out.extras.emplace(place.layers, place.tail);
}

// What every tensor-parallel rank of a stage shares is asked of the first.
void addExtrasOf(Value model, TargetSource& out)
{
    for (std::size_t i = 0; i < model.size(); ++i)
        if (const auto key = model.keyAt(i).asText(); key && key->ends_with(kExtra)) {
            addExtra(*key, out);
            out.keepsExtras = out.keepsExtras || !model.valueAt(i).isNone();
        }
}

Status readRankFiles(const Checkpoint& source, TargetSource& out, JobContext& job)
{
    out.kind = TargetSource::Kind::RankFiles;
    for (std::size_t i = 0; i < source.files().size(); ++i) {
        const File& row = source.files()[i];
        if (row.name.ends_with(kFlatStates))
            out.sharding = "fully_reshardable";
        const bool isFirst = row.name.starts_with("mp_rank_00/") || row.name.starts_with("mp_rank_00_");
        if (row.state != File::State::Read || !row.name.ends_with(kRankFile) || (out.file && !isFirst))
            continue;
        SHARDLENS_TRY(job.poll());
        SHARDLENS_ASSIGN(const OpenedFile opened, openFile(row.path, row.name));
        auto torch = TorchFile::open(opened.source, job);
        if (!torch)
            return torch.takeError().within(printable(row.name));
        const auto file = std::make_shared<const TorchFile>(torch.take());
        const Value root = file->root();
        if (!out.file) {
            out.file = file;
            out.root = root;
            out.id = idAt<FileId>(i);
        }
        addExtrasOf(root.find("model"), out);
        for (std::size_t chunk = 0; root.find(fmt::format("model{}", chunk)).isMapping(); ++chunk)
            addExtrasOf(root.find(fmt::format("model{}", chunk)), out);
    }
    if (!out.sharding.empty())
        out.masterState = "param";
    return {};
}

void readForms(const DcpMetadata& metadata, TargetSource& out)
{
    const std::string prefix = modelPrefixOf(metadata);
    out.isFlattened = !metadata.flattenedShapes.empty();
    for (const DcpEntry& entry : metadata.entries) {
        const Key key = keyOf(entry.key, prefix);
        out.isChained = out.isChained || (key.kind == Key::Kind::State && entry.key.starts_with("chained_"));
        if (key.kind == Key::Kind::State && key.state == "param")
            out.masterState = "param";
        if (key.kind != Key::Kind::Model || entry.kind != DcpEntry::Kind::Tensor)
            continue;
        const ModelName stacked = modelNameOf(key.model);
        const TargetName numbered = targetNameOf(key.model);
        if (stacked.layerAt)
            out.stacks[std::string(stacked.layersOf())] = true;
        else if (numbered.layer)
            out.stacks.try_emplace(numbered.layers, false);
    }
}

Status readTorchDist(const Checkpoint& source, TargetSource& out, JobContext& job)
{
    out.kind = TargetSource::Kind::TorchDist;
    SHARDLENS_ASSIGN(const Candidate candidate, lookAt(source.folder()));
    SHARDLENS_ASSIGN(Iteration iteration, resolveIteration(candidate, {}));
    Reading reading(candidate, std::move(iteration));
    SHARDLENS_ASSIGN(DcpMetadata index, readIndex(reading, job));
    SHARDLENS_ASSIGN(reading.folder, DcpFolder::open(reading.builder, reading.iteration.path, "", std::move(index), job));
    SHARDLENS_TRY(readObjects(reading, job));
    const DcpMetadata& metadata = reading.folder->metadata();
    readForms(metadata, out);
    if (reading.common) {
        out.file = reading.common.file;
        out.root = reading.common.root;
        out.id = rowOf(source, reading.common.isEntry ? reading.builder.file(reading.common.id).name : kCommonFile);
        out.offset = reading.common.offset;
        out.sharding = shardingTypeOf(reading.common);
        out.isSingleton = out.root.find("content_metadata").find("singleton_local_shards").asBool().value_or(false);
    }
    for (const DcpEntry& entry : metadata.entries) {
        const auto key = entry.kind == DcpEntry::Kind::Bytes ? objectKeyOf(entry.key) : std::nullopt;
        if (entry.kind != DcpEntry::Kind::Bytes || (key && key->key == kCommonState))
            continue;
        SHARDLENS_TRY(job.poll());
        auto file = reading.folder->object(entry, job);
        if (!file)
            return file.takeError().within(printable(entry.key));
        const Value root = (*file)->root();
        const bool isExtra = key && key->key.ends_with(kExtraState);
        if (isExtra)
            addExtra(modelNameOf(key->key).of(0, 0), out);
        out.keepsExtras = out.keepsExtras || (isExtra && root.size() > 0 && !root.at(0).isNone());
        out.objects.push_back({key.value_or(ObjectKey{entry.key, {}, {}}), entry.key, file.take(), rowOf(source, metadata.files[entry.item.file]), entry.item.offset});
    }
    return {};
}

} // namespace

Result<TargetSource> readTargetSource(const Checkpoint& source, JobContext& job)
{
    TargetSource out;
    if (source.formatId() == "torch-dist")
        SHARDLENS_TRY(readTorchDist(source, out, job));
    else if (source.formatId() == "megatron")
        SHARDLENS_TRY(readRankFiles(source, out, job));
    out.facts = source.modelFacts();
    if (out.becomesReshardable())
        out.masterState = "param";
    if (out.kind == TargetSource::Kind::Names) // linear layers look for an object of theirs, whatever is in it
        for (const std::string& name : source.parameters()) {
            const std::string tail = targetNameOf(name).tail;
            const std::size_t dot = tail.find_last_of('.');
            const std::size_t module = dot == std::string::npos ? dot : tail.substr(0, dot).find_last_of('.') + 1;
            if (dot != std::string::npos && tail.substr(module).starts_with("linear_"))
                out.extras.emplace(targetNameOf(name).layers, tail.substr(0, dot) + std::string(kExtra));
        }
    std::erase_if(out.extras, [](const ExtraPlace& place) { return place.second.starts_with("output_layer."); }); // which Megatron leaves out
    return out;
}

std::string targetIteration(const Checkpoint& source, const TargetSource& read)
{
    const std::string folder = source.folder().substr(source.folder().find_last_of('/') + 1);
    if (read.kind != TargetSource::Kind::Names && isIterationName(folder))
        return folder;
    const auto number = factNumber(read.facts, "iteration");
    return number ? iterationFolderName(*number) : std::string("release");
}

} // namespace shardlens::torch_dist
