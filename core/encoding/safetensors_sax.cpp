#include "core/encoding/safetensors_sax.h"

#include "core/base/text.h"

#include <fmt/format.h>

namespace shardlens {
namespace {

constexpr int kMaxDepth = 127; // serde_json gives up at the 128th level
constexpr std::size_t kMaxAxes = 1'000'000;

std::string knownNames()
{
    std::string out;
    for (const DTypeInfo& known : allDTypes())
        if (known.inSafetensors)
            out += (out.empty() ? "" : ", ") + std::string(known.name);
    return out;
}

} // namespace

std::string SafetensorsSax::place() const
{
    return m_name.empty() && m_depth < 2 ? "header" : fmt::format("tensor '{}'", printable(m_name.substr(0, 200)));
}

bool SafetensorsSax::refuse(const std::string& why)
{
    m_problem = place() + ": " + why;
    return false;
}

bool SafetensorsSax::enter()
{
    return ++m_depth <= kMaxDepth || refuse("nested deeper than 127 levels");
}

// A value that is neither object nor array where one of ours was due.
bool SafetensorsSax::scalar(const char* what)
{
    switch (m_expect) {
    case Expect::Skip:
        if (m_skipDepth == 0)
            m_expect = m_afterSkip;
        return true;
    case Expect::Root: return refuse(fmt::format("the header must be a JSON object, and it is {}", what));
    case Expect::MetaBegin:
    case Expect::MetaValue: return refuse(fmt::format("__metadata__ must map text to text, and holds {}", what));
    case Expect::TensorBegin: return refuse(fmt::format("a tensor must be an object, and it is {}", what));
    case Expect::DType:
    case Expect::DTypeNull: return refuse(fmt::format("dtype must be a name, and it is {}", what));
    case Expect::ShapeBegin:
    case Expect::ShapeItem: return refuse(fmt::format("shape must be a list of whole numbers, and holds {}", what));
    case Expect::OffsetsBegin:
    case Expect::OffsetsItem: return refuse(fmt::format("data_offsets must be two whole numbers, and hold {}", what));
    default: return refuse(fmt::format("{} where nothing is due", what));
    }
}

bool SafetensorsSax::null()
{
    if (m_expect == Expect::MetaBegin) {
        m_expect = Expect::RootKey;
        return true;
    }
    if (m_expect == Expect::DTypeNull) {
        m_expect = Expect::DTypeEnd;
        return true;
    }
    return scalar("null");
}

bool SafetensorsSax::boolean(bool)
{
    return scalar("a boolean");
}

bool SafetensorsSax::number_integer(number_integer_t value)
{
    return scalar(fmt::format("the negative number {}", value).c_str());
}

bool SafetensorsSax::number_unsigned(number_unsigned_t value)
{
    if (m_expect == Expect::ShapeItem) {
        if (m_shape->size() >= kMaxAxes)
            return refuse("more than a million dimensions");
        m_shape->push_back(value);
        return true;
    }
    if (m_expect == Expect::OffsetsItem) {
        m_offsets->push_back(value);
        return m_offsets->size() <= 2 || refuse("data_offsets must be two numbers, and there are more");
    }
    return scalar(fmt::format("the number {}", value).c_str());
}

bool SafetensorsSax::number_float(number_float_t, const string_t& text)
{
    return scalar(fmt::format("the number {}", text.substr(0, 40)).c_str());
}

bool SafetensorsSax::setDType(const std::string& name)
{
    m_dtype = dtypeByName(name);
    if (!m_dtype || !info(*m_dtype).inSafetensors)
        return refuse(fmt::format("dtype '{}' is none of {}", printable(name.substr(0, 40)), knownNames()));
    return true;
}

bool SafetensorsSax::string(string_t& value)
{
    if (m_expect == Expect::MetaValue) {
        const auto [at, isNew] = m_metaIndex.try_emplace(m_metaKey, m_metadata.size());
        if (isNew)
            m_metadata.emplace_back(m_metaKey, value);
        else
            m_metadata[at->second].second = value;
        m_expect = Expect::MetaKey;
        return true;
    }
    if (m_expect == Expect::DType)
        return setDType(value) && fieldDone();
    return scalar("text");
}

bool SafetensorsSax::binary(binary_t&)
{
    return scalar("bytes");
}

// After a field: the next key of an object, or the next place of the sequence form.
bool SafetensorsSax::fieldDone()
{
    if (!m_sequence) {
        m_expect = Expect::FieldKey;
        return true;
    }
    m_expect = !m_shape ? Expect::ShapeBegin : !m_offsets ? Expect::OffsetsBegin : Expect::SequenceEnd;
    return true;
}

bool SafetensorsSax::start_object(std::size_t)
{
    if (!enter())
        return false;
    switch (m_expect) {
    case Expect::Root: m_expect = Expect::RootKey; return true;
    case Expect::MetaBegin: m_expect = Expect::MetaKey; return true;
    case Expect::TensorBegin:
        m_sequence = false;
        m_expect = Expect::FieldKey;
        return true;
    case Expect::DType: m_expect = Expect::DTypeKey; return true;
    case Expect::Skip: ++m_skipDepth; return true;
    default: return scalar("an object");
    }
}

bool SafetensorsSax::key(string_t& name)
{
    switch (m_expect) {
    case Expect::RootKey:
        if (name == "__metadata__") {
            m_name.clear();
            m_expect = Expect::MetaBegin;
            const bool again = m_hasMetadata;
            m_hasMetadata = true;
            return !again || refuse("__metadata__ stands twice");
        }
        m_name = name;
        m_dtype.reset();
        m_shape.reset();
        m_offsets.reset();
        m_expect = Expect::TensorBegin;
        return true;
    case Expect::MetaKey:
        m_metaKey = name;
        m_expect = Expect::MetaValue;
        return true;
    case Expect::DTypeKey:
        m_expect = Expect::DTypeNull;
        return setDType(name);
    case Expect::DTypeEnd: return refuse("a dtype with two names");
    case Expect::FieldKey: break;
    default: return true; // inside what is skipped
    }
    if ((name == "dtype" && m_dtype) || (name == "shape" && m_shape) || (name == "data_offsets" && m_offsets))
        return refuse(fmt::format("{} stands twice", name));
    m_expect = name == "dtype" ? Expect::DType : name == "shape" ? Expect::ShapeBegin : name == "data_offsets" ? Expect::OffsetsBegin : Expect::Skip;
    m_afterSkip = Expect::FieldKey;
    return true;
}

bool SafetensorsSax::finishTensor()
{
    if (!m_dtype || !m_shape || !m_offsets)
        return refuse(fmt::format("{} is missing", !m_dtype ? "dtype" : !m_shape ? "shape" : "data_offsets"));
    SafetensorsEntry entry{m_name, *m_dtype, std::move(*m_shape), (*m_offsets)[0], (*m_offsets)[1]};
    const auto [at, isNew] = m_index.try_emplace(m_name, m_entries.size());
    if (isNew) {
        m_entries.push_back(std::move(entry));
    } else {
        m_entries[at->second] = std::move(entry); // the last counts, as the reference's map has it
        m_repeated.push_back(m_name);
    }
    m_expect = Expect::RootKey;
    return true;
}

bool SafetensorsSax::end_object()
{
    --m_depth;
    switch (m_expect) {
    case Expect::RootKey: m_expect = Expect::Nothing; return true;
    case Expect::MetaKey: m_expect = Expect::RootKey; return true;
    case Expect::FieldKey: return finishTensor();
    case Expect::DTypeEnd: return fieldDone();
    case Expect::DTypeKey: return refuse("a dtype without a name");
    case Expect::Skip:
        if (--m_skipDepth == 0)
            m_expect = m_afterSkip;
        return true;
    default: return true;
    }
}

bool SafetensorsSax::start_array(std::size_t)
{
    if (!enter())
        return false;
    switch (m_expect) {
    case Expect::TensorBegin:
        m_sequence = true;
        m_expect = Expect::DType;
        return true;
    case Expect::ShapeBegin:
        m_shape.emplace();
        m_expect = Expect::ShapeItem;
        return true;
    case Expect::OffsetsBegin:
        m_offsets.emplace();
        m_expect = Expect::OffsetsItem;
        return true;
    case Expect::Skip: ++m_skipDepth; return true;
    default: return scalar("a list");
    }
}

bool SafetensorsSax::end_array()
{
    --m_depth;
    switch (m_expect) {
    case Expect::ShapeItem: return fieldDone();
    case Expect::OffsetsItem: return m_offsets->size() == 2 ? fieldDone() : refuse(fmt::format("data_offsets must be two numbers, and there are {}", m_offsets->size()));
    case Expect::SequenceEnd: return finishTensor();
    case Expect::Skip:
        if (--m_skipDepth == 0)
            m_expect = m_afterSkip;
        return true;
    default: return refuse("a list that ends too early");
    }
}

bool SafetensorsSax::parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&)
{
    m_problem = fmt::format("header: no JSON at byte {}", 8 + position);
    return false;
}

std::vector<SafetensorsEntry> SafetensorsSax::takeEntries()
{
    return std::move(m_entries);
}

std::vector<std::pair<std::string, std::string>> SafetensorsSax::takeMetadata()
{
    return std::move(m_metadata);
}

} // namespace shardlens
