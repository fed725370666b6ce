#include "core/convert/plan_shards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardlens {
namespace {

// "a6 b6 c2": names and sizes; "b=a" is a tie of b to a.
std::vector<OutputTensor> tensorsOf(const std::string& text)
{
    std::vector<OutputTensor> out;
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        const std::string word = text.substr(at, end - at);
        at = end + 1;
        const std::size_t tie = word.find('=');
        if (tie != std::string::npos) {
            for (const OutputTensor& tensor : std::vector(out))
                if (tensor.name == word.substr(tie + 1))
                    out.push_back({word.substr(0, tie), tensor.source, tensor.dtype, tensor.sizeBytes, 0, true});
            continue;
        }
        const std::size_t digits = word.find_first_of("0123456789");
        out.push_back({word.substr(0, digits), idAt<TensorId>(out.size()), DType::U8, std::stoull(word.substr(digits)), 0, false});
    }
    return out;
}

std::string split(const std::string& text, std::uint64_t maxBytes, bool tiedTogether = false)
{
    const std::vector<OutputTensor> tensors = tensorsOf(text);
    std::string out;
    for (const Shard& shard : splitIntoShards(tensors, maxBytes, tiedTogether)) {
        out += out.empty() ? "[" : " [";
        for (const std::size_t i : shard)
            out += (i == shard.front() ? "" : ",") + tensors[i].name;
        out += "]";
    }
    return out;
}

struct SplitCase {
    const char* name;
    const char* tensors;
    const char* shards;
};

class HuggingFaceSplit : public ::testing::TestWithParam<SplitCase> {};

TEST_P(HuggingFaceSplit, PutsTensorsWhereTransformersDoes)
{
    EXPECT_EQ(split(GetParam().tensors, 10), GetParam().shards);
}

// formats/safetensors.md §5.3
INSTANTIATE_TEST_SUITE_P(Examples, HuggingFaceSplit,
                         ::testing::Values(SplitCase{"FillsUp", "a6 b6 c2 d6 e2 f2", "[a] [b,c] [d,e,f]"},
                                           SplitCase{"LargeOnesComeBeforeTheOpenShard", "s3 h20 t4", "[h] [s,t]"},
                                           SplitCase{"ExactlyFull", "a10 b10", "[a] [b]"},
                                           SplitCase{"ExactlyFullTogether", "a5 b5 c1", "[a,b] [c]"},
                                           SplitCase{"OneForAll", "a1 b2 c3", "[a,b,c]"},
                                           SplitCase{"EmptyTensorsTakeNoRoom", "a10 b0 c0 d1", "[a,b,c] [d]"}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Shards, TiedNamesFollowTheirTensorWithoutTakingRoom)
{
    EXPECT_EQ(split("a6 b4 c9 t=a", 10, true), "[a,b,t] [c]");
    EXPECT_EQ(split("a6 b4 c9 t=a", 10, false), "[a,b] [c] [t]");
}

TEST(Shards, AreNamedAsTransformersNamesThem)
{
    EXPECT_EQ(shardName("model", ".safetensors", 0, 1), "model.safetensors");
    EXPECT_EQ(shardName("model", ".safetensors", 1, 12), "model-00002-of-00012.safetensors");
    EXPECT_EQ(shardName("pytorch_model", ".bin", 0, 100'000), "pytorch_model-00001-of-100000.bin");
}

TEST(Shards, HaveASortedIndex)
{
    const std::vector<OutputTensor> tensors = tensorsOf("z6 a6 t=z");
    EXPECT_EQ(indexText(tensors, splitIntoShards(tensors, 10, true), {"one", "two"}, true), R"({
  "metadata": {
    "total_size": 12
  },
  "weight_map": {
    "a": "two",
    "t": "one",
    "z": "one"
  }
}
)");
    EXPECT_THAT(indexText(tensors, splitIntoShards(tensors, 10, false), {"one", "two", "three"}, false), ::testing::HasSubstr("\"total_size\": 18"));
}

} // namespace
} // namespace shardlens
