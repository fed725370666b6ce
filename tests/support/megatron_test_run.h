#pragma once

#include "tests/support/torch_test_file.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace shardlens::test {

// Rank files of Megatron-LM with their optimizer, written after the pseudo code of formats/megatron.md §8.2 and §4.2. Tensors are float32, but for `half`.
struct MegatronTestRun {
    enum class Optimizer { None, Padded, Buckets, Coalesced, Plain };
    Optimizer optimizer = Optimizer::Coalesced;
    std::uint32_t tp = 1;
    std::uint32_t pp = 1;
    std::uint32_t ep = 1;
    std::uint32_t chunks = 1; // virtual pipeline
    std::uint64_t dp = 2;
    std::uint64_t layers = 2;
    std::uint64_t hidden = 6;
    std::uint64_t ffn = 10;
    std::uint64_t vocabulary = 16;
    std::uint64_t experts = 0;
    std::optional<std::uint64_t> bucketSize;
    bool tied = false;
    bool chained = true;   // experts have an optimizer of their own
    bool aligned = true;   // 64 elements; else as before July 2024
    bool half = false;     // with Plain: the model is bfloat16 (cut off, not rounded) but for its routers, and there are fp32 masters of what is
    bool saysRanks = true; // args have data_parallel_size
    std::vector<std::pair<std::string, Py>> arguments; // more of them
    // What becomes of the states of a rank before they are written; `file` is "mp_rank_01/distrib_optim.pt".
    std::function<void(const std::string& file, Py& root)> change;

    // Writes `root`/iter_0000003/….
    void write(const std::string& root) const;

    struct Parameter {
        std::string name;
        std::vector<std::uint64_t> shape;
        std::optional<std::size_t> dim; // that is cut over the tensor-parallel ranks
        std::uint64_t segments = 1;
        std::size_t number = 0;
    };
    // Of the whole model, in its order.
    [[nodiscard]] std::vector<Parameter> parameters() const;
    // All values of "module", "param", "exp_avg" or "exp_avg_sq".
    [[nodiscard]] static std::vector<float> whole(const Parameter& parameter, const std::string& state);
};

// One parameter of a flat buffer and where it lies: by the letter of §8.2.
struct FlatPlace {
    std::size_t bucket = 0;
    std::uint64_t begin = 0; // of the whole buffer
};
struct FlatBucket {
    std::uint64_t begin = 0;
    std::uint64_t paddedEnd = 0;
    std::uint64_t unpadded = 0;
};
struct FlatReference {
    std::vector<FlatPlace> places; // in registration order
    std::vector<FlatBucket> buckets;
};
// `sizes` in registration order; `shared` the index of the shared embedding.
[[nodiscard]] FlatReference flatReference(const std::vector<std::uint64_t>& sizes, std::optional<std::size_t> shared, std::uint64_t dp, std::optional<std::uint64_t> bucketSize,
                                          bool aligned);

} // namespace shardlens::test
