#include "core/format/rank_file.h"

#include "core/base/text.h"
#include "core/encoding/state_dict.h"
#include "core/encoding/torch_pieces.h"

#include <fmt/format.h>

namespace shardlens {
namespace {

constexpr std::size_t kRankMetadataNodes = 20'000;

} // namespace

Result<RankFileContent> openRankStates(const std::string& path, const std::string& name, const StateDictOf& stateDict, JobContext& job)
{
    SHARDLENS_ASSIGN(OpenedFile opened, openFile(path, name));
    SHARDLENS_ASSIGN(TorchFile torch, TorchFile::open(opened.source, job));
    RankFileContent out{std::make_shared<const TorchFile>(std::move(torch)), nullptr, {}};
    SHARDLENS_ASSIGN(const pickle::Value root, stateDict(out.torch->root()));
    SHARDLENS_ASSIGN(const auto entries, stateDictOf(root));
    CheckpointBuilder builder(path, path);
    opened.row.container = containerText(out.torch->container());
    const FileId file = builder.addFile(std::move(opened.row));
    addContainerSpans(builder, file, *out.torch);
    builder.addMetadata({file, describe(*out.torch, kRankMetadataNodes)});
    for (const TorchNote& note : out.torch->notes())
        builder.addFinding({note.isWarning ? Severity::Warning : Severity::Info, note.code, fmt::format("{}: {}.", printable(name), note.text), kNoTensor, file, std::nullopt});
    TorchPieces pieces(builder, file, *out.torch);
    const RoleId weight = builder.role(RoleKind::Weight, "weight");
    for (const StateDictTensor& entry : entries) {
        auto tensor = out.torch->tensorOf(entry.value);
        if (!tensor)
            return tensor.takeError().within(printable(entry.name));
        const TensorId id = builder.addTensor({builder.parameter(entry.name), weight, tensor->dtype, Combine::Exclusive, true, tensor->shape});
        SHARDLENS_TRY(pieces.addWhole(id, *tensor, builder.holder({})));
        out.values.push_back(entry.value);
    }
    out.checkpoint = std::move(builder).finish();
    return out;
}

} // namespace shardlens
