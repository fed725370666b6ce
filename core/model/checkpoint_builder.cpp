#include "core/model/checkpoint_builder.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <limits>

namespace shardlens {
namespace {

constexpr StreamId kNoStream{std::numeric_limits<std::uint32_t>::max()};
constexpr std::uint64_t kMaxTensorBytes = std::numeric_limits<std::int64_t>::max(); // addresses are signed

bool isCountable(const Tensor& tensor)
{
    const auto values = elementCount(tensor.shape);
    const auto bytes = values ? bytesOf(tensor.dtype, *values) : std::nullopt;
    return bytes && *bytes <= kMaxTensorBytes;
}

} // namespace

CheckpointBuilder::CheckpointBuilder(std::string path, std::string folder)
{
    m_out.m_path = std::move(path);
    m_out.m_folder = std::move(folder);
}

CheckpointBuilder::CheckpointBuilder(const Checkpoint& base) : m_out(base), m_pieces(base.pieces()), m_fileStreams(base.files().size(), kNoStream)
{
    for (std::size_t i = 0; i < base.parameters().size(); ++i)
        m_parameterIds.emplace(base.parameters()[i], idAt<ParameterId>(i));
    for (std::size_t i = 0; i < base.holders().size(); ++i)
        m_holderIds.emplace(base.holders()[i], idAt<HolderId>(i));
    for (std::size_t i = 0; i < base.streams().size(); ++i) {
        const Stream& stream = base.streams()[i];
        const bool isRead = stream.file != kNoFile && base.file(stream.file).state == File::State::Read;
        if (stream.file != kNoFile && stream.kind == (isRead ? Stream::Kind::File : Stream::Kind::Missing))
            m_fileStreams[indexOf(stream.file)] = idAt<StreamId>(i);
    }
}

void CheckpointBuilder::setFormat(std::string id, std::string title)
{
    m_out.m_formatId = std::move(id);
    m_out.m_formatTitle = std::move(title);
}

void CheckpointBuilder::setTitle(std::string title, std::string subtitle)
{
    m_out.m_title = std::move(title);
    m_out.m_subtitle = std::move(subtitle);
}

void CheckpointBuilder::addFact(std::string name, std::string value)
{
    m_out.m_facts.emplace_back(std::move(name), std::move(value));
}

void CheckpointBuilder::addAlias(std::string name, ParameterId parameter)
{
    m_out.m_aliases.push_back({std::move(name), parameter});
}

void CheckpointBuilder::addPadding(StreamId stream, std::uint64_t offset, std::uint64_t length)
{
    const Stream& from = m_out.m_streams[indexOf(stream)];
    if (from.kind == Stream::Kind::File && length > 0)
        m_out.m_fileSpans.push_back({from.file, offset, length, FileSpan::Kind::Padding});
}

FileId CheckpointBuilder::addFile(File file)
{
    m_out.m_files.push_back(std::move(file));
    m_fileStreams.push_back(kNoStream);
    return idAt<FileId>(m_out.m_files.size() - 1);
}

StreamId CheckpointBuilder::addStream(Stream stream)
{
    m_out.m_streams.push_back(stream);
    return idAt<StreamId>(m_out.m_streams.size() - 1);
}

StreamId CheckpointBuilder::streamOf(FileId file)
{
    StreamId& known = m_fileStreams[indexOf(file)];
    if (known == kNoStream) {
        const bool isRead = m_out.m_files[indexOf(file)].state == File::State::Read;
        known = addStream({isRead ? Stream::Kind::File : Stream::Kind::Missing, file, 0, 0, 0});
    }
    return known;
}

StreamId CheckpointBuilder::addInline(FileId file, std::span<const std::byte> bytes)
{
    const std::uint64_t offset = m_out.m_inlineBytes.size();
    m_out.m_inlineBytes.insert(m_out.m_inlineBytes.end(), bytes.begin(), bytes.end());
    return addStream({Stream::Kind::Inline, file, offset, bytes.size(), bytes.size()});
}

std::vector<StreamId> CheckpointBuilder::addComputation(std::shared_ptr<const Computation> computation)
{
    std::vector<StreamId> out;
    for (std::size_t output = 0; output < computation->outputs(); ++output) {
        Stream stream{Stream::Kind::Computed, kNoFile, 0, 0, computation->sizeBytes(output)};
        stream.computation = static_cast<std::uint32_t>(m_out.m_computations.size());
        stream.output = static_cast<std::uint32_t>(output);
        out.push_back(addStream(stream));
    }
    m_out.m_computations.push_back(std::move(computation));
    return out;
}

HolderId CheckpointBuilder::holder(const Holder& holder)
{
    const auto [at, isNew] = m_holderIds.try_emplace(holder, idAt<HolderId>(m_out.m_holders.size()));
    if (isNew)
        m_out.m_holders.push_back(holder);
    return at->second;
}

ParameterId CheckpointBuilder::parameter(std::string_view name)
{
    const auto [at, isNew] = m_parameterIds.try_emplace(std::string(name), idAt<ParameterId>(m_out.m_parameters.size()));
    if (isNew)
        m_out.m_parameters.emplace_back(name);
    return at->second;
}

bool CheckpointBuilder::hasParameter(std::string_view name) const
{
    return m_parameterIds.contains(std::string(name));
}

RoleId CheckpointBuilder::role(RoleKind kind, std::string_view name)
{
    for (std::size_t i = 0; i < m_out.m_roles.size(); ++i)
        if (m_out.m_roles[i].kind == kind && m_out.m_roles[i].name == name)
            return idAt<RoleId>(i);
    m_out.m_roles.push_back({kind, std::string(name)});
    return idAt<RoleId>(m_out.m_roles.size() - 1);
}

TensorId CheckpointBuilder::addTensor(Tensor tensor)
{
    const TensorId id = idAt<TensorId>(m_out.m_tensors.size());
    const bool countable = isCountable(tensor);
    m_out.m_tensors.push_back(std::move(tensor));
    if (!countable)
        addFinding({Severity::Error, "uncountable-tensor", fmt::format("{}.", uncountableText(id)), id, kNoFile, std::nullopt});
    return id;
}

std::string CheckpointBuilder::uncountableText(TensorId id) const
{
    const Tensor& one = tensor(id);
    return fmt::format("{} {} of {} fills no whole number of bytes up to {}", printable(fullName(id)), shapeText(one.shape), nameOf(one.dtype), groupedText(kMaxTensorBytes));
}

Status CheckpointBuilder::addPiece(TensorId tensor, const RegionView& region, const Placement& placement, std::span<const std::int64_t> strides)
{
    const Tensor& owner = m_out.m_tensors[indexOf(tensor)];
    if (!isCountable(owner))
        return Error{ErrorCode::Corrupt, uncountableText(tensor)};
    if (!isInside(region, unitShape(owner.shape, owner.dtype)))
        return Error{ErrorCode::Corrupt, fmt::format("{} lies outside {} {}", regionText(region), printable(fullName(tensor)), shapeText(owner.shape))};
    const Stream& stream = m_out.m_streams[indexOf(placement.stream)];
    Piece piece;
    piece.region = region;
    piece.source = {placement.stream, placement.offset, strides, placement.flags};
    const std::uint64_t needed = piece.spanBytes(info(owner.dtype).bytesPerBlock);
    std::uint64_t allowed = stream.sizeBytes;
    if (stream.kind == Stream::Kind::File)
        allowed = m_out.m_files[indexOf(stream.file)].size;
    if (stream.kind != Stream::Kind::Missing && (placement.offset > allowed || needed > allowed - placement.offset))
        return Error{ErrorCode::Corrupt, fmt::format("{} needs {} B at offset {}, and the file ends at {}", printable(fullName(tensor)),
                                                     groupedText(needed), groupedText(placement.offset), groupedText(allowed))};
    m_pieces.add(tensor, region, {placement.stream, placement.offset, placement.flags, placement.holder}, strides);
    return {};
}

Status CheckpointBuilder::addWhole(TensorId tensor, const Placement& placement)
{
    const Tensor& owner = m_out.m_tensors[indexOf(tensor)];
    const std::uint64_t cells = elementCount(owner.shape).value_or(0) / info(owner.dtype).valuesPerBlock;
    return addPiece(tensor, FlatRange{0, cells}, placement);
}

CheckpointPtr CheckpointBuilder::finish() &&
{
    m_out.m_pieces = std::move(m_pieces).finish(m_out.m_tensors.size());
    return std::make_shared<const Checkpoint>(std::move(m_out));
}

} // namespace shardlens
