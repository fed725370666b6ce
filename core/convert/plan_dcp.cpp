#include "core/convert/plan_files.h"

#include "core/base/checked.h"
#include "core/convert/plan_archive.h"
#include "core/encoding/dcp_writer.h"
#include "core/encoding/torch_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace shardlens {
namespace {

// Rows of a tensor that one writer stores.
struct Rows {
    std::size_t tensor = 0; // position in the list of output tensors
    std::uint32_t writer = 0;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    DcpItem item{};
};

// Bytes of the cells below one index of dimension 0; all of them of a tensor without dimensions.
std::uint64_t rowBytes(const Shape& units, DType dtype)
{
    std::uint64_t bytes = info(dtype).bytesPerBlock;
    for (std::size_t axis = 1; axis < units.size(); ++axis)
        bytes *= units[axis];
    return bytes;
}

// Dimension 0 in pieces of ceil(rows / writers), as FSDP cuts (formats/pytorch.md §9.7); what is not cut goes to the writer with the fewest bytes so far (§9.5).
std::vector<Rows> rowsOf(const Checkpoint& source, const std::vector<OutputTensor>& tensors, std::uint32_t writers)
{
    std::vector<Rows> out;
    std::vector<std::uint64_t> bytesOf(writers, 0);
    std::vector<std::size_t> uncut;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const Shape units = unitShape(source.tensor(tensors[i].source).shape, tensors[i].dtype);
        if (units.empty() || writers == 1 || tensors[i].sizeBytes == 0) {
            uncut.push_back(i);
            continue;
        }
        const std::uint64_t step = ceilDiv(units[0], writers);
        for (std::uint32_t writer = 0; writer * step < units[0]; ++writer) {
            out.push_back({i, writer, writer * step, std::min((writer + 1) * step, units[0])});
            bytesOf[writer] += (out.back().end - out.back().begin) * rowBytes(units, tensors[i].dtype);
        }
    }
    for (const std::size_t i : uncut) {
        const auto writer = static_cast<std::uint32_t>(std::min_element(bytesOf.begin(), bytesOf.end()) - bytesOf.begin());
        const Shape units = unitShape(source.tensor(tensors[i].source).shape, tensors[i].dtype);
        out.push_back({i, writer, 0, units.empty() ? 1 : units[0]});
        bytesOf[writer] += tensors[i].sizeBytes;
    }
    std::stable_sort(out.begin(), out.end(), [](const Rows& a, const Rows& b) { return a.tensor < b.tensor; });
    return out;
}

Shape extentOf(const Rows& rows, Shape shape)
{
    if (!shape.empty())
        shape[0] = rows.end - rows.begin;
    return shape;
}

// Shapes count values, and torch counts blocks of two 4-bit values: rows are cut in torch's units.
Shape valueShape(const Rows& rows, const Tensor& tensor, DType dtype)
{
    if (tensor.shape.size() == 1)
        return {(rows.end - rows.begin) * info(dtype).valuesPerBlock};
    return extentOf(rows, tensor.shape);
}

Result<ArchiveContent> itemOf(const Checkpoint& source, const OutputTensor& tensor, const Rows& rows)
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
    case RoleKind::Module: return {{"module", {}}, {m_source.parameterOf(tensor.source), {}}};
    case RoleKind::Other: break;
    }
    return {{tensor.name, {}}};
}

std::string DcpKeys::nameOf(const OutputTensor& tensor) const
{
    return m_isNested && m_source.roleOf(tensor.source).kind == RoleKind::Module ? "module." + m_source.parameterOf(tensor.source) : tensor.name;
}

Result<std::vector<PlannedFile>> planDcpFiles(const Checkpoint& source, const std::vector<OutputTensor>& tensors, const DcpKeys& keys, std::uint32_t writers)
{
    std::vector<Rows> rows = rowsOf(source, tensors, writers);
    std::vector<std::vector<ArchiveContent>> items(writers);
    std::vector<std::uint64_t> ends(writers, 0);
    for (Rows& one : rows) {
        SHARDLENS_ASSIGN(ArchiveContent item, itemOf(source, tensors[one.tensor], one));
        SHARDLENS_ASSIGN(const std::uint64_t length, dcpItemBytes(item.pickle.size(), std::span(&item.storages.front().sizeBytes, 1)));
        one.item = {one.writer, 0, ends[one.writer], length};
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
        metadata.addChunk(offset, extentOf(rows[i], units), rows[i].item);
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
