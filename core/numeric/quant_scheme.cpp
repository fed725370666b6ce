#include "core/numeric/quant_scheme.h"

#include "core/base/nearest.h"
#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <tuple>

namespace shardlens {
namespace {

using enum QuantFamily;
using enum CodeKind;
using enum ScaleScope;

constexpr std::uint32_t kBlockSide = 128;

constexpr const char* kInt8Dynamic = "int-quantized";
constexpr const char* kPacked = "pack-quantized";
constexpr const char* kFp8Dynamic = "float-quantized";

constexpr std::array<QuantScheme, 23> kSchemes{{
    {"int8-channel", CompressedTensors, kInt8Dynamic, Int, 8, Channel, 0, true, false, ScaleKind::Weight, "INT8, a scale a row", "The usual W8A8: weights and activations in 8 bits, for servers with INT8 kernels."},
    {"int8-tensor", CompressedTensors, kInt8Dynamic, Int, 8, ScaleScope::Tensor, 0, true, false, ScaleKind::Weight, "INT8, one scale a tensor", "Smallest scales; one outlier costs the whole tensor precision."},
    {"int8-channel-asym", CompressedTensors, kInt8Dynamic, Int, 8, Channel, 0, false, false, ScaleKind::Weight, "INT8, a scale and zero point a row", "For rows whose values lie on one side of zero."},
    {"int8-tensor-asym", CompressedTensors, kInt8Dynamic, Int, 8, ScaleScope::Tensor, 0, false, false, ScaleKind::Weight, "INT8, one scale and zero point a tensor", "For tensors whose values lie on one side of zero."},
    {"int8-g128", CompressedTensors, kPacked, Int, 8, Group, 128, true, true, ScaleKind::Weight, "INT8, groups of 128", "W8A16: 8-bit weights with little loss, activations stay."},
    {"int4-g32", CompressedTensors, kPacked, Int, 4, Group, 32, true, true, ScaleKind::Weight, "INT4, groups of 32", "The most precise INT4: 4.5 bits a value."},
    {"int4-g64", CompressedTensors, kPacked, Int, 4, Group, 64, true, true, ScaleKind::Weight, "INT4, groups of 64", "4.25 bits a value."},
    {"int4-g128", CompressedTensors, kPacked, Int, 4, Group, 128, true, true, ScaleKind::Weight, "INT4, groups of 128", "The usual W4A16: 4.125 bits a value."},
    {"int4-channel", CompressedTensors, kPacked, Int, 4, Channel, 0, true, true, ScaleKind::Weight, "INT4, a scale a row", "Small and coarse: expect loss of quality."},
    {"int4-g32-asym", CompressedTensors, kPacked, Int, 4, Group, 32, false, true, ScaleKind::Weight, "INT4 with zero points, groups of 32", "A little more precise than symmetric."},
    {"int4-g64-asym", CompressedTensors, kPacked, Int, 4, Group, 64, false, true, ScaleKind::Weight, "INT4 with zero points, groups of 64", "A little more precise than symmetric."},
    {"int4-g128-asym", CompressedTensors, kPacked, Int, 4, Group, 128, false, true, ScaleKind::Weight, "INT4 with zero points, groups of 128", "A little more precise than symmetric."},
    {"fp8-tensor", CompressedTensors, kFp8Dynamic, E4M3, 8, ScaleScope::Tensor, 0, true, false, ScaleKind::Weight, "FP8 E4M3, one scale a tensor", "8 bits for servers with FP8 kernels."},
    {"fp8-channel", CompressedTensors, kFp8Dynamic, E4M3, 8, Channel, 0, true, false, ScaleKind::Weight, "FP8 E4M3, a scale a row", "FP8_DYNAMIC of today's servers."},
    {"fp8-block128", CompressedTensors, kFp8Dynamic, E4M3, 8, Block, kBlockSide, true, false, ScaleKind::Weight, "FP8 E4M3, blocks of 128 × 128", "DeepSeek's granularity."},
    {"mxfp4", CompressedTensors, "mxfp4-pack-quantized", E2M1, 4, Group, 32, true, true, ScaleKind::E8M0, "MXFP4, groups of 32", "Microscaling FP4: 4.25 bits a value."},
    {"mxfp8", CompressedTensors, "mxfp8-quantized", E4M3, 8, Group, 32, true, false, ScaleKind::E8M0, "MXFP8, groups of 32", "Microscaling FP8: 8.25 bits a value."},
    {"nvfp4", CompressedTensors, "nvfp4-pack-quantized", E2M1, 4, Group, 16, true, true, ScaleKind::E4M3, "NVFP4, groups of 16", "FP4 with FP8 scales: 4.5 bits a value."},
    {"nf4", BitsAndBytes, "nf4", Book, 4, Flat, 64, true, false, ScaleKind::Absmax, "NF4, blocks of 64", "QLoRA's 4 bits: 4.5 bits a value."},
    {"fp4", BitsAndBytes, "fp4", Book, 4, Flat, 64, true, false, ScaleKind::Absmax, "FP4 of bitsandbytes, blocks of 64", "Coarser than NF4, for tools that want it."},
    {"llm-int8", BitsAndBytes, "int8", Int, 8, Channel, 0, true, false, ScaleKind::Absmax, "LLM.int8(), a scale a row", "bitsandbytes' 8 bits."},
    {"deepspeed-int8", DeepSpeed, "deepspeed-int8", Int, 8, Pieces, 0, true, false, ScaleKind::Multiplier, "DeepSpeed INT8, as many groups as you say", "WeightQuantization's arithmetic; --groups N."},
    {"sdloader-int8", DeepSpeed, "sdloader-int8", Int, 8, Pieces, 0, true, false, ScaleKind::Multiplier, "MegatronSDLoader's INT8", "What the loader makes of rank files, with its scales beside the module; --to sdloader only."},
}};

} // namespace

const char* nameOf(QuantFamily family)
{
    switch (family) {
    case QuantFamily::CompressedTensors: return "compressed-tensors";
    case QuantFamily::BitsAndBytes: return "bitsandbytes";
    case QuantFamily::DeepSpeed: return "deepspeed";
    }
    return "";
}

std::span<const QuantScheme> quantSchemes()
{
    return kSchemes;
}

const QuantScheme* quantSchemeByName(std::string_view name)
{
    const auto schemes = quantSchemes();
    const auto at = std::find_if(schemes.begin(), schemes.end(), [wanted = lowerCase(name)](const QuantScheme& one) { return one.name == wanted; });
    return at == schemes.end() ? nullptr : &*at;
}

std::string unknownSchemeText(std::string_view name)
{
    struct Near {
        bool isOther = true; // it does not begin with what was asked for
        std::size_t distance = 0;
        std::string_view name;
    };
    std::vector<Near> near;
    const std::string asked = lowerCase(name);
    for (const QuantScheme& scheme : kSchemes)
        near.push_back({!scheme.name.starts_with(asked), asked.empty() ? 0 : editDistance(asked, scheme.name, name.size() + scheme.name.size()), scheme.name});
    std::stable_sort(near.begin(), near.end(), [](const Near& a, const Near& b) { return std::tie(a.isOther, a.distance) < std::tie(b.isOther, b.distance); });
    std::string rest;
    for (const Near& other : near)
        rest += fmt::format("{}{}", rest.empty() ? "" : ", ", other.name);
    return fmt::format("no scheme is called '{}'; there are, the nearest first: {}", printable(name), rest);
}

} // namespace shardlens
