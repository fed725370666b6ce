#pragma once

#include "core/base/result.h"
#include "core/layout/mindspore_strategy.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// What the two encodings of a strategy file have in common, inside this folder.
namespace shardlens::mindspore {

// A file as it is written: names with their prefixes, layouts that nobody has checked yet.
struct StrategyText {
    struct Parameter {
        std::string storedName;
        ParameterLayout layout;
        std::optional<Shape> fullShape;
    };
    std::uint32_t currentStage = 1;
    std::vector<Parameter> parameters;
    std::vector<StrategyOperator> operators;
};

// Errors are within the parameter or operator.
[[nodiscard]] Result<StrategyText> parseStrategyProtobuf(std::string_view bytes);
[[nodiscard]] Result<StrategyText> parseStrategyJson(std::string_view bytes);

// A tensor map of one list a dimension into ParameterLayout::tensorMap; of a flat one each list has one number. Refused: numbers below -1, -1 among axes.
[[nodiscard]] Result<std::vector<std::vector<std::uint32_t>>> axesOfMap(const std::vector<std::vector<std::int64_t>>& dimensions);
// More dimensions than any tensor has are refused before they are kept.
constexpr std::size_t kMostStrategyDimensions = 64;
// Every name of a file must be text.
[[nodiscard]] Status checkStrategyName(std::string_view name);
// All rules of §8 that one layout can break by itself; fragments without the parameter's name.
[[nodiscard]] Status checkLayout(const ParameterLayout& layout);

// What bytes are that claim to be a strategy (§1.2).
enum class StrategyBytes : std::uint8_t { Empty, Protobuf, Json, Encrypted, Zip, Pickle, Safetensors, Weights, GroupMap, Unknown };
[[nodiscard]] StrategyBytes kindOfStrategyBytes(std::string_view head, std::uint64_t fileBytes);
// The stage of the first operator, where it lies whole in the first bytes of a protobuf strategy.
[[nodiscard]] std::optional<std::uint32_t> stageInHead(std::string_view head);

// The same number for files with the same parameters and layouts, in whatever order: all ranks of a stage write them, each in its own. Nothing where the bytes
// are no protobuf strategy.
[[nodiscard]] std::optional<std::uint64_t> layoutFingerprint(std::string_view bytes);

// At most `most` bytes from the start of a regular file; NotFound, Io, Unsupported for what is no regular file. Errors are without the path.
struct StrategyHead {
    std::string bytes;
    std::uint64_t fileBytes = 0;
};
[[nodiscard]] Result<StrategyHead> readStrategyHead(const std::string& path, std::uint64_t most);
// A whole file of at most kLargestStrategyBytes. Weights are told by their head, whatever their size.
[[nodiscard]] Result<std::string> readStrategyBytes(const std::string& path);

} // namespace shardlens::mindspore
