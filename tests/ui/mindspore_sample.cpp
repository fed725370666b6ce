#include "tests/ui/mindspore_sample.h"

#include "core/encoding/mindspore_writer.h"
#include "core/layout/strategy_boxes.h"
#include "core/layout/strategy_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace shardlens::ui::test {
namespace {

void writeBytes(const std::string& path, std::string_view bytes)
{
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::vector<float> valuesOf(std::size_t number, const Shape& shape, const Box& box)
{
    std::vector<float> out;
    forEachRun(BoxView(box), shape, [&](FlatRange run) {
        for (std::uint64_t i = run.begin; i < run.end; ++i)
            out.push_back(static_cast<float>(number) + static_cast<float>(i) / 1000.0F);
    });
    return out;
}

void writeRankFile(const std::string& path, const std::vector<mindspore::CkptOutput>& outputs, const std::vector<std::vector<float>>& values, std::uint64_t recordBytes)
{
    const auto layout = mindspore::layOutCkpt(outputs, recordBytes);
    ASSERT_TRUE(layout) << layout.error().text();
    std::string bytes(layout->sizeBytes, '\0');
    for (const mindspore::CkptLiteral& literal : layout->literals)
        std::memcpy(bytes.data() + literal.offset, literal.bytes.data(), literal.bytes.size());
    for (const mindspore::CkptRun& run : layout->runs)
        std::memcpy(bytes.data() + run.offset, reinterpret_cast<const char*>(values[run.entry].data()) + run.firstByte, run.length);
    writeBytes(path, bytes);
}

MindSporeSample sampleOver(const Shape& matrix)
{
    return {{{"embed.weight", {16, 12}, layoutOf(matrix, {{0}, {}}), 0},
             {"dense.weight", {8, 12}, layoutOf(matrix, {{1}, {0}}), 0},
             {"norm.gamma", {12}, layoutOf(matrix, {{}}), 0},
             {"global_step", {1}, {}, 0}},
            1,
            {},
            {}};
}

} // namespace

mindspore::ParameterLayout layoutOf(const Shape& deviceMatrix, std::vector<std::vector<std::uint32_t>> tensorMap)
{
    mindspore::ParameterLayout out;
    out.deviceMatrix = deviceMatrix;
    out.tensorMap = std::move(tensorMap);
    return out;
}

MindSporeSample MindSporeSample::eight()
{
    return sampleOver({2, 4});
}

MindSporeSample MindSporeSample::four()
{
    return sampleOver({2, 2});
}

MindSporeSample MindSporeSample::of(const Shape& deviceMatrix, const Shape& shape, std::vector<std::vector<std::uint32_t>> tensorMap)
{
    return {{{"w", shape, layoutOf(deviceMatrix, std::move(tensorMap)), 0}}, 1, {}, {}};
}

mindspore::Strategy MindSporeSample::strategy() const
{
    mindspore::StrategyParts parts;
    parts.name = "strategy.ckpt";
    parts.isMerged = stages > 1;
    for (const Parameter& parameter : parameters)
        if (!parameter.layout.deviceMatrix.empty())
            parts.parameters.push_back({parameter.name, parameter.stage, parameter.layout, parameter.shape});
    for (std::uint32_t stage = 0; stage < stages; ++stage)
        parts.operators.push_back({"MatMul-op" + std::to_string(stage), stage, {{1, 1}}});
    auto made = mindspore::Strategy::make(std::move(parts));
    EXPECT_TRUE(made) << made.error().text();
    return made.take();
}

void MindSporeSample::writeRun(const std::string& folder) const
{
    const mindspore::Strategy made = strategy();
    for (std::uint32_t rank = 0; rank < made.worldSize(); ++rank) {
        if (missing.contains(rank))
            continue;
        std::vector<mindspore::CkptOutput> outputs;
        std::vector<std::vector<float>> values;
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            const Parameter& parameter = parameters[i];
            const bool isListed = !parameter.layout.deviceMatrix.empty();
            if ((isListed && parameter.stage != made.stageOf(rank)) || stripped.contains({rank, parameter.name}))
                continue;
            const Box box = isListed ? mindspore::boxOf(parameter.layout, parameter.shape, made.localRankOf(rank)).take() : Box{Shape(parameter.shape.size(), 0), parameter.shape};
            auto output = mindspore::outputTensor(parameter.name, DType::F32, box.extent);
            ASSERT_TRUE(output) << output.error().text();
            outputs.push_back(output.take());
            values.push_back(valuesOf(i, parameter.shape, box));
        }
        const std::string number = std::to_string(rank);
        writeRankFile(folder + "/rank_" + number + "/net_rank_" + number + ".ckpt", outputs, values, recordBytes);
    }
}

void MindSporeSample::writeStrategy(const std::string& path) const
{
    const auto bytes = mindspore::strategyBytesFor(strategy(), path);
    ASSERT_TRUE(bytes) << bytes.error().text();
    writeBytes(path, *bytes);
}

} // namespace shardlens::ui::test
