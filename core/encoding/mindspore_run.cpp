#include "core/encoding/mindspore_run.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/encoding/mindspore_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

namespace shardlens::mindspore {
namespace {

constexpr std::string_view kHostCache = ".__param_key__";
constexpr std::array<std::string_view, kMapTensors> kMapParts{"keys", "values", "status"};
constexpr std::string_view kBroken = "mindspore-parameter";

Error runError(std::string text)
{
    return {ErrorCode::Corrupt, std::move(text)};
}

std::string_view withoutHostCache(std::string_view tag)
{
    const std::size_t at = tag.rfind(kHostCache);
    if (at == std::string_view::npos || at == 0)
        return tag;
    std::string_view key = tag.substr(at + kHostCache.size());
    if (key.starts_with('-'))
        key.remove_prefix(1);
    const bool isNumber = !key.empty() && std::ranges::all_of(key, [](char c) { return c >= '0' && c <= '9'; });
    return isNumber ? tag.substr(0, at) : tag;
}

std::string dimsText(const std::vector<std::int64_t>& dims)
{
    return fmt::format("[{}]", fmt::join(dims, ", "));
}

Result<Shape> shapeOf(const std::vector<std::int64_t>& dims)
{
    if (std::ranges::any_of(dims, [](std::int64_t dim) { return dim < 0; }))
        return runError(fmt::format("dims {} are no shape", dimsText(dims)));
    return Shape(dims.begin(), dims.end());
}

// Sets wideBFloat16. `hint` is added where the bytes are those of several such tensors.
Status checkSize(CkptEntry& entry, std::string_view hint)
{
    const auto values = elementCount(entry.shape);
    const auto needed = values ? bytesOf(entry.dtype, *values) : std::nullopt;
    if (!needed)
        return runError(fmt::format("dims {} are more than can be counted", shapeText(entry.shape)));
    if (entry.sizeBytes == *needed)
        return {};
    if (entry.dtype == DType::BF16 && *needed > 0 && entry.sizeBytes % 2 == 0 && entry.sizeBytes / 2 == *needed) {
        entry.wideBFloat16 = true;
        return {};
    }
    const bool isMultiple = *needed > 0 && entry.sizeBytes > *needed && entry.sizeBytes % *needed == 0;
    return runError(fmt::format("shape {} of {} needs {} B, has {}{}", shapeText(entry.shape), printable(entry.typeName), groupedText(*needed),
                                groupedText(entry.sizeBytes), isMultiple ? hint : ""));
}

// A value must lie in one piece.
Status checkPieces(const CkptEntry& entry)
{
    const std::uint64_t cell = info(entry.dtype).bytesPerBlock * (entry.wideBFloat16 ? 2u : 1u);
    if (std::ranges::any_of(entry.pieces, [&](const CkptPiece& piece) { return piece.length % cell != 0; }))
        return runError(fmt::format("one of its {} records ends inside a value of {} B", groupedText(entry.pieces.size()), cell));
    return {};
}

void makeOpaque(CkptEntry& entry)
{
    entry.kind = CkptEntry::Kind::Opaque;
    entry.dtype = DType::U8;
    entry.storedShape = std::exchange(entry.shape, Shape{entry.sizeBytes});
}

// Opaque where it is too long or no text.
Status decodeText(const ByteSource& source, CkptEntry& entry)
{
    makeOpaque(entry);
    if (entry.sizeBytes > kMaxCkptTextBytes)
        return {};
    std::vector<std::byte> bytes;
    for (const CkptPiece& piece : entry.pieces) {
        SHARDLENS_ASSIGN(const auto part, readBytes(source, piece.offset, piece.length, kMaxCkptTextBytes));
        bytes.insert(bytes.end(), part.begin(), part.end());
    }
    if (auto text = utf8OfUtf32(bytes)) {
        entry.kind = CkptEntry::Kind::Text;
        entry.text = std::move(*text);
    }
    return {};
}

CkptEntry namedEntry(const std::string& tag)
{
    CkptEntry out;
    out.name = nameOfTag(tag);
    if (out.name != tag)
        out.tag = tag;
    return out;
}

void addPieceTo(CkptEntry& entry, const RawTensor& tensor)
{
    if (!tensor.content || tensor.content->length == 0)
        return;
    entry.pieces.push_back(*tensor.content);
    entry.sizeBytes += tensor.content->length; // runs of one file: no sum passes its size
}

Result<CkptEntry> mapPart(const RawTensor& tensor)
{
    CkptEntry out;
    out.kind = CkptEntry::Kind::MapTensor;
    out.typeName = tensor.typeName;
    const auto dtype = dtypeOfCkptType(tensor.typeName);
    if (!dtype)
        return runError(fmt::format("a hash table of type '{}', which is not known", printable(tensor.typeName)));
    out.dtype = *dtype;
    SHARDLENS_ASSIGN(out.shape, shapeOf(tensor.dims));
    if (out.shape.empty())
        return runError("a hash table without rows");
    addPieceTo(out, tensor);
    return out;
}

// A slice behind those that are there: more rows (§2.7).
Status appendSlice(const CkptEntry& slice, CkptEntry& part)
{
    const bool isSame = slice.typeName == part.typeName && std::ranges::equal(ShapeView(slice.shape).subspan(1), ShapeView(part.shape).subspan(1));
    const auto rows = checkedAdd(part.shape[0], slice.shape[0]);
    if (!isSame || !rows)
        return runError(fmt::format("its records do not agree: {} {} and {} {}", printable(part.typeName), shapeText(part.shape),
                                    printable(slice.typeName), shapeText(slice.shape)));
    part.shape[0] = *rows;
    part.pieces.insert(part.pieces.end(), slice.pieces.begin(), slice.pieces.end());
    part.sizeBytes += slice.sizeBytes;
    return {};
}

} // namespace

std::string nameOfTag(const std::string& tag)
{
    const std::string name(withoutHostCache(tag));
    if (name.empty())
        return "''";
    return isUtf8(name) ? name : printable(name);
}

void RecordRun::fail(std::string code, std::string problem)
{
    if (!m_problem.empty())
        return;
    m_code = std::move(code);
    m_problem = std::move(problem);
}

void RecordRun::add(const RawRecord& record)
{
    const std::string code(kBroken);
    ++m_records;
    if (!record.hasTag)
        fail(code, "its record has no name");
    else if (record.hasTensor && record.hasMap)
        fail(code, "its record holds a tensor and a hash table");
    else if (record.hasMap)
        addMap(record);
    else if (record.hasTensor)
        addTensor(record.tensor);
    else
        fail(code, "its record holds no tensor");
}

void RecordRun::addTensor(const RawTensor& tensor)
{
    if (m_records == 1)
        m_first = tensor;
    else if (tensor.dims != m_first.dims || tensor.typeName != m_first.typeName)
        fail(std::string(kBroken), fmt::format("its records do not agree: {} {} and {} {}", printable(m_first.typeName), dimsText(m_first.dims),
                                               printable(tensor.typeName), dimsText(tensor.dims)));
    if (!tensor.content || tensor.content->length == 0)
        return;
    m_pieces.push_back(*tensor.content);
    m_bytes += tensor.content->length;
}

void RecordRun::addMap(const RawRecord& record)
{
    const std::string code(kBroken);
    if (record.mapTensors == m_partialMaps + 1 && record.mapTensors < kMapTensors && m_map.empty()) {
        ++m_partialMaps;
        return;
    }
    if (record.mapTensors != kMapTensors || (m_partialMaps != 0 && (m_partialMaps != kMapTensors - 1 || !m_map.empty())))
        return fail(code, fmt::format("a hash table of {} tensors, and 3 are needed", groupedText(record.mapTensors)));
    std::vector<CkptEntry> slices;
    for (const RawTensor& tensor : record.map) {
        auto part = mapPart(tensor);
        if (!part)
            return fail(code, part.error().message());
        slices.push_back(part.take());
    }
    if (m_map.empty())
        m_map = std::move(slices);
    else
        for (std::size_t i = 0; i < kMapTensors; ++i)
            if (const auto done = appendSlice(slices[i], m_map[i]); !done)
                return fail(code, done.error().message());
}

Result<std::vector<CkptEntry>> RecordRun::finish(const ByteSource& source)
{
    if (m_problem.empty())
        m_code = kBroken;
    else
        return runError(m_problem);
    return m_isMap ? finishMap() : finishTensor(source);
}

Result<std::vector<CkptEntry>> RecordRun::finishMap()
{
    if (m_map.empty())
        return runError(fmt::format("a hash table of {} tensors, and 3 are needed", m_partialMaps));
    for (std::size_t i = 0; i < kMapTensors; ++i) {
        CkptEntry& part = m_map[i];
        part.name = fmt::format("{}.{}", nameOfTag(m_tag), kMapParts[i]);
        part.tag = m_tag;
        SHARDLENS_TRY(checkSize(part, ""));
        SHARDLENS_TRY(checkPieces(part));
        if (part.shape[0] != m_map[0].shape[0])
            return runError(fmt::format("its {} are {} rows, its keys {}", kMapParts[i], groupedText(part.shape[0]), groupedText(m_map[0].shape[0])));
    }
    return std::move(m_map);
}

Result<std::vector<CkptEntry>> RecordRun::finishTensor(const ByteSource& source)
{
    CkptEntry entry = namedEntry(m_tag);
    entry.typeName = m_first.typeName;
    entry.pieces = std::move(m_pieces);
    entry.sizeBytes = m_bytes;
    if (entry.typeName.empty())
        return runError("its record names no type");
    SHARDLENS_ASSIGN(entry.shape, shapeOf(m_first.dims));
    const auto dtype = dtypeOfCkptType(entry.typeName);
    if (entry.typeName == "str") {
        SHARDLENS_TRY(decodeText(source, entry));
    } else if (!dtype) {
        makeOpaque(entry);
    } else {
        entry.dtype = *dtype;
        if (entry.shape == Shape{0} && entry.sizeBytes > 0)
            entry.shape.clear(); // no axes, as files before 2.3 have it (§2.6)
        SHARDLENS_TRY(checkSize(entry, m_records > 1 ? ": two tensors with the same name stored back to back?" : ""));
        SHARDLENS_TRY(checkPieces(entry));
    }
    std::vector<CkptEntry> out;
    out.push_back(std::move(entry));
    return out;
}

} // namespace shardlens::mindspore
