#include "core/convert/plan_files.h"

#include "core/convert/plan_archive.h"
#include "core/encoding/dcp_writer.h"
#include "core/encoding/torch_writer.h"

#include <fmt/format.h>

#include <string_view>

namespace shardlens {
namespace {

// Bytes of the cells below one index of dimension 0; all of them of a tensor without dimensions.
std::uint64_t rowBytes(const Shape& units, DType dtype)
{
    std::uint64_t bytes = info(dtype).bytesPerBlock;
    for (std::size_t axis = 1; axis < units.size(); ++axis)
        bytes *= units[axis];
    return bytes;
}

std::vector<DcpRows> rowsOf(const Checkpoint& source, const std::vector<OutputTensor>& tensors, std::uint32_t writers)
{
    std::vector<DcpRowCount> counts;
    for (const OutputTensor& tensor : tensors) {
        const Shape units = unitShape(source.tensor(tensor.source).shape, tensor.dtype);
        counts.push_back({units.empty() ? 1 : units[0], rowBytes(units, tensor.dtype), !units.empty() && tensor.sizeBytes > 0});
    }
    return dealRows(counts, writers);
}

Shape extentOf(const DcpRows& rows, Shape shape)
{
    if (!shape.empty())
        shape[0] = rows.end - rows.begin;
    return shape;
}

// Shapes count values, and torch counts blocks of two 4-bit values: rows are cut in torch's units.
Shape valueShape(const DcpRows& rows, const Tensor& tensor, DType dtype)
{
    if (tensor.shape.size() == 1)
        return {(rows.end - rows.begin) * info(dtype).valuesPerBlock};
    return extentOf(rows, tensor.shape);
}

Result<ArchiveContent> itemOf(const Checkpoint& source, const OutputTensor& tensor, const DcpRows& rows)
{
    const Tensor& of = source.tensor(tensor.source);
    const std::uint64_t row = rowBytes(unitShape(of.shape, tensor.dtype), tensor.dtype);
    const std::uint64_t bytes = (rows.end - rows.begin) * row;
    ArchiveContent out;
    SHARDLENS_ASSIGN(out.pickle, tensorPickle(tensor.dtype, valueShape(rows, of, tensor.dtype)));
    out.storages.push_back({bytes, {}});
    if (bytes > 0)
        out.storages.back().runs.push_back({tensor.name, tensor.source, tensor.dtype, 0, bytes, tensor.isAlias, false, rows.begin * row});
    return out;
}

// The outside name of a module's copy beside its master is NAME/module, NAME being the parameter's or one that is tied to it.
std::string nameOfModule(const OutputTensor& tensor)
{
    constexpr std::string_view kEnding = "/module";
    return tensor.name.ends_with(kEnding) ? tensor.name.substr(0, tensor.name.size() - kEnding.size()) : tensor.name;
}

} // namespace

DcpKeys::DcpKeys(const Checkpoint& source, const std::vector<OutputTensor>& tensors, Select select) : m_source(source)
{
    for (const OutputTensor& tensor : tensors)
        m_isNested = m_isNested || source.roleOf(tensor.source).kind == RoleKind::OptimizerState;
    m_isNested = m_isNested && (select == Select::All || select == Select::Optimizer);
}

std::vector<DcpStep> DcpKeys::pathOf(const OutputTensor& tensor) const
{
    const Role& role = m_source.roleOf(tensor.source);
    if (!m_isNested)
        return {{tensor.name, {}}};
    switch (role.kind) {
    case RoleKind::OptimizerState: return {{"optimizer", {}}, {"state", {}}, {m_source.parameterOf(tensor.source), {}}, {role.name, {}}};
    case RoleKind::Weight:
    case RoleKind::Buffer: return {{"model", {}}, {tensor.name, {}}};
    case RoleKind::Module: return {{"module", {}}, {nameOfModule(tensor), {}}};
    case RoleKind::Other: break;
    }
    return {{tensor.name, {}}};
}

std::string DcpKeys::nameOf(const OutputTensor& tensor) const
{
    return m_isNested && m_source.roleOf(tensor.source).kind == RoleKind::Module ? "module." + nameOfModule(tensor) : tensor.name;
}

Result<std::vector<PlannedFile>> planDcpFiles(const Checkpoint& source, const std::vector<OutputTensor>& tensors, const DcpKeys& keys, std::uint32_t writers)
{
    const std::vector<DcpRows> rows = rowsOf(source, tensors, writers);
    std::vector<std::vector<ArchiveContent>> items(writers);
    std::vector<std::uint64_t> ends(writers, 0);
    std::vector<DcpItem> places;
    for (const DcpRows& one : rows) {
        SHARDLENS_ASSIGN(ArchiveContent item, itemOf(source, tensors[one.tensor], one));
        SHARDLENS_ASSIGN(const std::uint64_t length, dcpItemBytes(item.pickle.size(), std::span(&item.storages.front().sizeBytes, 1)));
        places.push_back({one.writer, 0, ends[one.writer], length});
        ends[one.writer] += length;
        items[one.writer].push_back(std::move(item));
    }
    std::vector<std::string> names;
    std::vector<PlannedFile> out;
    for (std::uint32_t writer = 0; writer < writers; ++writer) {
        names.push_back(fmt::format("__{}_0.distcp", writer));
        SHARDLENS_ASSIGN(PlannedFile file, planDcpFile(names.back(), std::move(items[writer])));
        file.tensorCount = file.tensors.size();
        file.rank = writer;
        out.push_back(std::move(file));
    }
    DcpMetadataWriter metadata(std::move(names));
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const OutputTensor& tensor = tensors[rows[i].tensor];
        const Shape units = unitShape(source.tensor(tensor.source).shape, tensor.dtype);
        if (i == 0 || rows[i - 1].tensor != rows[i].tensor)
            metadata.addTensor(keys.pathOf(tensor), tensor.dtype, units);
        Shape offset(units.size(), 0);
        if (!offset.empty())
            offset[0] = rows[i].begin;
        metadata.addChunk(offset, extentOf(rows[i], units), places[i]);
    }
    SHARDLENS_ASSIGN(std::vector<std::byte> bytes, std::move(metadata).finish());
    PlannedFile index;
    index.name = ".metadata";
    index.container = PlannedFile::Container::Pickle;
    index.sizeBytes = bytes.size();
    index.literals.push_back({0, std::move(bytes)});
    out.push_back(std::move(index));
    return out;
}

} // namespace shardlens
