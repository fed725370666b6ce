#include "app/cli/inventory.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace shardlens::cli {
namespace {

// Bytes that a piece takes in its file: of a decoded member they are spread over its compressed bytes.
std::uint64_t storedBytesOf(const Stream& stream, std::uint64_t bytes)
{
    switch (stream.kind) {
    case Stream::Kind::File: return bytes;
    case Stream::Kind::Deflated:
        return stream.sizeBytes == 0 ? 0
                                     : static_cast<std::uint64_t>(static_cast<double>(bytes) / static_cast<double>(stream.sizeBytes) *
                                                                  static_cast<double>(stream.storedBytes));
    case Stream::Kind::Inline:
    case Stream::Kind::Missing:
    case Stream::Kind::Computed: return 0;
    }
    return 0;
}

} // namespace

Inventory inventoryOf(const Checkpoint& checkpoint)
{
    Inventory out;
    out.files.resize(checkpoint.files().size());
    std::map<std::tuple<RoleId, DType, bool>, std::size_t> rowOf;
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
        const auto id = idAt<TensorId>(i);
        const Tensor& tensor = checkpoint.tensor(id);
        const auto [at, isNew] = rowOf.try_emplace({tensor.role, tensor.dtype, tensor.quantizedPart}, out.roles.size());
        if (isNew)
            out.roles.push_back({.role = checkpoint.roleOf(id).name, .quantized = tensor.quantizedPart, .dtype = tensor.dtype});
        RoleUse& use = out.roles[at->second];
        const PieceStore& pieces = checkpoint.pieces();
        const DTypeInfo& type = info(tensor.dtype);
        ++use.tensors;
        use.values += elementCount(tensor.shape).value_or(0);
        use.bytes += checkpoint.bytesOf(id);
        use.pieces += pieces.countOf(id);
        for (std::size_t row = pieces.firstOf(id); row < pieces.lastOf(id); ++row) {
            const Piece piece = pieces.at(idAt<PieceId>(row));
            const Stream& stream = checkpoint.stream(piece.source.stream);
            const std::uint64_t cells = volumeOf(piece.region);
            if (stream.kind != Stream::Kind::Missing)
                use.heldValues += cells * type.valuesPerBlock;
            if (stream.file != kNoFile)
                out.files[indexOf(stream.file)].tensorBytes += storedBytesOf(stream, cells * type.bytesPerBlock);
        }
    }
    for (const FileSpan& span : checkpoint.fileSpans()) {
        FileUse& use = out.files[indexOf(span.file)];
        if (span.kind == FileSpan::Kind::Padding)
            use.paddingBytes += span.length;
        else if (span.kind == FileSpan::Kind::Header)
            use.headerBytes += span.length;
    }
    return out;
}

} // namespace shardlens::cli
