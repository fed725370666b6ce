#pragma once

#include "core/encoding/value_reader.h"
#include "core/layout/selection.h"
#include "core/numeric/quant_scheme.h"
#include "tests/core/convert/convert_fixture.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace shardlens::test {

inline std::vector<float> normalValues(std::size_t count, std::uint32_t seed)
{
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 0.05f);
    std::vector<float> out(count);
    std::generate(out.begin(), out.end(), [&] { return normal(random); });
    return out;
}

class QuantizeTest : public ConvertTest {
protected:
    // Two Linear weights, an embedding tied to the head, a norm, a bias and an integer table.
    CheckpointPtr model()
    {
        m_up = normalValues(48 * 256, 1);
        m_down = normalValues(9 * 128, 2);
        return tiny({{"embed_tokens.weight", DType::F32, {16, 128}, bytesOfFloats(normalValues(16 * 128, 9))},
                     {"layers.0.up_proj.weight", DType::F32, {48, 256}, bytesOfFloats(m_up)},
                     {"layers.0.down_proj.weight", DType::F32, {9, 128}, bytesOfFloats(m_down)},
                     {"layers.0.norm.weight", DType::F32, {128}},
                     {"layers.0.up_proj.bias", DType::F32, {48}},
                     {"layers.0.table.weight", DType::I32, {4, 4}}},
                    {{"lm_head.weight", "embed_tokens.weight"}});
    }

    [[nodiscard]] ConvertRequest quantize(const std::string& scheme, const std::string& target = "out", const std::string& to = "safetensors") const
    {
        ConvertRequest out = request(target, to);
        out.quantize.scheme = scheme;
        out.verify = true;
        return out;
    }

    [[nodiscard]] std::string refusal(const ConvertRequest& wish) { return refusal(model(), wish); }
    [[nodiscard]] static std::string refusal(const CheckpointPtr& source, const ConvertRequest& wish)
    {
        const auto made = plan(source, wish);
        return made ? "nothing" : made.error().text();
    }

    // Values of a tensor of a result, dequantized.
    [[nodiscard]] std::vector<float> dequantized(const std::string& target, const std::string& name) const
    {
        JobContext job;
        const auto opened = openCheckpoint(path(target), {.dequantize = true}, job);
        EXPECT_TRUE(opened) << opened.error().text();
        const ValueReader reader(*opened);
        for (const SelectedTensor& selected : selectTensors(**opened, {}))
            if (selected.name == name) {
                std::vector<float> out(elementCount((*opened)->tensor(selected.tensor).shape).value());
                CastCounts lost;
                const auto read = reader.readAt(selected.tensor, DType::F32, 0, std::as_writable_bytes(std::span(out)), lost);
                EXPECT_TRUE(read) << read.error().text();
                return out;
            }
        ADD_FAILURE() << name << " is not there";
        return {};
    }

    std::vector<float> m_up;
    std::vector<float> m_down;
};

// In dB.
inline double signalToNoise(const std::vector<float>& wanted, const std::vector<float>& found)
{
    double signal = 0;
    double noise = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        signal += double{wanted[i]} * wanted[i];
        noise += (double{wanted[i]} - found[i]) * (double{wanted[i]} - found[i]);
    }
    return 10 * std::log10(signal / noise);
}

// All but the one that only rank files are made in.
inline std::vector<const QuantScheme*> schemes()
{
    std::vector<const QuantScheme*> out;
    for (const QuantScheme& one : quantSchemes())
        if (one.name != "sdloader-int8")
            out.push_back(&one);
    return out;
}

} // namespace shardlens::test
