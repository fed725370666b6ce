#include "core/format/megatron/buffer_layout.h"

#include "tests/support/megatron_test_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace shardlens::megatron {
namespace {

using test::flatReference;
using test::FlatReference;
using testing::ElementsAre;
using testing::HasSubstr;
using Kind = BufferLengths::Kind;

std::vector<BufferParameter> parametersOf(const std::vector<std::uint64_t>& sizes, std::optional<std::size_t> shared = {})
{
    std::vector<BufferParameter> out;
    for (std::size_t i = 0; i < sizes.size(); ++i)
        out.push_back({sizes[i], shared == i});
    return out;
}

std::vector<std::uint64_t> paddedOf(const FlatReference& reference)
{
    std::vector<std::uint64_t> out;
    for (const auto& bucket : reference.buckets)
        out.push_back(bucket.paddedEnd - bucket.begin);
    return out;
}

std::vector<std::uint64_t> unpaddedOf(const FlatReference& reference)
{
    std::vector<std::uint64_t> out;
    for (const auto& bucket : reference.buckets)
        out.push_back(bucket.unpadded);
    return out;
}

// The examples of formats/megatron.md §8.2: sizes in registration order, offsets of each in the coalesced vector.
struct Example {
    const char* name;
    std::vector<std::uint64_t> sizes;
    std::optional<std::size_t> shared;
    std::uint64_t dataParallel;
    std::optional<std::uint64_t> bucketSize;
    std::vector<std::uint64_t> padded;
    std::vector<std::uint64_t> unpadded;
    std::vector<std::uint64_t> offsets;
};

class LayoutExamples : public testing::TestWithParam<Example> {};

TEST_P(LayoutExamples, PlaceAsTheReferenceSays)
{
    const Example& row = GetParam();
    const auto parameters = parametersOf(row.sizes, row.shared);
    const auto layout = layOutBuffer(parameters, {64, row.bucketSize, false, true});
    ASSERT_TRUE(layout);
    EXPECT_EQ(layout->unpadded, row.unpadded);
    EXPECT_EQ(layout->begins(), row.offsets);
    const BufferArguments arguments{row.dataParallel, row.bucketSize, row.bucketSize.has_value(), true, row.shared.has_value()};
    const auto buckets = chooseBufferLayout(parameters, {Kind::Buckets, row.padded, row.unpadded}, arguments);
    ASSERT_TRUE(buckets) << buckets.error().text();
    EXPECT_EQ(buckets->places, layout->places);
    const auto coalesced = chooseBufferLayout(parameters, {Kind::Coalesced, {layout->length()}, {}}, arguments);
    ASSERT_TRUE(coalesced) << coalesced.error().text();
    EXPECT_EQ(coalesced->begins(), row.offsets);
    EXPECT_EQ(paddedOf(flatReference(row.sizes, row.shared, row.dataParallel, row.bucketSize, true)), row.padded); // the tests' own writer agrees
}

INSTANTIATE_TEST_SUITE_P(Buffer, LayoutExamples,
                         testing::Values(Example{"OneBucket", {100, 10, 7}, {}, 2, {}, {256}, {228}, {128, 64, 0}},
                                         Example{"ThreeRanks", {100, 10, 7}, {}, 3, {}, {384}, {228}, {128, 64, 0}},
                                         Example{"TwoBuckets", {70, 50, 60}, {}, 2, 100, {128, 128}, {114, 70}, {114, 64, 0}},
                                         Example{"SharedEmbedding", {130, 100, 7}, 0, 2, {}, {256, 256}, {192, 130}, {192, 64, 0}}),
                         [](const auto& info) { return info.param.name; });

std::string refusal(const std::vector<std::uint64_t>& sizes, const BufferLengths& found, const BufferArguments& arguments)
{
    const auto chosen = chooseBufferLayout(parametersOf(sizes), found, arguments);
    return chosen ? "chosen" : chosen.error().text();
}

TEST(Buffer, ALengthThatNoLayoutHasIsRefusedWithTheLengthsExpected)
{
    EXPECT_EQ(refusal({100, 10, 7}, {Kind::Coalesced, {229}, {}}, {2, {}, false, true, false}),
              "it holds 229 elements, and 3 parameters need 228 (every 64 elements, one bucket), 117 (end to end, one bucket); parameters that do not train, "
              "or another order, would explain it");
    EXPECT_THAT(refusal({100, 10, 7}, {Kind::Padded, {119}, {}}, {2, {}, false, true, false}),
                HasSubstr("it holds 119 elements, and 3 parameters need 117 (end to end, one bucket) before padding"));
    EXPECT_THAT(refusal({100, 10, 7}, {Kind::Buckets, {128, 128}, {}}, {2, {}, false, true, false}), HasSubstr("it holds 128 + 128 elements"));
    EXPECT_THAT(refusal({100, 10, 7}, {Kind::Buckets, {256}, {227}}, {2, {}, false, true, false}), HasSubstr("it holds 256 elements"));
    EXPECT_THAT(refusal({~0ull, 10}, {Kind::Coalesced, {10}, {}}, {2, {}, false, true, false}), HasSubstr("more than 2^64"));
}

// Padded to 128 the lengths do not tell whether parameters begin every 64 elements; what the file calls unpadded does.
TEST(Buffer, TwoLayoutsThatPlaceDifferentlyAreRefused)
{
    const BufferArguments arguments{2, {}, false, true, false};
    EXPECT_EQ(refusal({60, 60, 60}, {Kind::Buckets, {256}, {}}, arguments),
              "two layouts agree with its 256 elements and place the parameters differently (every 64 elements, one bucket; end to end, one bucket), so which "
              "bytes are whose cannot be told");
    const auto parameters = parametersOf({60, 60, 60});
    const auto aligned = chooseBufferLayout(parameters, {Kind::Buckets, {256}, {188}}, arguments);
    ASSERT_TRUE(aligned) << aligned.error().text();
    EXPECT_THAT(aligned->begins(), ElementsAre(128, 64, 0));
    const auto packed = chooseBufferLayout(parameters, {Kind::Buckets, {256}, {180}}, arguments);
    ASSERT_TRUE(packed) << packed.error().text();
    EXPECT_THAT(packed->begins(), ElementsAre(120, 60, 0));
}

// Without a word on tying, a bucket may end behind the last parameter or not: 100 elements that fill no block of 64.
TEST(Buffer, WhetherAnEmbeddingIsSharedIsToldByLengths)
{
    const auto parameters = parametersOf({7, 100}, 1);
    const auto shared = chooseBufferLayout(parameters, {Kind::Coalesced, {107}, {}}, {2, {}, false, true, true});
    ASSERT_TRUE(shared) << shared.error().text();
    EXPECT_THAT(shared->begins(), ElementsAre(100, 0));
    const auto untold = chooseBufferLayout(parameters, {Kind::Coalesced, {135}, {}}, {2, {}, false, true, std::nullopt});
    ASSERT_TRUE(untold) << untold.error().text();
    EXPECT_THAT(untold->begins(), ElementsAre(128, 0));
}

// Buckets came after padded buffers: in those a tied embedding lies among the others.
TEST(Buffer, APaddedBufferHasNoBucketOfASharedEmbedding)
{
    const auto layout = chooseBufferLayout(parametersOf({130, 100, 7}, 0), {Kind::Padded, {238}, {}}, {2, {}, false, true, true});
    ASSERT_TRUE(layout) << layout.error().text();
    EXPECT_EQ(layout->unpadded.size(), 1u);
    EXPECT_THAT(layout->begins(), ElementsAre(107, 7, 0));
}

TEST(Buffer, PaddingIsThatOfTheRanksThatAreSaidOrOfAnyWhereNoneAre)
{
    const std::vector<std::uint64_t> sizes{100, 10, 7};
    EXPECT_EQ(refusal(sizes, {Kind::Padded, {119}, {}}, {7, {}, false, true, false}), "chosen"); // 17 x 7
    EXPECT_EQ(refusal(sizes, {Kind::Padded, {117}, {}}, {8, {}, false, true, false}), "chosen");
    EXPECT_THAT(refusal(sizes, {Kind::Padded, {121}, {}}, {8, {}, false, true, false}), HasSubstr("117"));
    EXPECT_EQ(refusal(sizes, {Kind::Padded, {119}, {}}, {std::nullopt, {}, {}, true, {}}), "chosen");
    EXPECT_THAT(refusal(sizes, {Kind::Buckets, {65536}, {228}}, {2, {}, false, true, false}), "chosen"); // pad_buckets_for_high_nccl_busbw
    EXPECT_THAT(refusal(sizes, {Kind::Padded, {119}, {}}, {~0ull, {}, false, true, false}), HasSubstr("117"));
}

TEST(Buffer, BucketsOfArgumentsThatSayNothingAreTriedToo)
{
    const auto layout = chooseBufferLayout(parametersOf({70, 50, 60}), {Kind::Buckets, {128, 128}, {114, 70}}, {std::nullopt, 100, {}, true, {}});
    ASSERT_TRUE(layout) << layout.error().text();
    EXPECT_THAT(layout->begins(), ElementsAre(114, 64, 0));
    // a later stage has one bucket, unless its lengths say otherwise
    EXPECT_EQ(refusal({70, 50, 60}, {Kind::Buckets, {128, 128}, {114, 70}}, {2, 100, true, false, false}), "chosen");
}

TEST(Buffer, RandomSizesLieWhereTheReferenceHasThem)
{
    std::mt19937 random(7);
    const auto upTo = [&](std::uint64_t most) { return random() % (most + 1); };
    for (int round = 0; round < 500; ++round) {
        std::vector<std::uint64_t> sizes(1 + upTo(11));
        for (std::uint64_t& size : sizes)
            size = 1 + upTo(200);
        const bool aligned = upTo(1) == 0;
        const std::uint64_t dp = 1 + upTo(8);
        const auto bucketSize = upTo(1) == 0 ? std::optional<std::uint64_t>(1 + upTo(400)) : std::nullopt;
        const auto shared = upTo(2) == 0 ? std::optional<std::size_t>(upTo(sizes.size() - 1)) : std::nullopt;
        const FlatReference reference = flatReference(sizes, shared, dp, bucketSize, aligned);
        const auto layout = layOutBuffer(parametersOf(sizes, shared), {aligned ? 64u : 1u, bucketSize, !aligned, true});
        ASSERT_TRUE(layout);
        ASSERT_EQ(layout->unpadded, unpaddedOf(reference)) << round;
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            ASSERT_EQ(layout->places[i].bucket, reference.places[i].bucket) << round;
            ASSERT_EQ(layout->places[i].begin + reference.buckets[layout->places[i].bucket].begin, reference.places[i].begin) << round;
        }
    }
}

} // namespace
} // namespace shardlens::megatron
