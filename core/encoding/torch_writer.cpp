#include "core/encoding/torch_writer.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/pickle/opcodes.h"
#include "core/encoding/torch_storage_types.h"

#include <fmt/format.h>

#include <limits>

namespace shardlens {
namespace {

namespace op = pickle::op;

class Emitter {
public:
    void opcode(std::uint8_t code) { m_bytes += static_cast<char>(code); }
    template <typename T>
    void field(T value)
    {
        m_bytes.append(reinterpret_cast<const char*>(&value), sizeof(T)); // little-endian machines only: endian.h
    }
    void raw(std::string_view text) { m_bytes += text; }
    void text(std::string_view text)
    {
        opcode(op::kBinUnicode);
        field(static_cast<std::uint32_t>(text.size()));
        raw(text);
    }
    void global(std::string_view module, std::string_view name)
    {
        opcode(op::kGlobal);
        raw(module);
        raw("\n");
        raw(name);
        raw("\n");
    }
    void integer(std::uint64_t value)
    {
        if (value <= 0xFF) {
            opcode(op::kBinInt1);
            field(static_cast<std::uint8_t>(value));
        } else if (value <= 0xFFFF) {
            opcode(op::kBinInt2);
            field(static_cast<std::uint16_t>(value));
        } else if (value <= 0x7FFFFFFF) {
            opcode(op::kBinInt);
            field(static_cast<std::uint32_t>(value));
        } else {
            opcode(op::kLong1); // nine bytes: the ninth keeps it positive
            field(std::uint8_t{9});
            field(value);
            field(std::uint8_t{0});
        }
    }
    void tuple(ShapeView numbers)
    {
        if (numbers.empty()) {
            opcode(op::kEmptyTuple);
            return;
        }
        if (numbers.size() > 3)
            opcode(op::kMark);
        for (const std::uint64_t number : numbers)
            integer(number);
        opcode(numbers.size() > 3 ? op::kTuple : static_cast<std::uint8_t>(op::kTuple1 + numbers.size() - 1));
    }
    [[nodiscard]] std::vector<std::byte> take() const
    {
        const auto* begin = reinterpret_cast<const std::byte*>(m_bytes.data());
        return {begin, begin + m_bytes.size()};
    }

private:
    std::string m_bytes;
};

// What torch counts: blocks of two 4-bit values are one element there.
Shape torchShape(const StateDictEntry& entry)
{
    return unitShape(entry.shape, entry.dtype);
}

// Strides in elements.
void emitView(Emitter& out, const StateDictEntry& entry, ShapeView strides, std::uint64_t count)
{
    const Shape shape = torchShape(entry);
    const std::string_view storageClass = storageClassOf(entry.dtype);
    const bool typed = !storageClass.empty();
    out.global("torch._utils", typed ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3");
    out.opcode(op::kMark);
    out.opcode(op::kMark);
    out.text("storage");
    out.global(typed ? "torch" : "torch.storage", typed ? storageClass : "UntypedStorage");
    out.text(std::to_string(entry.storage));
    out.text("cpu");
    out.integer(typed ? count : count * info(entry.dtype).bytesPerBlock);
    out.opcode(op::kTuple);
    out.opcode(op::kBinPersId);
    out.integer(0);
    out.tuple(shape);
    out.tuple(strides);
    out.opcode(op::kNewFalse);
    out.global("collections", "OrderedDict");
    out.opcode(op::kEmptyTuple);
    out.opcode(op::kReduce);
    if (!typed)
        out.global("torch", info(entry.dtype).torchName);
    out.opcode(op::kTuple);
    out.opcode(op::kReduce);
}

void emitTensor(Emitter& out, const StateDictEntry& entry)
{
    const Shape shape = torchShape(entry);
    Shape strides = rowMajorStrides(shape);
    for (std::size_t axis = shape.size(); axis-- > 0;) // torch never writes a stride of 0 for an empty tensor
        strides[axis] = axis + 1 == shape.size() ? 1 : strides[axis + 1] * std::max<std::uint64_t>(shape[axis + 1], 1);
    emitView(out, entry, strides, elementCount(shape).value_or(0));
}

Status checkDType(const StateDictEntry& entry)
{
    if (info(entry.dtype).torchName.empty())
        return Error{ErrorCode::Refused, fmt::format("{}: torch has no dtype {}", printable(entry.name), nameOf(entry.dtype))};
    if (info(entry.dtype).valuesPerBlock > 1 && (entry.shape.empty() || entry.shape.back() % info(entry.dtype).valuesPerBlock != 0))
        return Error{ErrorCode::Refused, fmt::format("{}: torch packs {} along the last dimension, and {} does not divide", printable(entry.name), nameOf(entry.dtype), shapeText(entry.shape))};
    return {};
}

} // namespace

Result<std::vector<std::byte>> tensorPickle(DType dtype, const Shape& shape)
{
    const StateDictEntry entry{"a tensor", dtype, shape, 0};
    SHARDLENS_TRY(checkDType(entry));
    Emitter out;
    out.opcode(op::kProto);
    out.opcode(2);
    emitTensor(out, entry);
    out.opcode(op::kStop);
    return out.take();
}

Result<std::vector<std::byte>> tensorPickle(DType dtype, const Shape& shape, std::span<const std::int64_t> strides, std::uint64_t storageBytes)
{
    const StateDictEntry entry{"a tensor", dtype, shape, 0};
    SHARDLENS_TRY(checkDType(entry));
    Shape elements;
    for (const std::int64_t stride : strides)
        elements.push_back(static_cast<std::uint64_t>(stride) / info(dtype).bytesPerBlock);
    Emitter out;
    out.opcode(op::kProto);
    out.opcode(2);
    emitView(out, entry, elements, storageBytes / info(dtype).bytesPerBlock);
    out.opcode(op::kStop);
    return out.take();
}

Result<std::vector<std::byte>> stateDictPickle(const std::vector<StateDictEntry>& entries)
{
    Emitter out;
    out.opcode(op::kProto);
    out.opcode(2);
    out.opcode(op::kEmptyDict);
    if (!entries.empty())
        out.opcode(op::kMark);
    for (const StateDictEntry& entry : entries) {
        SHARDLENS_TRY(checkDType(entry));
        if (!isUtf8(entry.name) || entry.name.size() > std::numeric_limits<std::uint32_t>::max())
            return Error{ErrorCode::Refused, fmt::format("the name {} is no UTF-8", printable(entry.name))};
        out.text(entry.name);
        emitTensor(out, entry);
    }
    if (!entries.empty())
        out.opcode(op::kSetItems);
    out.opcode(op::kStop);
    return out.take();
}

} // namespace shardlens
