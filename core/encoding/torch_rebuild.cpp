#include "core/encoding/torch_rebuild.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/encoding/torch_storage_types.h"

#include <fmt/format.h>

#include <array>
#include <limits>

namespace shardlens {
namespace {

using pickle::Value;

constexpr std::size_t kMaxMetadata = 16;
constexpr int kMaxWrappers = 8;
constexpr std::size_t kMaxAxes = 64; // torch's own limit
constexpr std::uint64_t kMaxTensorBytes = std::numeric_limits<std::int64_t>::max();

enum class Call : std::uint8_t { None, Tensor, TensorV2, TensorV3, Parameter, TypedWrapper, Quantized, Meta, Sparse, OldTensor, Other };

struct KnownCall {
    std::string_view module;
    std::string_view name;
    Call call;
};
constexpr std::array<KnownCall, 17> kCalls{{{"torch._utils", "_rebuild_tensor_v2", Call::TensorV2},
                                            {"torch._utils", "_rebuild_tensor_v3", Call::TensorV3},
                                            {"torch._utils", "_rebuild_tensor", Call::Tensor},
                                            {"torch._utils", "_rebuild_parameter", Call::Parameter},
                                            {"torch._utils", "_rebuild_parameter_with_state", Call::Parameter},
                                            {"torch._tensor", "_rebuild_from_type_v2", Call::TypedWrapper},
                                            {"torch._tensor", "_rebuild_from_type", Call::TypedWrapper},
                                            {"torch.tensor", "_rebuild_from_type", Call::TypedWrapper},
                                            {"torch._utils", "_rebuild_qtensor", Call::Quantized},
                                            {"torch._utils", "_rebuild_meta_tensor_no_storage", Call::Meta},
                                            {"torch._utils", "_rebuild_sparse_tensor", Call::Sparse},
                                            {"torch._utils", "_rebuild_sparse_csr_tensor", Call::Sparse},
                                            {"torch._utils", "_rebuild_nested_tensor", Call::Other},
                                            {"torch._utils", "_rebuild_wrapper_subclass", Call::Other},
                                            {"torch._utils", "_rebuild_device_tensor_from_numpy", Call::Other},
                                            {"torch._utils", "_rebuild_device_tensor_from_cpu_tensor", Call::Parameter},
                                            {"torch.nn.parameter", "Parameter", Call::Parameter}}};

Call callOf(Value callable)
{
    if (callable.kind() != pickle::Kind::Global)
        return Call::None;
    for (const KnownCall& known : kCalls)
        if (callable.isGlobal(known.module, known.name))
            return known.call;
    return Call::None;
}

// The innermost rebuild function and its arguments, wrappers taken off.
struct Rebuild {
    Call call = Call::None;
    Value arguments;
    std::string_view name;
};

Rebuild unwrapped(Value value)
{
    Value callable = value.callable();
    Value arguments = value.args();
    for (int i = 0; i < kMaxWrappers; ++i) {
        const Call call = callOf(callable);
        if (call == Call::Parameter) { // (tensor, requires_grad, hooks[, state])
            value = arguments.at(0);
            callable = value.callable();
            arguments = value.args();
        } else if (call == Call::TypedWrapper) { // (function, class, arguments, state)
            callable = arguments.at(0);
            arguments = arguments.at(2);
        } else {
            return {call, arguments, callable.globalName()};
        }
    }
    return {};
}

struct StorageReference {
    std::size_t index = 0;
    std::optional<DType> dtype; // empty: untyped
    std::uint64_t viewOffset = 0; // bytes, of a legacy storage view
    std::uint64_t bytes = 0;      // that the id claims
};

Result<StorageReference> nestedStorageOf(const TorchNestedStorage& nested)
{
    if (!nested.readable)
        return Error{ErrorCode::Unsupported, nested.problem};
    return StorageReference{nested.part.storage, nested.part.dtype, nested.part.offsetBytes, nested.part.sizeBytes};
}

Result<StorageReference> storageOf(const TorchContainer& container, Value reference)
{
    if (const auto nested = container.nested.find(reference.index()); nested != container.nested.end() && reference.graph() == container.graph.get())
        return nestedStorageOf(nested->second);
    const Value id = reference.persistentId(); // ("storage", class, key, location, count[, view])
    const auto key = id.at(2).asText();
    const auto count = id.at(4).asInt();
    if (id.at(0).asText() != "storage" || !key || !count || *count < 0)
        return Error{ErrorCode::Corrupt, "a tensor without a storage"};
    const auto found = container.storageByKey.find(std::string(*key));
    if (found == container.storageByKey.end())
        return Error{ErrorCode::Corrupt, fmt::format("storage {} is not in the file", printable(*key))};
    StorageReference out{found->second, dtypeOfStorageClass(id.at(1).globalName()), 0, 0};
    if (!out.dtype && !isUntypedStorageClass(id.at(1).globalName()))
        return Error{ErrorCode::Unsupported, fmt::format("storages of class {} are not known", printable(id.at(1).globalName()))};
    const std::uint64_t element = out.dtype ? info(*out.dtype).bytesPerBlock : 1;
    const auto bytes = checkedMul(static_cast<std::uint64_t>(*count), element);
    std::optional<std::uint64_t> needed = bytes;
    if (const Value view = id.at(5); view.size() == 3) { // (key, offset, count): a part of the root storage
        const auto offset = view.at(1).asInt();
        const auto viewCount = view.at(2).asInt();
        if (!offset || !viewCount || *offset < 0 || *viewCount < 0)
            return Error{ErrorCode::Corrupt, "a storage view without offset and length"};
        const auto start = checkedMul(static_cast<std::uint64_t>(*offset), element);
        const auto viewBytes = checkedMul(static_cast<std::uint64_t>(*viewCount), element);
        needed = start && viewBytes ? checkedAdd(*start, *viewBytes) : std::nullopt;
        out.viewOffset = start.value_or(0);
    }
    const std::uint64_t have = container.storages[out.index].sizeBytes;
    if (!needed || !bytes || *needed > have || (id.at(5).size() != 3 && *bytes > have))
        return Error{ErrorCode::Corrupt, fmt::format("storage {}: the pickle says {} B, the record has {} B", printable(*key), needed ? groupedText(*needed) : "more than 2^64", groupedText(have))};
    out.bytes = id.at(5).size() == 3 ? *needed - out.viewOffset : *bytes;
    return out;
}

Result<std::vector<std::uint64_t>> numbersOf(Value sequence, const char* what)
{
    if (!sequence.isSequence() || sequence.size() > kMaxAxes)
        return Error{ErrorCode::Corrupt, fmt::format("a {} that is no short tuple", what)};
    std::vector<std::uint64_t> out;
    for (std::size_t i = 0; i < sequence.size(); ++i) {
        const auto number = sequence.at(i).asInt();
        if (!number || *number < 0)
            return Error{ErrorCode::Corrupt, fmt::format("a {} with a negative or missing number", what)};
        out.push_back(static_cast<std::uint64_t>(*number));
    }
    return out;
}

bool isDense(const std::vector<std::uint64_t>& shape, const std::vector<std::uint64_t>& strides)
{
    std::uint64_t expected = 1;
    for (std::size_t axis = shape.size(); axis-- > 0;) {
        if (shape[axis] != 1 && strides[axis] != expected)
            return false;
        expected *= shape[axis];
    }
    return true;
}

// Bytes from the view's start to the end of its last element (formats/pytorch.md §4).
std::optional<std::uint64_t> spanOf(const std::vector<std::uint64_t>& shape, const std::vector<std::uint64_t>& strides, std::uint64_t element)
{
    std::optional<std::uint64_t> last = 0;
    for (std::size_t axis = 0; axis < shape.size() && last; ++axis) {
        const auto step = checkedMul(shape[axis] - 1, strides[axis]);
        last = step ? checkedAdd(*last, *step) : std::nullopt;
    }
    const auto count = last ? checkedAdd(*last, 1) : std::nullopt;
    return count ? checkedMul(*count, element) : std::nullopt;
}

void applyMetadata(Value metadata, TorchTensor& out)
{
    if (metadata.size() > kMaxMetadata) // torch writes two; many tensors may share it
        return;
    out.flags.conjugate = metadata.find("conj").asBool().value_or(false);
    out.flags.negate = metadata.find("neg").asBool().value_or(false);
}

// The shape in values: the file counts elements, and one of F4 is a byte of two values. A view may repeat its storage without end (stride 0), so its
// bytes are counted apart from those of the storage; addresses are signed, which halves what can be counted.
Result<Shape> valuesOf(const std::vector<std::uint64_t>& shape, DType dtype)
{
    const std::uint64_t perElement = info(dtype).valuesPerBlock;
    Shape out(shape.begin(), shape.end());
    if (perElement != 1 && out.empty())
        return Error{ErrorCode::Unsupported, fmt::format("one element of {} without a shape, which holds {} values", nameOf(dtype), perElement)};
    const auto last = out.empty() ? std::optional<std::uint64_t>(1) : checkedMul(out.back(), perElement);
    if (last && !out.empty())
        out.back() = *last;
    const auto values = last ? elementCount(out) : std::nullopt;
    const auto bytes = values ? bytesOf(dtype, *values) : std::nullopt;
    if (!bytes || *bytes > kMaxTensorBytes)
        return Error{ErrorCode::Corrupt, fmt::format("shape {} of {}: {} B, at most {} can be counted", shapeText(shape), nameOf(dtype),
                                                     bytes ? groupedText(*bytes) : "more than 2^64", groupedText(kMaxTensorBytes))};
    return out;
}

// shape, strides and offset in elements of the storage's dtype become those of the tensor.
Status place(TorchTensor& out, const StorageReference& storage, const std::vector<std::uint64_t>& shape, const std::vector<std::uint64_t>& strides, std::uint64_t offset)
{
    const std::uint64_t element = info(out.dtype).bytesPerBlock;
    const auto count = checkedProduct(shape);
    if (!count || shape.size() != strides.size())
        return Error{ErrorCode::Corrupt, fmt::format("shape {} with strides {}", shapeText(shape), shapeText(strides))};
    const auto start = checkedMul(offset, element);
    const auto span = *count == 0 ? std::optional<std::uint64_t>(0) : spanOf(shape, strides, element);
    const auto end = start && span ? checkedAdd(*start, *span) : std::nullopt;
    if (*count != 0 && (!end || *end > storage.bytes))
        return Error{ErrorCode::Corrupt, fmt::format("a view of shape {} with strides {} at {} leaves its storage of {} B", shapeText(shape), shapeText(strides), groupedText(offset),
                                                     groupedText(storage.bytes))};
    out.storage = storage.index;
    out.offsetBytes = *count == 0 ? 0 : storage.viewOffset + *start;
    out.contiguous = *count == 0 || isDense(shape, strides);
    SHARDLENS_ASSIGN(out.shape, valuesOf(shape, out.dtype));
    for (const std::uint64_t stride : strides)
        out.strides.push_back(static_cast<std::int64_t>(stride * element));
    return {};
}

Result<TorchTensor> stridedTensor(const TorchContainer& container, const Rebuild& rebuild)
{
    const Value arguments = rebuild.arguments; // storage, offset, size, stride, …
    SHARDLENS_ASSIGN(const StorageReference storage, storageOf(container, arguments.at(0)));
    SHARDLENS_ASSIGN(const auto shape, numbersOf(arguments.at(2), "shape"));
    SHARDLENS_ASSIGN(const auto strides, numbersOf(arguments.at(3), "stride"));
    const auto offset = arguments.at(1).asInt();
    if (!offset || *offset < 0)
        return Error{ErrorCode::Corrupt, "a tensor without an offset"};
    TorchTensor out;
    std::optional<DType> dtype = storage.dtype;
    if (rebuild.call == Call::TensorV3)
        dtype = dtypeByTorchName(arguments.at(6).globalName());
    if (!dtype)
        return Error{ErrorCode::Unsupported, fmt::format("values of type {} are not known", printable(arguments.at(6).globalName()))};
    out.dtype = *dtype;
    applyMetadata(arguments.at(rebuild.call == Call::TensorV3 ? 7 : 6), out);
    out.flags.bigEndian = container.bigEndian && info(out.dtype).bytesPerBlock > 1;
    SHARDLENS_TRY(place(out, storage, shape, strides, static_cast<std::uint64_t>(*offset)));
    return out;
}

Result<TorchTensor> metaTensor(Value arguments) // dtype, size, stride, requires_grad
{
    TorchTensor out;
    const auto dtype = dtypeByTorchName(arguments.at(0).globalName());
    SHARDLENS_ASSIGN(const auto shape, numbersOf(arguments.at(1), "shape"));
    if (!dtype)
        return Error{ErrorCode::Unsupported, "a tensor on the meta device of unknown type"};
    out.dtype = *dtype;
    SHARDLENS_ASSIGN(out.shape, valuesOf(shape, out.dtype));
    out.noData = true;
    return out;
}

struct SparseLayout {
    std::string_view torchName; // "torch.sparse_coo" without "torch."
    std::string_view name;
    std::array<std::string_view, 3> parts; // in the order of the call's data; the shape comes after them
    std::size_t partCount;
};
constexpr std::array<SparseLayout, 5> kLayouts{{{"sparse_coo", "COO", {"indices", "values", ""}, 2},
                                                {"sparse_csr", "CSR", {"crow_indices", "col_indices", "values"}, 3},
                                                {"sparse_csc", "CSC", {"ccol_indices", "row_indices", "values"}, 3},
                                                {"sparse_bsr", "BSR", {"crow_indices", "col_indices", "values"}, 3},
                                                {"sparse_bsc", "BSC", {"ccol_indices", "row_indices", "values"}, 3}}};

// (layout, data): the layout as torch.serialization._get_layout("torch.sparse_coo"), or as the bare name torch.sparse_coo.
const SparseLayout* layoutOf(Value layout)
{
    std::string_view name = layout.globalName();
    if (layout.isCallOf("torch.serialization", "_get_layout")) {
        name = layout.args().at(0).asText().value_or("");
        if (name.starts_with("torch."))
            name.remove_prefix(std::string_view("torch.").size());
    }
    for (const SparseLayout& known : kLayouts)
        if (known.torchName == name)
            return &known;
    return nullptr;
}

} // namespace

std::optional<std::string_view> sparseLayout(Value value)
{
    const Rebuild rebuild = value.kind() == pickle::Kind::Reduce ? unwrapped(value) : Rebuild{};
    if (rebuild.call != Call::Sparse)
        return std::nullopt;
    const SparseLayout* layout = layoutOf(rebuild.arguments.at(0));
    return layout != nullptr ? layout->name : "unknown";
}

Result<std::vector<TorchSparsePart>> sparseParts(Value value)
{
    const Rebuild rebuild = unwrapped(value);
    const SparseLayout* layout = layoutOf(rebuild.arguments.at(0));
    if (layout == nullptr)
        return Error{ErrorCode::Unsupported, "a sparse tensor of a layout that is not known"};
    const Value data = rebuild.arguments.at(1);
    std::vector<TorchSparsePart> out;
    for (std::size_t i = 0; i < layout->partCount; ++i) {
        if (!isTensorCall(data.at(i)) || sparseLayout(data.at(i)))
            return Error{ErrorCode::Corrupt, fmt::format("a sparse tensor without {}", layout->parts[i])};
        out.push_back({layout->parts[i], data.at(i)});
    }
    return out;
}

Result<Shape> sparseShape(Value value)
{
    const Rebuild rebuild = unwrapped(value);
    const SparseLayout* layout = layoutOf(rebuild.arguments.at(0));
    return numbersOf(rebuild.arguments.at(1).at(layout != nullptr ? layout->partCount : 0), "shape");
}

bool isTensorCall(Value value)
{
    return value.kind() == pickle::Kind::Reduce && unwrapped(value).call != Call::None;
}

Result<TorchStoragePart> storagePart(const TorchContainer& container, Value persistentId)
{
    SHARDLENS_ASSIGN(const StorageReference found, storageOf(container, persistentId));
    const bool isWhole = persistentId.kind() == pickle::Kind::PersistentId && persistentId.persistentId().at(5).size() != 3;
    return TorchStoragePart{found.index, found.viewOffset, isWhole ? container.storages[found.index].sizeBytes : found.bytes, found.dtype};
}

std::optional<TorchStoragePart> claimedBytes(const TorchContainer& container, Value persistentId)
{
    const auto found = storageOf(container, persistentId);
    if (!found)
        return std::nullopt;
    return TorchStoragePart{found->index, found->viewOffset, found->bytes, found->dtype};
}

Result<TorchTensor> rebuildTensor(const TorchContainer& container, Value value)
{
    const Rebuild rebuild = unwrapped(value);
    switch (rebuild.call) {
    case Call::Tensor:
    case Call::TensorV2:
    case Call::TensorV3: return stridedTensor(container, rebuild);
    case Call::Quantized:
        if (!rebuild.arguments.at(4).at(0).isGlobal("torch", "per_tensor_affine"))
            return Error{ErrorCode::Unsupported, "a tensor quantized per channel"};
        return stridedTensor(container, {Call::TensorV2, rebuild.arguments, rebuild.name});
    case Call::Meta: return metaTensor(rebuild.arguments);
    case Call::Sparse: return Error{ErrorCode::Unsupported, "a sparse tensor, where a dense one belongs"};
    case Call::None:
    case Call::Parameter:
    case Call::TypedWrapper:
    case Call::OldTensor:
    case Call::Other: break;
    }
    return Error{ErrorCode::Unsupported, fmt::format("a tensor rebuilt by {}", printable(rebuild.name))};
}

} // namespace shardlens
