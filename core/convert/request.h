#pragma once

#include "core/base/result.h"
#include "core/layout/selection.h"
#include "core/model/dtype.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shardlens {

constexpr std::uint64_t kDefaultMemoryLimit = 256ull * 1024 * 1024;
constexpr std::uint64_t kDefaultShardBytes = 5'000'000'000; // Hugging Face's "5GB"

// A conversion as somebody asked for it: the content of a job document (resources/job.schema.json).
struct ConvertRequest {
    std::string source;
    std::string target;            // a folder, or a file where its name ends in .safetensors .sft .pt .pth .bin
    std::optional<std::string> to; // format id; nothing: the source's own format
    std::optional<std::string> tag;
    Select select = Select::Weights;
    std::optional<DType> dtype;    // floating-point tensors are cast to it
    std::vector<std::string> include;
    std::vector<std::string> exclude;
    std::optional<std::uint64_t> maxShardBytes;
    std::uint64_t memoryLimit = kDefaultMemoryLimit;
    std::uint32_t threads = 0;     // 0: as many as the process may use
    bool verify = false;
    bool overwrite = false;

    auto operator<=>(const ConvertRequest&) const = default;
};

// JSON: {"shardlens_job": 1, "source": …}. Unknown members, wrong types and newer versions are refused by name.
[[nodiscard]] Result<ConvertRequest> requestFromJson(std::string_view text);
[[nodiscard]] std::string requestToJson(const ConvertRequest& request);
// The equivalent `shardlens convert …`, quoted for a shell.
[[nodiscard]] std::string commandLineOf(const ConvertRequest& request);

} // namespace shardlens
