#include "core/convert/stored_reads.h"

#include <algorithm>

namespace shardlens {

namespace {

// As often as a computation reads its source, what lies below it is computed.
std::uint64_t storedBytesOf(const Computation& computation)
{
    const std::set<const Computation*> sources = computationsBelow(computation);
    if (sources.empty())
        return computation.bytesToRead();
    std::uint64_t once = 0;
    for (const Computation* const source : sources)
        once += storedBytesOf(*source);
    const std::uint64_t first = computation.bytesToRead() - computation.bytesToPrepare(); // of one pass
    return first == 0 ? once : once * (computation.bytesToRead() / first);
}

} // namespace

std::set<const Computation*> computationsBelow(const Computation& computation)
{
    std::set<const Computation*> out;
    for (const Computation::Input& input : computation.inputs()) {
        const PieceStore& pieces = input.checkpoint->pieces();
        for (std::size_t row = pieces.firstOf(input.tensor); row < pieces.lastOf(input.tensor); ++row) {
            const Stream& stream = input.checkpoint->stream(pieces.at(idAt<PieceId>(row)).source.stream);
            if (stream.kind == Stream::Kind::Computed)
                out.insert(input.checkpoint->computations()[stream.computation].get());
        }
    }
    return out;
}

bool StoredReads::add(const Checkpoint& checkpoint, const TensorReader& reader)
{
    bool computes = false;
    reader.forEachPiece([&](PieceId piece, std::uint64_t) { computes = addStream(checkpoint, checkpoint.pieces().at(piece).source.stream, false) || computes; });
    return computes;
}

bool StoredReads::addStream(const Checkpoint& checkpoint, StreamId id, bool isBelow)
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
    m_computedBytes += isBelow ? 0 : storedBytesOf(*computation);
    for (const Computation::Input& input : computation->inputs()) {
        const PieceStore& pieces = input.checkpoint->pieces();
        for (std::size_t row = pieces.firstOf(input.tensor); row < pieces.lastOf(input.tensor); ++row)
            addStream(*input.checkpoint, pieces.at(idAt<PieceId>(row)).source.stream, true);
    }
    return true;
}

void StoredReads::finish(Plan& plan) const
{
    plan.decodedBytes = m_decodedBytes;
    plan.largestPacked = m_largestPacked;
    plan.prepared = m_computations;
}

} // namespace shardlens
