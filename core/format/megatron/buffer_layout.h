#pragma once

#include "core/base/result.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace shardlens::megatron {

// A parameter of a flat buffer of the distributed optimizer. Always in the order in which the model registers them; the buffer has them reversed.
struct BufferParameter {
    std::uint64_t count = 0; // elements
    bool isShared = false;   // a tied embedding of a pipeline: a bucket of its own
};

// How Megatron-LM lays a buffer out (formats/megatron.md §8.2).
struct BufferRule {
    std::uint64_t alignment = 64;            // of every parameter's begin; 1 before July 2024
    std::optional<std::uint64_t> bucketSize; // elements after which a bucket is closed; nothing: one bucket
    bool needsTwo = false;                   // a bucket of one parameter is not closed for its size (core 0.4, 0.5)
    bool splitsShared = true;                // BufferParameter::isShared counts
};

struct BufferLayout {
    struct Place {
        std::size_t bucket = 0;
        std::uint64_t begin = 0; // in its bucket
        bool operator==(const Place&) const = default;
    };
    std::vector<Place> places;           // one a parameter
    std::vector<std::uint64_t> unpadded; // elements of each bucket up to the end of its last parameter, or up to where it was closed
    BufferRule rule;

    // The sum of `unpadded`: the length of a coalesced vector.
    [[nodiscard]] std::uint64_t length() const;
    // Where each parameter begins in a coalesced vector.
    [[nodiscard]] std::vector<std::uint64_t> begins() const;
};

// The size of buckets where none is given by hand.
[[nodiscard]] std::uint64_t usualBucketSize(std::uint64_t dataParallel);
// Nothing where a number does not fit.
[[nodiscard]] std::optional<BufferLayout> layOutBuffer(std::span<const BufferParameter> parameters, const BufferRule& rule);

// What the run's arguments say about its buffers.
struct BufferArguments {
    std::optional<std::uint64_t> dataParallel;  // ranks that share the buffer
    std::optional<std::uint64_t> ddpBucketSize; // given by hand
    std::optional<bool> overlaps;               // overlap_grad_reduce: more buckets than one
    bool isFirst = true;                        // first pipeline stage and first chunk; others have one bucket
    std::optional<bool> isTied;                 // of a pipeline: whether shared embeddings have buckets of their own
};

// What a file says about a buffer: the lengths of its vectors, of one that has all buckets (coalesced or padded) or of one a bucket.
struct BufferLengths {
    enum class Kind : std::uint8_t { Coalesced, Padded, Buckets };
    Kind kind = Kind::Coalesced;
    std::vector<std::uint64_t> lengths;
    std::vector<std::uint64_t> unpadded; // what the file calls so, by bucket; empty where it does not say
};

// The one layout that agrees with the lengths: of those that the arguments allow, else of the others. Refused: none (with the found and the expected
// lengths), or several that place parameters differently.
[[nodiscard]] Result<BufferLayout> chooseBufferLayout(std::span<const BufferParameter> parameters, const BufferLengths& found, const BufferArguments& arguments);

} // namespace shardlens::megatron
