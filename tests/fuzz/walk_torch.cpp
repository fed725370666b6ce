#include "tests/fuzz/walk_torch.h"

#include "core/encoding/torch_pieces.h"
#include "tests/fuzz/walk_checkpoint.h"
#include "tests/fuzz/walk_pickle.h"

namespace shardlens::fuzz {
namespace {

constexpr std::size_t kMaxNodes = 2'000; // of the tree for people
constexpr std::size_t kMaxValues = 4'000;
constexpr std::size_t kMaxTensors = 64;

CheckpointPtr checkpointOf(const InputFile& input, const TorchFile& torch)
{
    CheckpointBuilder builder("input", ".");
    builder.setFormat("torch", "PyTorch");
    const FileId file = builder.addFile(input.row());
    const HolderId holder = builder.holder({});
    const RoleId role = builder.role(RoleKind::Weight, "weight");
    TorchPieces pieces(builder, file, torch);
    for (const pickle::Value value : reachable(torch.root(), kMaxValues)) {
        const auto tensor = TorchFile::isTensor(value) ? torch.tensorOf(value) : Error{ErrorCode::NotFound, "no tensor"};
        if (!tensor || builder.tensorCount() == kMaxTensors)
            continue;
        const ParameterId name = builder.parameter(std::to_string(builder.tensorCount()));
        const TensorId id = builder.addTensor({name, role, tensor->dtype, Combine::Exclusive, true, tensor->shape});
        (void)pieces.addWhole(id, *tensor, holder);
    }
    return std::move(builder).finish();
}

} // namespace

bool walkTorch(const InputFile& input)
{
    JobContext job;
    const auto torch = TorchFile::open(input.source(), job);
    if (!torch)
        return false;
    (void)describe(*torch, kMaxNodes);
    walkCheckpoint(checkpointOf(input, *torch));
    return true;
}

} // namespace shardlens::fuzz
