#pragma once

#include "core/encoding/safetensors.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace shardlens {

// Follows the events of the header's JSON and keeps entries; knows what the reference's deserializer accepts (formats/safetensors.md §3.1:
// a tensor may be an object or an array of its three fields, a dtype may be {"F32": null}, unknown fields are skipped, nesting ends at 128).
class SafetensorsSax final : public nlohmann::json_sax<nlohmann::json> {
public:
    bool null() override;
    bool boolean(bool value) override;
    bool number_integer(number_integer_t value) override;
    bool number_unsigned(number_unsigned_t value) override;
    bool number_float(number_float_t value, const string_t& text) override;
    bool string(string_t& value) override;
    bool binary(binary_t& value) override;
    bool start_object(std::size_t count) override;
    bool key(string_t& name) override;
    bool end_object() override;
    bool start_array(std::size_t count) override;
    bool end_array() override;
    bool parse_error(std::size_t position, const std::string& token, const nlohmann::json::exception& problem) override;

    [[nodiscard]] std::vector<SafetensorsEntry> takeEntries();
    [[nodiscard]] std::vector<std::pair<std::string, std::string>> takeMetadata();
    [[nodiscard]] std::vector<std::string> takeRepeated() { return std::move(m_repeated); }
    [[nodiscard]] const std::string& problem() const { return m_problem; } // why parsing stopped

private:
    enum class Expect : std::uint8_t {
        Root, RootKey, MetaBegin, MetaKey, MetaValue, TensorBegin, FieldKey, DType, DTypeKey, DTypeNull, DTypeEnd,
        ShapeBegin, ShapeItem, OffsetsBegin, OffsetsItem, SequenceEnd, Skip, Nothing,
    };

    bool refuse(const std::string& why);
    bool enter();
    bool scalar(const char* what);
    bool fieldDone();
    bool setDType(const std::string& name);
    bool finishTensor();
    [[nodiscard]] std::string place() const;

    Expect m_expect = Expect::Root;
    Expect m_afterSkip = Expect::RootKey;
    int m_depth = 0;
    int m_skipDepth = 0;
    bool m_sequence = false; // the tensor is an array of its fields
    std::string m_name;
    std::string m_metaKey;
    bool m_hasMetadata = false;
    std::optional<shardlens::DType> m_dtype;
    std::optional<Shape> m_shape;
    std::optional<std::vector<std::uint64_t>> m_offsets;
    std::vector<SafetensorsEntry> m_entries;
    std::unordered_map<std::string, std::size_t> m_index;
    std::vector<std::pair<std::string, std::string>> m_metadata;
    std::unordered_map<std::string, std::size_t> m_metaIndex;
    std::vector<std::string> m_repeated;
    std::string m_problem;
};

} // namespace shardlens
