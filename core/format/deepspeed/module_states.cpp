#include "core/format/deepspeed/module_states.h"

#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/deepspeed/experts.h"

#include <fmt/format.h>

#include <tuple>

namespace shardlens::deepspeed {
namespace {

constexpr std::string_view kGateMarker = ".deepspeed_moe.gate.";

// Names that lie on the same memory with the same shape: the later is an alias of the first (formats/deepspeed.md §8).
void deriveAliases(Run& run, ModuleNames& names)
{
    const pickle::Value module = run.module();
    std::map<std::tuple<std::size_t, std::uint64_t, Shape>, std::string> firstAt;
    for (std::size_t i = 0; i < module.size(); ++i) {
        const std::string name(module.keyAt(i).asText().value_or(""));
        if (!TorchFile::isTensor(module.valueAt(i)) || names.aliases.contains(name) || names.buffers.contains(name))
            continue;
        const auto tensor = run.model.torch->tensorOf(module.valueAt(i));
        if (!tensor || tensor->noData || elementCount(tensor->shape).value_or(0) == 0)
            continue;
        const auto [at, isNew] = firstAt.try_emplace({tensor->storage, tensor->offsetBytes, tensor->shape}, name);
        if (!isNew && !(names.trainable.contains(name) && names.trainable.contains(at->second)))
            names.aliases.emplace(name, at->second);
    }
}

Status addOne(Run& run, TorchPieces& pieces, const ModuleNames& names, const std::string& name, pickle::Value value)
{
    SHARDLENS_ASSIGN(const auto tensor, run.model.torch->tensorOf(value));
    const Role role = moduleRoleOf(run, names, name);
    const RoleId roleId = run.builder.role(role.kind, role.name);
    const TensorId id = run.builder.addTensor({run.builder.parameter(name), roleId, tensor.dtype, Combine::Replicas, true, tensor.shape});
    return pieces.addWhole(id, tensor, run.anyRank());
}

bool isPlaceholder(const Run& run, const ModuleNames& names, const std::string& name)
{
    return run.stage == Stage::Zero3 && !names.buffers.contains(name);
}

} // namespace

Role moduleRoleOf(const Run& run, const ModuleNames& names, const std::string& name)
{
    if (names.buffers.contains(name))
        return {RoleKind::Buffer, "buffer"};
    if (names.withMaster.contains(name))
        return {RoleKind::Module, "module copy"};
    return {RoleKind::Weight, run.stage == Stage::None ? "weight" : "frozen parameter"};
}

ModuleNames moduleNames(Run& run)
{
    ModuleNames names;
    const pickle::Value root = run.model.root();
    const pickle::Value buffers = root.find("buffer_names");
    for (std::size_t i = 0; i < buffers.size(); ++i)
        names.buffers.emplace(buffers.at(i).asText().value_or(""));
    for (const ParameterGroup& group : run.groups)
        for (const ParameterShape& parameter : group)
            names.trainable.insert(parameter.name);
    names.withMaster = names.trainable;
    const pickle::Value shared = root.find("shared_params");
    for (std::size_t i = 0; i < shared.size(); ++i) {
        const auto alias = shared.keyAt(i).asText();
        const auto canonical = shared.valueAt(i).asText();
        if (alias && canonical && *alias != *canonical)
            names.aliases.emplace(*alias, *canonical);
    }
    if (run.stage != Stage::Zero3)
        deriveAliases(run, names);
    return names;
}

void registerParameters(Run& run, const ModuleNames& names)
{
    const pickle::Value module = run.module();
    for (std::size_t i = 0; i < module.size(); ++i) {
        const auto name = module.keyAt(i).asText();
        if (!name || names.aliases.contains(*name))
            continue;
        run.builder.parameter(*name);
        // Experts are in files of their own; the gate before them stays.
        if (const std::size_t gate = name->find(kGateMarker); gate != std::string_view::npos)
            registerExperts(run, std::string(name->substr(0, gate)));
    }
}

Status addModule(Run& run, const ModuleNames& names)
{
    if (!run.model.torch)
        return {};
    const pickle::Value module = run.module();
    if (module.isNone() && !run.folder.layers.empty())
        return {}; // in files of its layers
    if (module.isNone())
        return Error{ErrorCode::Unsupported, "the model file holds no module, and no files of pipeline layers (layer_00-model_states.pt) are beside it"};
    TorchPieces pieces(run.builder, run.model.id, *run.model.torch);
    for (std::size_t i = 0; i < module.size(); ++i) {
        const std::string name(module.keyAt(i).asText().value_or(""));
        const pickle::Value value = module.valueAt(i);
        if (!TorchFile::isTensor(value) || names.aliases.contains(name) || isPlaceholder(run, names, name))
            continue;
        if (Status added = addOne(run, pieces, names, name, value); !added)
            return added.takeError().within(printable(name)).within(printable(run.builder.file(run.model.id).name));
    }
    return {};
}

void addAliases(Run& run, const ModuleNames& names)
{
    for (const auto& [alias, canonical] : names.aliases) {
        if (run.builder.hasParameter(canonical))
            run.builder.addAlias(alias, run.builder.parameter(canonical));
        else
            run.find(Severity::Warning, "unknown-tie", fmt::format("shared_params ties {} to {}, and there is no such parameter.", printable(alias), printable(canonical)));
    }
}

} // namespace shardlens::deepspeed
