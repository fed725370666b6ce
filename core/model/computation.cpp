#include "core/model/computation.h"

#include "core/model/checkpoint.h"

namespace shardlens {

void addStored(const Checkpoint& checkpoint, TensorId tensor, StoredTensors& out)
{
    const PieceStore& pieces = checkpoint.pieces();
    for (std::size_t row = pieces.firstOf(tensor); row < pieces.lastOf(tensor); ++row) {
        const Stream& stream = checkpoint.stream(pieces.at(idAt<PieceId>(row)).source.stream);
        if (stream.kind != Stream::Kind::Computed) {
            out[&checkpoint].insert(tensor);
            continue;
        }
        addStored(*checkpoint.computations()[stream.computation], out);
    }
}

void addStored(const Computation& computation, StoredTensors& out)
{
    for (const Computation::Input& input : computation.inputs())
        if (const auto known = out.find(input.checkpoint); known == out.end() || !known->second.contains(input.tensor))
            addStored(*input.checkpoint, input.tensor, out);
}

} // namespace shardlens
