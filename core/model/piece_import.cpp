#include "core/model/piece_import.h"

#include <algorithm>
#include <optional>

namespace shardlens {
namespace {

// The one run of row-major order that a box makes up, where it is one.
std::optional<FlatRange> flatOf(const BoxView& box, ShapeView shape)
{
    std::size_t axis = 0;
    while (axis < shape.size() && box.extent[axis] == 1)
        ++axis;
    for (std::size_t inner = axis + 1; inner < shape.size(); ++inner)
        if (box.extent[inner] != shape[inner])
            return std::nullopt;
    const Shape strides = rowMajorStrides(shape);
    std::uint64_t begin = 0;
    for (std::size_t at = 0; at < shape.size(); ++at)
        begin += box.offset[at] * strides[at];
    return FlatRange{begin, begin + box.volume()};
}

Box shifted(const BoxView& cells, const Slab& slab)
{
    Box out{Shape(cells.offset.begin(), cells.offset.end()), Shape(cells.extent.begin(), cells.extent.end())};
    for (std::size_t axis = 0; axis < out.offset.size(); ++axis)
        out.offset[axis] = out.offset[axis] - slab.from.offset[axis] + slab.to.offset[axis];
    return out;
}

bool isDense(std::span<const std::int64_t> strides, ShapeView extent, std::uint64_t cellBytes)
{
    const Shape dense = rowMajorStrides(extent);
    for (std::size_t axis = 0; axis < extent.size(); ++axis)
        if (extent[axis] != 1 && strides[axis] != static_cast<std::int64_t>(dense[axis] * cellBytes))
            return false;
    return true;
}

} // namespace

Slab wholeSlab(ShapeView shape)
{
    const Box all{Shape(shape.size(), 0), Shape(shape.begin(), shape.end())};
    return {all, all};
}

PieceImport::PieceImport(CheckpointBuilder& builder, const Checkpoint& from, std::vector<Holder::Coordinate> holders) : m_builder(&builder), m_from(&from)
{
    for (const File& file : from.files())
        m_files.push_back(builder.addFile(file));
    std::vector<std::vector<StreamId>> computed;
    for (const std::shared_ptr<const Computation>& computation : from.computations())
        computed.push_back(builder.addComputation(computation));
    for (const Stream& stream : from.streams()) {
        Stream copy = stream;
        copy.file = file(stream.file);
        if (stream.kind == Stream::Kind::Computed)
            m_streams.push_back(computed[stream.computation][stream.output]);
        else if (stream.kind == Stream::Kind::Inline)
            m_streams.push_back(builder.addInline(copy.file, std::span(from.inlineBytes()).subspan(stream.offset, stream.sizeBytes)));
        else if (stream.kind == Stream::Kind::File)
            m_streams.push_back(builder.streamOf(copy.file));
        else
            m_streams.push_back(builder.addStream(copy));
    }
    for (const FileSpan& span : from.fileSpans())
        builder.addFileSpan({file(span.file), span.offset, span.length, span.kind});
    for (const FileMetadata& metadata : from.metadata())
        builder.addMetadata({file(metadata.file), metadata.root});
    for (Holder holder : from.holders()) {
        holder.coordinates.insert(holder.coordinates.end(), holders.begin(), holders.end());
        std::sort(holder.coordinates.begin(), holder.coordinates.end());
        m_holders.push_back(builder.holder(holder));
    }
}

PieceImport PieceImport::within(CheckpointBuilder& builder, const Checkpoint& from)
{
    PieceImport out;
    out.m_builder = &builder;
    out.m_from = &from;
    for (std::size_t i = 0; i < from.files().size(); ++i)
        out.m_files.push_back(idAt<FileId>(i));
    for (std::size_t i = 0; i < from.streams().size(); ++i)
        out.m_streams.push_back(idAt<StreamId>(i));
    for (std::size_t i = 0; i < from.holders().size(); ++i)
        out.m_holders.push_back(idAt<HolderId>(i));
    return out;
}

Status PieceImport::addBox(TensorId target, const Slab& slab, const Piece& piece, const AddressMap& addresses, const BoxView& cells, std::uint64_t cellBytes)
{
    const Box part = intersect(cells, slab.from);
    if (part.volume() == 0)
        return {};
    std::int64_t offset = addresses.base;
    for (std::size_t axis = 0; axis < part.offset.size(); ++axis)
        offset += static_cast<std::int64_t>(part.offset[axis]) * addresses.strides[axis];
    const CheckpointBuilder::Placement placement{m_streams[indexOf(piece.source.stream)], static_cast<std::uint64_t>(offset), m_holders[indexOf(piece.holder)],
                                                 piece.source.flags};
    const Box moved = shifted(part, slab);
    const Tensor& owner = m_builder->tensor(target);
    const bool dense = isDense(addresses.strides, moved.extent, cellBytes);
    if (const auto flat = dense ? flatOf(moved, unitShape(owner.shape, owner.dtype)) : std::nullopt)
        return m_builder->addPiece(target, *flat, placement);
    return m_builder->addPiece(target, BoxView(moved), placement, dense ? std::span<const std::int64_t>() : addresses.strides);
}

Status PieceImport::addThrough(TensorId target, TensorId source, const Slab& slab)
{
    const Tensor& owner = m_from->tensor(source);
    const Shape units = unitShape(owner.shape, owner.dtype);
    const Tensor& made = m_builder->tensor(target);
    const std::uint64_t cellBytes = info(owner.dtype).bytesPerBlock;
    const auto fromRun = flatOf(slab.from, units);
    const auto toRun = flatOf(slab.to, unitShape(made.shape, made.dtype));
    const PieceStore& pieces = m_from->pieces();
    for (std::size_t row = pieces.firstOf(source); row < pieces.lastOf(source); ++row) {
        const Piece piece = pieces.at(idAt<PieceId>(row));
        const auto* flat = std::get_if<FlatRange>(&piece.region);
        if (flat != nullptr && fromRun && toRun) {
            const bool isEmpty = flat->empty() && fromRun->empty(); // the piece of a tensor without values stays one
            const FlatRange part = isEmpty ? FlatRange{fromRun->begin, fromRun->begin} : intersect(*flat, *fromRun);
            if (part.empty() && !isEmpty)
                continue;
            const CheckpointBuilder::Placement placement{m_streams[indexOf(piece.source.stream)], piece.source.offset + (isEmpty ? 0 : part.begin - flat->begin) * cellBytes,
                                                         m_holders[indexOf(piece.holder)], piece.source.flags};
            SHARDLENS_TRY(m_builder->addPiece(target, FlatRange{part.begin - fromRun->begin + toRun->begin, part.end - fromRun->begin + toRun->begin}, placement));
            continue;
        }
        const AddressMap addresses = piece.addresses(units, cellBytes);
        Status status;
        const auto add = [&](const BoxView& cells) {
            if (status)
                status = addBox(target, slab, piece, addresses, cells, cellBytes);
        };
        if (flat != nullptr)
            forEachBox(*flat, units, [&](const Box& cells) { add(cells); });
        else
            add(std::get<BoxView>(piece.region));
        SHARDLENS_TRY(std::move(status));
    }
    return {};
}

Status PieceImport::addWhole(TensorId target, TensorId source)
{
    const Tensor& owner = m_from->tensor(source);
    return addThrough(target, source, wholeSlab(unitShape(owner.shape, owner.dtype)));
}

void PieceImport::addFindings(const std::function<TensorId(TensorId)>& tensorOf)
{
    for (Finding finding : m_from->findings()) {
        finding.file = file(finding.file);
        finding.tensor = finding.tensor == kNoTensor ? kNoTensor : tensorOf(finding.tensor);
        finding.lost.reset();
        m_builder->addFinding(std::move(finding));
    }
}

} // namespace shardlens
