#include "core/encoding/torch_file.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/io/checksum.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <unordered_map>

namespace shardlens {
namespace {

using pickle::Kind;
using pickle::latin1;
using pickle::Value;

constexpr int kDeepestShown = 64;
constexpr std::size_t kMaxText = 4096;
constexpr std::size_t kTextOfNode = 256;    // characters that count as one node more
constexpr std::size_t kMaxBigBytes = 32;
constexpr std::size_t kMaxScalarText = 64;  // of an encoded number
constexpr std::size_t kManyTensors = 8;   // a branch of more tensors than this and nothing else is one line
constexpr std::size_t kMaxItems = 2'000;  // shown of one container

// Of what is not shown as a whole: two that differ read differently.
std::string bytesText(std::span<const std::byte> bytes)
{
    return fmt::format("{} B, CRC {:08x}", groupedText(bytes.size()), crc32Of(bytes));
}

std::string shortened(std::string_view text)
{
    if (text.size() <= kMaxText)
        return printable(text);
    return printable(text.substr(0, kMaxText)) + fmt::format("… ({})", bytesText(std::as_bytes(std::span(text))));
}

// A number beyond 64 bits: its digits where they are few.
std::string bigText(std::span<const std::byte> littleEndian)
{
    if (littleEndian.size() > kMaxBigBytes)
        return fmt::format("a number of {}", bytesText(littleEndian));
    std::string out = "two's complement 0x";
    for (std::size_t i = littleEndian.size(); i-- > 0;)
        out += fmt::format("{:02x}", static_cast<unsigned>(littleEndian[i]));
    return out;
}

std::string className(Value global)
{
    return printable(std::string(global.globalModule()) + "." + std::string(global.globalName()));
}

// Number of a numpy scalar: multiarray.scalar(dtype, bytes). Little-endian codes only.
std::optional<std::string> numpyScalar(Value call)
{
    if (call.callable().globalName() != "scalar" || call.callable().globalModule().find("multiarray") == std::string_view::npos)
        return std::nullopt;
    const std::string code(call.args().at(0).args().at(0).asText().value_or(""));
    std::string raw;
    if (const auto bytes = call.args().at(1).asBytes())
        raw.assign(reinterpret_cast<const char*>(bytes->data()), bytes->size());
    else if (const Value encoded = call.args().at(1); encoded.isCallOf("_codecs", "encode") && encoded.args().at(0).asText().value_or("").size() <= kMaxScalarText)
        raw = latin1(encoded.args().at(0).asText().value_or(""));
    raw.resize(8, '\0');
    const auto* at = reinterpret_cast<const std::byte*>(raw.data());
    if (code == "i8")
        return std::to_string(loadLe<std::int64_t>(at));
    if (code == "i4")
        return std::to_string(loadLe<std::int32_t>(at));
    if (code == "f8")
        return fmt::format("{}", loadLe<double>(at));
    if (code == "f4")
        return fmt::format("{}", loadLe<float>(at));
    if (code == "b1")
        return raw[0] != 0 ? "True" : "False";
    return std::nullopt;
}

bool isDType(Value global)
{
    return global.globalModule() == "torch" && dtypeByTorchName(global.globalName()).has_value();
}

class Describer {
public:
    Describer(const TorchFile* file, std::size_t maxNodes) : m_file(file), m_left(maxNodes) {}

    MetaNode node(std::string key, Value value, int depth)
    {
        MetaNode out;
        out.key = std::move(key);
        if (m_left > 0)
            --m_left;
        if (TorchFile::isTensor(value)) {
            describeTensor(out, value);
            return out;
        }
        switch (value.kind()) {
        case Kind::None: leaf(out, MetaNode::Kind::Null, "None", "None"); break;
        case Kind::Bool: leaf(out, MetaNode::Kind::Bool, *value.asBool() ? "True" : "False", "bool"); break;
        case Kind::Int:
        case Kind::BigInt: leaf(out, MetaNode::Kind::Integer, value.asInt() ? std::to_string(*value.asInt()) : remembered(m_texts, value, [&] { return bigText(value.bigIntBytes()); }), "int"); break;
        case Kind::Float: leaf(out, MetaNode::Kind::Float, fmt::format("{}", *value.asFloat()), "float"); break;
        case Kind::Text:
            leaf(out, MetaNode::Kind::Text, value.asText()->size() <= kMaxText ? printable(*value.asText()) : remembered(m_texts, value, [&] { return shortened(*value.asText()); }), "str");
            m_left -= std::min(m_left, out.value.size() / kTextOfNode); // a long text that is met again and again fills memory too
            break;
        case Kind::Bytes:
        case Kind::ByteArray: leaf(out, MetaNode::Kind::Bytes, remembered(m_texts, value, [&] { return bytesText(*value.asBytes()); }), value.kind() == Kind::Bytes ? "bytes" : "bytearray"); break;
        case Kind::Tuple: describeSequence(out, MetaNode::Kind::Tuple, "tuple", value, depth); break;
        case Kind::List: describeSequence(out, MetaNode::Kind::List, "list", value, depth); break;
        case Kind::Set:
        case Kind::FrozenSet: describeSequence(out, MetaNode::Kind::Set, value.kind() == Kind::Set ? "set" : "frozenset", value, depth); break;
        case Kind::Dict: describeMapping(out, "dict", value, depth); break;
        case Kind::Global: describeGlobal(out, value); break;
        case Kind::Reduce:
        case Kind::NewObject: describeObject(out, value, depth); break;
        case Kind::PersistentId: leaf(out, MetaNode::Kind::Opaque, "a storage", "persistent id"); break;
        case Kind::Extension: leaf(out, MetaNode::Kind::Opaque, "a registered extension, not looked up", "extension"); break;
        case Kind::Buffer: leaf(out, MetaNode::Kind::Opaque, "bytes outside the file", "buffer"); break;
        }
        return out;
    }

private:
    static void leaf(MetaNode& out, MetaNode::Kind kind, std::string value, std::string type)
    {
        out.kind = kind;
        out.value = std::move(value);
        out.type = std::move(type);
    }

    void describeTensor(MetaNode& out, Value value)
    {
        if (const auto layout = TorchFile::sparseLayoutOf(value)) {
            const auto shape = TorchFile::sparseShapeOf(value);
            leaf(out, MetaNode::Kind::Tensor, fmt::format("sparse {} {}", *layout, shape ? shapeText(*shape) : ""), "tensor");
            return;
        }
        if (m_file == nullptr) {
            leaf(out, MetaNode::Kind::Opaque, "a tensor of another file", "tensor");
            return;
        }
        const auto tensor = m_file->tensorOf(value);
        if (!tensor) {
            leaf(out, MetaNode::Kind::Opaque, tensor.error().text(), "tensor");
            return;
        }
        leaf(out, MetaNode::Kind::Tensor, fmt::format("{} {}", nameOf(tensor->dtype), shapeText(tensor->shape)), "tensor");
    }

    static void describeGlobal(MetaNode& out, Value value)
    {
        if (isDType(value))
            leaf(out, MetaNode::Kind::Text, std::string(value.globalName()), "torch.dtype");
        else
            leaf(out, MetaNode::Kind::Opaque, className(value) + ", a name that was not imported", "global");
    }

    bool isManyTensors(Value value)
    {
        const auto [known, isNew] = m_manyTensors.try_emplace(value.index(), false);
        if (isNew)
            known->second = holdsManyTensors(value);
        return known->second;
    }

    static bool holdsManyTensors(Value value)
    {
        if (value.size() <= kManyTensors)
            return false;
        for (std::size_t i = 0; i < value.size(); ++i)
            if (!TorchFile::isTensor(value.isMapping() ? value.valueAt(i) : value.at(i)))
                return false;
        return true;
    }

    bool tooDeep(MetaNode& out, int depth)
    {
        if (depth < kDeepestShown && m_left > 0)
            return false;
        out.value += out.value.empty() ? "not shown: the tree is too large" : ", not shown: the tree is too large";
        return true;
    }

    void summary(MetaNode& out, Value value)
    {
        MetaNode line;
        leaf(line, MetaNode::Kind::Summary, plural(value.size(), "tensor", "tensors"), "tensor");
        out.children.push_back(std::move(line));
    }

    void describeSequence(MetaNode& out, MetaNode::Kind kind, const char* type, Value value, int depth)
    {
        leaf(out, kind, value.size() == 0 ? "empty" : plural(value.size(), "item", "items"), type);
        if (value.size() == 0 || tooDeep(out, depth))
            return;
        if (isManyTensors(value)) {
            summary(out, value);
            return;
        }
        for (std::size_t i = 0; i < value.size() && i < kMaxItems && m_left > 0; ++i)
            out.children.push_back(node(std::to_string(i), value.at(i), depth + 1));
        sayRest(out, value.size());
    }

    void describeMapping(MetaNode& out, const char* type, Value value, int depth)
    {
        leaf(out, MetaNode::Kind::Dict, value.size() == 0 ? "empty" : plural(value.size(), "entry", "entries"), type);
        if (value.size() == 0 || tooDeep(out, depth))
            return;
        if (isManyTensors(value)) {
            summary(out, value);
            return;
        }
        for (std::size_t i = 0; i < value.size() && i < kMaxItems && m_left > 0; ++i)
            out.children.push_back(node(keyText(value.keyAt(i)), value.valueAt(i), depth + 1));
        sayRest(out, value.size());
    }

    static void sayRest(MetaNode& out, std::size_t count)
    {
        if (out.children.size() >= count)
            return;
        MetaNode rest;
        leaf(rest, MetaNode::Kind::Summary, fmt::format("{} more, not shown", groupedText(count - out.children.size())), "");
        out.children.push_back(std::move(rest));
    }

    static std::string keyText(Value key)
    {
        if (const auto text = key.asText())
            return shortened(*text);
        if (const auto number = key.asInt())
            return std::to_string(*number);
        if (const auto number = key.asFloat())
            return fmt::format("{}", *number);
        return key.isNone() ? "None" : "(key)";
    }

    // Enum members: Class(value), or getattr(Class, "NAME") as some Pythons write them.
    static bool describeEnum(MetaNode& out, Value value)
    {
        const bool byName = value.isCallOf("__builtin__", "getattr") || value.isCallOf("builtins", "getattr");
        if (byName && value.args().at(0).kind() == Kind::Global && value.args().at(1).asText()) {
            leaf(out, MetaNode::Kind::Text, shortened(*value.args().at(1).asText()), className(value.args().at(0)));
            return true;
        }
        return false;
    }

    template <typename Make>
    static const std::string& remembered(std::unordered_map<std::uint32_t, std::string>& texts, Value value, Make make)
    {
        const auto [known, isNew] = texts.try_emplace(value.index());
        if (isNew)
            known->second = make();
        return known->second;
    }

    bool describeBytes(MetaNode& out, Value value)
    {
        if (!value.isCallOf("_codecs", "encode"))
            return false;
        const Value text = value.args().at(0);
        leaf(out, MetaNode::Kind::Bytes, remembered(m_encoded, text, [&] {
                 const std::string decoded = latin1(text.asText().value_or(""));
                 return bytesText(std::as_bytes(std::span(decoded)));
             }), "bytes");
        return true;
    }

    void describeObject(MetaNode& out, Value value, int depth)
    {
        const std::string type = value.callable().kind() == Kind::Global ? className(value.callable()) : "the result of another call";
        if (describeEnum(out, value) || describeBytes(out, value))
            return;
        if (const auto number = numpyScalar(value)) {
            leaf(out, MetaNode::Kind::Float, *number, "numpy scalar");
            return;
        }
        if (value.isMapping()) {
            describeMapping(out, std::string(value.callable().globalName()).c_str(), value, depth);
            return;
        }
        if (value.isSequence()) {
            const bool isShape = value.isCallOf("torch", "Size");
            describeSequence(out, isShape ? MetaNode::Kind::Tuple : MetaNode::Kind::Set, std::string(value.callable().globalName()).c_str(), value, depth);
            return;
        }
        const bool known = value.isCallOf("argparse", "Namespace");
        leaf(out, known ? MetaNode::Kind::Object : MetaNode::Kind::Opaque, known ? "" : "not executed", type);
        if (tooDeep(out, depth))
            return;
        if (value.args().size() > 0)
            out.children.push_back(node("arguments", value.args(), depth + 1));
        if (const Value state = value.state(); state.isMapping()) {
            for (std::size_t i = 0; i < state.size() && i < kMaxItems && m_left > 0; ++i)
                out.children.push_back(node(keyText(state.keyAt(i)), state.valueAt(i), depth + 1));
        } else if (state) {
            out.children.push_back(node("state", state, depth + 1));
        }
    }

    const TorchFile* m_file; // null: of a pickle without storages
    std::size_t m_left;
    using Texts = std::unordered_map<std::uint32_t, std::string>; // by node: many places may share a value that is long to sum
    Texts m_texts;
    Texts m_encoded; // of texts that _codecs.encode makes bytes of
    std::unordered_map<std::uint32_t, bool> m_manyTensors;        // by node
};

} // namespace

MetaNode describe(const TorchFile& file, std::size_t maxNodes)
{
    return Describer(&file, maxNodes).node("", file.root(), 0);
}

MetaNode describe(pickle::Value value, std::size_t maxNodes)
{
    return Describer(nullptr, maxNodes).node("", value, 0);
}

} // namespace shardlens
