#pragma once

#include "core/layout/mindspore_strategy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

// Strategy files made without the code that reads and writes them.
namespace shardlens::test {

// "08 01 0a" as bytes; blanks and line ends do not count.
inline std::string fromHex(const std::string& hex)
{
    std::string digits;
    for (const char c : hex)
        if (c != ' ' && c != '\n')
            digits.push_back(c);
    std::string out;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
        out.push_back(static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
    return out;
}

inline std::string wireNumber(std::uint64_t value)
{
    std::string out;
    do {
        const auto low = static_cast<unsigned char>(value % 128);
        value /= 128;
        out.push_back(static_cast<char>(value == 0 ? low : low + 128));
    } while (value != 0);
    return out;
}

inline std::string wireField(unsigned number, std::int64_t value)
{
    return wireNumber(number * 8) + wireNumber(static_cast<std::uint64_t>(value));
}

inline std::string wireBytes(unsigned number, const std::string& bytes)
{
    return wireNumber(number * 8 + 2) + wireNumber(bytes.size()) + bytes;
}

inline std::string wireList(const std::vector<std::int64_t>& numbers)
{
    std::string out;
    for (const std::int64_t one : numbers)
        out += wireField(1, one);
    return out;
}

// One parameter of a strategy file. A map of one list is flat; of several, one list a dimension.
struct WireLayout {
    std::string name;
    std::vector<std::int64_t> matrix;
    std::vector<std::vector<std::int64_t>> map;
    std::int64_t step = 0;
    std::int64_t size = 0;
    std::vector<std::int64_t> rows = {};
    std::int64_t field = 0;
};

inline std::string wireLayoutItem(const WireLayout& one)
{
    std::string layout = wireBytes(1, wireList(one.matrix));
    for (const auto& dimension : one.map)
        layout += wireBytes(2, wireList(dimension));
    layout += wireBytes(3, wireList(one.rows)) + wireBytes(4, "") + wireField(5, one.field) + wireField(6, one.step) + wireField(7, one.size);
    return wireBytes(3, wireBytes(1, one.name) + wireBytes(2, layout));
}

inline std::string wireOperator(const std::string& name, std::int64_t stage)
{
    return wireBytes(2, wireBytes(1, name) + wireBytes(2, wireField(1, stage) + wireBytes(2, wireList({2, 1})) + wireBytes(2, wireList({2, 1}))));
}

inline std::string wireStrategy(const std::vector<WireLayout>& layouts, std::int64_t stage = 0)
{
    std::string out = wireField(1, 1) + wireOperator("MatMul_" + layouts.front().name, stage);
    for (const WireLayout& one : layouts)
        out += wireLayoutItem(one);
    return out;
}

// A layout by hand.
inline mindspore::ParameterLayout layout(Shape matrix, const std::vector<std::vector<std::int64_t>>& map, std::int32_t step = 0, std::int32_t size = 0)
{
    mindspore::ParameterLayout out;
    out.deviceMatrix = std::move(matrix);
    for (const auto& axes : map) {
        auto& dimension = out.tensorMap.emplace_back();
        for (const std::int64_t axis : axes)
            if (axis >= 0)
                dimension.push_back(static_cast<std::uint32_t>(axis));
        out.isMultiAxis = out.isMultiAxis || axes.size() > 1;
    }
    out.optShardStep = step;
    out.optShardSize = size;
    return out;
}

inline mindspore::Strategy strategyOf(std::vector<mindspore::StrategyParts::Parameter> parameters)
{
    mindspore::StrategyParts parts;
    parts.parameters = std::move(parameters);
    auto out = mindspore::Strategy::make(std::move(parts));
    EXPECT_TRUE(out) << (out ? "" : out.error().text());
    return out.take();
}

// Any valid layout of `devices` devices for a tensor of that many dimensions.
inline mindspore::ParameterLayout randomLayout(std::mt19937& random, std::uint64_t devices, std::size_t dimensions, bool mayShard)
{
    const auto below = [&](std::uint64_t end) { return std::uniform_int_distribution<std::uint64_t>(0, end - 1)(random); };
    mindspore::ParameterLayout out;
    std::uint64_t left = devices;
    while (left > 1) {
        std::vector<std::uint64_t> factors;
        for (std::uint64_t f = 2; f <= left; ++f)
            if (left % f == 0)
                factors.push_back(f);
        out.deviceMatrix.push_back(factors[below(factors.size())]);
        left /= out.deviceMatrix.back();
    }
    if (out.deviceMatrix.empty() || below(8) == 0)
        out.deviceMatrix.insert(out.deviceMatrix.begin() + static_cast<std::ptrdiff_t>(below(out.deviceMatrix.size() + 1)), 1);
    out.tensorMap.resize(dimensions);
    std::vector<std::uint32_t> axes(out.deviceMatrix.size());
    for (std::uint32_t i = 0; i < axes.size(); ++i)
        axes[i] = i;
    std::shuffle(axes.begin(), axes.end(), random);
    const bool mayHaveSeveral = below(3) == 0;
    for (const std::uint32_t axis : axes) {
        if (dimensions == 0 || below(2) == 0)
            continue;
        auto& dimension = out.tensorMap[below(dimensions)];
        if (dimension.empty() || mayHaveSeveral)
            dimension.push_back(axis);
        out.isMultiAxis = out.isMultiAxis || dimension.size() > 1;
    }
    if (!mayShard || dimensions == 0 || below(2) == 0)
        return out;
    std::uint64_t repeated = devices;
    for (const auto& dimension : out.tensorMap)
        for (const std::uint32_t axis : dimension)
            repeated /= out.deviceMatrix[out.deviceMatrix.size() - 1 - axis];
    std::vector<std::int32_t> sizes{-1};
    for (std::uint64_t k = 1; k <= repeated; ++k)
        if (repeated % k == 0)
            sizes.push_back(static_cast<std::int32_t>(k));
    out.optShardStep = 1;
    out.optShardSize = sizes[below(sizes.size())];
    return out;
}

} // namespace shardlens::test
