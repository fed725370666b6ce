#pragma once

#include "core/base/result.h"
#include "core/format/open_options.h"
#include "core/layout/selection.h"
#include "core/model/dtype.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shardlens {

constexpr std::uint64_t kDefaultMemoryLimit = 256ull * 1024 * 1024;
constexpr std::uint64_t kDefaultShardBytes = 5'000'000'000; // Hugging Face's "5GB"
constexpr int kJobVersion = 1;

// How weights are to be quantized (conformance/quantization/README.md).
struct QuantizeRequest {
    std::optional<std::string> scheme;     // of the weights of Linear layers
    std::vector<std::string> include;      // patterns of names, instead of that rule
    std::vector<std::string> exclude;
    std::vector<std::string> tensorTypes;  // "RE=SCHEME": other schemes for some
    std::optional<std::uint64_t> groups;   // DeepSpeed's: nothing is kDefaultQuantGroups (core/numeric/quant_scheme.h)
    std::optional<std::uint32_t> bits;     // sdloader-int8: nothing is 8
    bool mlpExtraGrouping = true;          // sdloader-int8: twice the groups for what looks like an MLP weight
    bool keepNonFinite = false;            // a weight with a NaN or an infinity stays as it is; else it is refused

    [[nodiscard]] bool isAsked() const { return scheme.has_value() || !tensorTypes.empty(); }
    auto operator<=>(const QuantizeRequest&) const = default;
};

// A conversion as somebody asked for it: the content of a job document (resources/job.schema.json).
struct ConvertRequest {
    std::string source;
    std::string target;            // a folder, or a file where its name ends in .safetensors .sft .pt .pth .bin .ckpt
    std::optional<std::string> to; // format id; nothing: what the target's name says, else the source's own format
    OpenOptions open;              // how the source is to be opened
    std::optional<Select> select; // nothing: weights; everything for formats that exist to be resumed
    std::optional<DType> dtype;    // floating-point tensors are cast to it
    QuantizeRequest quantize;
    std::vector<std::string> include;
    std::vector<std::string> exclude;
    std::optional<std::uint64_t> maxShardBytes;
    std::uint64_t memoryLimit = kDefaultMemoryLimit;
    std::uint32_t threads = 0;     // 0: as many as the process may use
    std::string device = "auto";   // where weights are quantized: "cpu", "cuda:0", "cuda:0,cuda:1", or "auto" (core/compute/devices.h)
    std::optional<std::string> strategy;     // MindSpore: the strategy file of the target, or the folder of its stages' files; nothing: the whole model in one file
    std::optional<std::string> prefix;       // MindSpore, ColossalAI: what the names of files begin with
    std::optional<std::string> outputFormat; // MindSpore: "ckpt" or "safetensors", ColossalAI: "bin" or "safetensors"; nothing: the source's, or the first
    std::optional<std::uint32_t> dp;        // target data-parallel size; nothing: the source's
    std::optional<std::uint32_t> tp;        // target tensor-parallel size; nothing: the source's
    std::optional<std::uint32_t> pp;        // target pipeline stages; nothing: the source's
    std::optional<std::uint32_t> ep;        // target expert-parallel size; nothing: the source's
    std::optional<std::uint32_t> rank;      // only the files of that target rank
    std::optional<std::uint32_t> zeroStage; // target ZeRO stage; nothing: the source's
    bool keepObjects = false;               // objects of unknown classes go into the result as they are
    bool verify = false;
    bool overwrite = false;

    auto operator<=>(const ConvertRequest&) const = default;
};

// What the request selects where the source's format does not decide: what it says, else the default of the format that it names.
[[nodiscard]] Select chosen(const ConvertRequest& request);

// JSON: {"shardlens_job": 1, "source": …}. Unknown members, wrong types and newer versions are refused by name.
// Sizes are bytes, or text with a unit ("5GB"). Paths are as written: relative ones count from the working directory.
[[nodiscard]] Result<ConvertRequest> requestFromJson(std::string_view text);
// Members that hold a default are left out, but for those that say what the job is.
[[nodiscard]] std::string requestToJson(const ConvertRequest& request);
// The equivalent `shardlens convert …`, quoted for a shell.
[[nodiscard]] std::string commandLineOf(const ConvertRequest& request);
// Eight hexadecimal digits that tell jobs apart: the same for equal requests.
[[nodiscard]] std::string jobHash(const ConvertRequest& request);

} // namespace shardlens
