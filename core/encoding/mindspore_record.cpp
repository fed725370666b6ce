#include "core/encoding/mindspore_record.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::mindspore {
namespace {

constexpr std::size_t kMaxDims = 64;
constexpr std::uint64_t kMaxFields = 4096; // of one record: a writer needs a dozen
constexpr std::uint64_t kMaxTypeBytes = 256;
constexpr std::uint64_t kMaxDimBytes = 10 * kMaxDims; // packed

Error recordError(std::string text)
{
    return {ErrorCode::Corrupt, std::move(text)};
}

// The three messages of a record, nested as deep as they are and no deeper.
class RecordReader {
public:
    RecordReader(CkptWindow& window, RawRecord& out) : m_window(&window), m_out(&out) {}

    Status value(std::uint64_t begin, std::uint64_t end)
    {
        return forEachField(begin, end, [&](const CkptField& field) -> Status {
            if (field.is(1, CkptWireType::Bytes))
                return tag(field);
            if (field.is(2, CkptWireType::Bytes)) {
                m_out->hasTensor = true;
                return tensor(field, m_out->tensor);
            }
            if (!field.is(3, CkptWireType::Bytes))
                return {};
            m_out->hasMap = true;
            return mapTensor(field);
        });
    }

private:
    template <typename Visit>
    Status forEachField(std::uint64_t begin, std::uint64_t end, const Visit& visit)
    {
        CkptFieldReader reader(*m_window, begin, end);
        while (true) {
            SHARDLENS_ASSIGN(const auto field, reader.next());
            if (!field)
                return {};
            if (++m_fields > kMaxFields)
                return recordError(fmt::format("its record has more than {} fields", groupedText(kMaxFields)));
            SHARDLENS_TRY(visit(*field));
        }
    }

    Status tag(CkptField field)
    {
        const std::uint64_t length = field.length;
        field.length = std::min(length, kMaxTagBytes);
        SHARDLENS_ASSIGN(m_out->tag, textOf(*m_window, field));
        m_out->hasTag = true;
        if (length > kMaxTagBytes)
            return recordError(fmt::format("its name is {} B long, at most {} are read", groupedText(length), groupedText(kMaxTagBytes)));
        return {};
    }

    Status mapTensor(const CkptField& map)
    {
        return forEachField(map.offset, map.offset + map.length, [&](const CkptField& field) -> Status {
            if (!field.is(1, CkptWireType::Bytes))
                return {};
            if (++m_out->mapTensors > kMapTensors)
                return {};
            return tensor(field, m_out->map.emplace_back());
        });
    }

    Status tensor(const CkptField& message, RawTensor& out)
    {
        return forEachField(message.offset, message.offset + message.length, [&](const CkptField& field) -> Status {
            if (field.is(1, CkptWireType::Varint))
                return dim(field.value, out);
            if (field.is(1, CkptWireType::Bytes))
                return packedDims(field, out);
            if (field.is(2, CkptWireType::Bytes))
                return typeName(field, out);
            if (field.is(3, CkptWireType::Bytes))
                out.content = CkptPiece{field.offset, field.length};
            return {};
        });
    }

    static Status dim(std::uint64_t value, RawTensor& out)
    {
        if (out.dims.size() == kMaxDims)
            return recordError(fmt::format("more than {} dimensions", kMaxDims));
        out.dims.push_back(static_cast<std::int64_t>(value));
        return {};
    }

    Status packedDims(const CkptField& field, RawTensor& out)
    {
        if (field.length > kMaxDimBytes)
            return recordError(fmt::format("more than {} dimensions", kMaxDims));
        SHARDLENS_ASSIGN(std::span<const std::byte> bytes, m_window->view(field.offset, field.length));
        while (!bytes.empty()) {
            SHARDLENS_ASSIGN(const CkptVarint number, readVarint(bytes));
            if (number.bytes == 0)
                return recordError("its packed dims end inside a number");
            SHARDLENS_TRY(dim(number.value, out));
            bytes = bytes.subspan(number.bytes);
        }
        return {};
    }

    Status typeName(const CkptField& field, RawTensor& out)
    {
        if (field.length > kMaxTypeBytes)
            return recordError(fmt::format("a type name of {} B", groupedText(field.length)));
        SHARDLENS_ASSIGN(out.typeName, textOf(*m_window, field));
        return {};
    }

    CkptWindow* m_window;
    RawRecord* m_out;
    std::uint64_t m_fields = 0;
};

} // namespace

Status readRecord(CkptWindow& window, std::uint64_t begin, std::uint64_t end, RawRecord& out)
{
    return RecordReader(window, out).value(begin, end);
}

Result<std::string> tagOfCutRecord(CkptWindow& window, std::uint64_t begin, std::uint64_t end)
{
    CkptFieldReader reader(window, begin, end);
    for (std::uint64_t i = 0; i < kMaxFields && reader.at() < window.end(); ++i) {
        const auto field = reader.next();
        if (!field && field.error().code() != ErrorCode::Corrupt)
            return field.error();
        if (!field || !*field)
            break;
        if ((*field)->is(1, CkptWireType::Bytes) && (*field)->offset + (*field)->length <= window.end() && (*field)->length <= kMaxTagBytes)
            return textOf(window, **field);
    }
    return std::string();
}

} // namespace shardlens::mindspore
