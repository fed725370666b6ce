#include "core/convert/plan_computed.h"

#include <map>

namespace shardlens {
namespace {

// The stream that a run is all of, where it is the output of a computation with several.
const Stream* outputOf(const Plan& plan, const PlannedTensor& run)
{
    const Checkpoint& payload = *plan.payload;
    const PieceStore& pieces = payload.pieces();
    if (run.sharesBytes || run.sourceOffset != 0 || run.sizeBytes == 0 || payload.tensor(run.source).dtype != run.dtype || pieces.countOf(run.source) != 1)
        return nullptr;
    const Piece piece = pieces.at(idAt<PieceId>(pieces.firstOf(run.source)));
    const Stream& stream = payload.stream(piece.source.stream);
    const bool isAll = stream.kind == Stream::Kind::Computed && piece.source.offset == 0 && piece.source.strides.empty() && stream.sizeBytes == run.sizeBytes;
    return isAll && payload.computations()[stream.computation]->steps() != 0 ? &stream : nullptr;
}

} // namespace

void planComputed(Plan& plan)
{
    if (plan.payload->computations().empty())
        return;
    std::map<std::uint32_t, PlannedComputation> found; // by number of the computation: in the model's order
    for (std::size_t i = 0; i < plan.files.size(); ++i)
        for (PlannedTensor& run : plan.files[i].tensors)
            if (const Stream* const output = outputOf(plan, run)) {
                run.withOthers = true;
                found[output->computation].places.push_back({output->output, static_cast<std::uint32_t>(i), run.offset});
            }
    for (auto& [number, computed] : found) {
        computed.computation = plan.payload->computations()[number];
        plan.computed.push_back(std::move(computed));
    }
}

} // namespace shardlens
