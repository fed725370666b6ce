#include "core/format/torch/torch_format.h"

#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/encoding/torch_tree.h"
#include "core/format/opened_file.h"
#include "core/layout/selection.h"
#include "core/model/checkpoint_builder.h"

#include <fmt/format.h>

#include <map>
#include <tuple>

namespace shardlens::torch {
namespace {

// The storages of a file as tensors of bytes.
Result<CheckpointPtr> storagesOf(const CheckpointPtr& source, OpenedFile& opened, const TorchFile& file)
{
    CheckpointBuilder builder(source->path(), source->folder());
    builder.setFormat(source->formatId(), source->formatTitle());
    const FileId id = builder.addFile(std::move(opened.row));
    const RoleId role = builder.role(RoleKind::Other, "storage");
    for (std::size_t i = 0; i < file.storages().size(); ++i) {
        const TorchStorage& storage = file.storages()[i];
        const TensorId tensor = builder.addTensor({builder.parameter(fmt::format("storage {}", i)), role, DType::U8, Combine::Exclusive, false, {storage.sizeBytes}});
        SHARDLENS_TRY(builder.addWhole(tensor, storagePlacement(builder, id, storage, builder.holder({}))));
    }
    return std::move(builder).finish();
}

// Meta tensors are described and have no values to be read back.
bool isStored(const Checkpoint& source, TensorId tensor)
{
    const PieceStore& pieces = source.pieces();
    for (std::size_t row = pieces.firstOf(tensor); row < pieces.lastOf(tensor); ++row)
        if (source.stream(pieces.at(idAt<PieceId>(row)).source.stream).kind == Stream::Kind::Missing)
            return false;
    return true;
}

std::string leftOutOf(const TorchTree& tree)
{
    std::string names;
    for (const std::string& name : tree.leftOut())
        names += (names.empty() ? "" : ", ") + name;
    return names;
}

// An object of an unknown class may be left out, but no tensor with it.
Status checkNothingLost(const TorchTree& tree, std::size_t before, std::size_t after)
{
    if (after >= before)
        return {};
    return Error{ErrorCode::Refused, fmt::format("{} {} in objects of unknown classes ({}) and would be lost with them; --keep-objects writes these as they are, "
                                                 "and --select weights takes the tensors alone",
                                                 plural(before - after, "tensor", "tensors"), before - after == 1 ? "lies" : "lie", leftOutOf(tree))};
}

void addNotes(const TorchTree& tree, std::size_t tensors, Target& out)
{
    using Kind = TargetNote::Kind;
    out.notes.push_back({Kind::Kept, "Everything", fmt::format("The whole tree: {}, nesting, plain values and shared storages.", plural(tensors, "tensor", "tensors"))});
    out.leftOut = leftOutOf(tree);
    if (!out.leftOut.empty())
        out.notes.push_back({Kind::Dropped, "Unknown objects",
                             fmt::format("Objects of classes on no list of known ones are left out: {}. --keep-objects writes them as they are.", out.leftOut)});
}

} // namespace

Result<std::optional<Target>> keepTree(const CheckpointPtr& source, const TargetOptions& options, JobContext& job)
{
    if (source->files().size() != 1 || source->file(idAt<FileId>(0)).state != File::State::Read)
        return std::optional<Target>();
    const std::string path = source->file(idAt<FileId>(0)).path;
    SHARDLENS_ASSIGN(OpenedFile opened, openFile(path, source->file(idAt<FileId>(0)).name));
    SHARDLENS_ASSIGN(TorchFile torchFile, TorchFile::open(opened.source, job));
    if (torchFile.container() == TorchFile::Container::TorchScript)
        return Error{ErrorCode::Refused, "a TorchScript archive holds code, which is not written; --select weights takes its parameters and buffers"};
    const auto file = std::make_shared<const TorchFile>(std::move(torchFile));
    Target out;
    SHARDLENS_ASSIGN(out.payload, storagesOf(source, opened, *file));
    TargetTorchFile& made = out.torchFiles.emplace_back();
    std::map<std::tuple<std::size_t, std::uint64_t, std::uint64_t>, std::size_t> numbers;
    TorchTree tree(options.keepObjects, [&](const TorchFile&, const TorchStoragePart& part) {
        const auto [known, isNew] = numbers.try_emplace({part.storage, part.offsetBytes, part.sizeBytes}, made.storages.size());
        if (isNew) {
            made.storages.push_back({part.sizeBytes, {}});
            if (part.sizeBytes != 0)
                made.storages.back().runs.push_back({idAt<TensorId>(part.storage), DType::U8, part.offsetBytes, part.sizeBytes, 0});
        }
        return known->second;
    });
    SHARDLENS_ASSIGN(const pickle::Value root, tree.import(file, file->root()));
    SHARDLENS_TRY(checkNothingLost(tree, tensorsBelow(file->root()), tensorsBelow(root)));
    for (const SelectedTensor& selected : selectTensors(*source, SelectionOptions{Select::All, {}, {}}))
        if (isStored(*source, selected.tensor))
            out.results.push_back({selected.name, selected.tensor, source->tensor(selected.tensor).dtype});
    made.bigEndian = file->isBigEndian();
    made.tensors = out.results.size();
    addNotes(tree, made.tensors, out);
    SHARDLENS_ASSIGN(made.pickle, std::move(tree).finish(root));
    return std::optional<Target>(std::move(out));
}

} // namespace shardlens::torch
