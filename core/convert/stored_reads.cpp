#include "core/convert/stored_reads.h"

#include <algorithm>

namespace shardlens {

bool StoredReads::add(const Checkpoint& checkpoint, const TensorReader& reader)
{
    bool computes = false;
    reader.forEachPiece([&](PieceId piece, std::uint64_t) { computes = addStream(checkpoint, checkpoint.pieces().at(piece).source.stream) || computes; });
    return computes;
}

bool StoredReads::addStream(const Checkpoint& checkpoint, StreamId id)
{
    const Stream& stream = checkpoint.stream(id);
    if (stream.kind == Stream::Kind::Deflated && m_deflated.insert({&checkpoint, id}).second) {
        m_decodedBytes += stream.sizeBytes;
        m_largestPacked = std::max(m_largestPacked, stream.storedBytes);
    }
    if (stream.kind != Stream::Kind::Computed)
        return false;
    const auto& computation = checkpoint.computations()[stream.computation];
    if (!m_known.insert(computation.get()).second)
        return true;
    m_computations.push_back(computation);
    bool ofStored = true; // else what lies below is counted
    for (const Computation::Input& input : computation->inputs()) {
        const PieceStore& pieces = input.checkpoint->pieces();
        for (std::size_t row = pieces.firstOf(input.tensor); row < pieces.lastOf(input.tensor); ++row)
            ofStored = !addStream(*input.checkpoint, pieces.at(idAt<PieceId>(row)).source.stream) && ofStored;
    }
    m_computedBytes += ofStored ? computation->bytesToRead() : 0;
    return true;
}

void StoredReads::finish(Plan& plan) const
{
    plan.decodedBytes = m_decodedBytes;
    plan.largestPacked = m_largestPacked;
    plan.prepared = m_computations;
}

} // namespace shardlens
