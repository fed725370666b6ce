#include "core/encoding/hf_index.h"

#include "tests/core/encoding/encoding_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace shardlens::test {
namespace {

using ::testing::HasSubstr;

std::string shownIndex(std::string_view json)
{
    const auto index = readHfIndex(*memory(json), ".safetensors");
    if (!index)
        return codeName(index.error().code()) + ": " + index.error().text();
    std::string out;
    for (const auto& [tensor, file] : index->weightMap)
        out += tensor + " in " + file + "; ";
    for (const auto& [name, kept] : index->aliases)
        out += name + " is " + kept + "; ";
    return out;
}

std::string pointing(std::string_view file)
{
    return fmt::format(R"({{"weight_map":{{"w":"{}"}}}})", file);
}

TEST(HfIndex, ReadsTheMapInItsOrder)
{
    EXPECT_EQ(shownIndex(R"({"metadata":{"total_size":12,"head":"wte"},"weight_map":{"z":"model-00002-of-00002.safetensors","a":"model-00001-of-00002.safetensors"}})"),
              "z in model-00002-of-00002.safetensors; a in model-00001-of-00002.safetensors; head is wte; ");
    EXPECT_EQ(shownIndex(R"({"weight_map":{}})"), "");
    EXPECT_EQ(shownIndex(R"({"metadata":null,"weight_map":{"w":"m.safetensors"}})"), "w in m.safetensors; ");
}

struct BadIndex {
    const char* name;
    std::string json;
    const char* says;
};

class HfIndexRefused : public ::testing::TestWithParam<BadIndex> {};

TEST_P(HfIndexRefused, SaysWhy)
{
    EXPECT_THAT(shownIndex(GetParam().json), ::testing::StartsWith(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(Index, HfIndexRefused, ::testing::Values(
    BadIndex{"Empty", "", "Corrupt: the index is no JSON object"},
    BadIndex{"Cut", R"({"weight_map":{"w":)", "Corrupt: the index is no JSON object"},
    BadIndex{"List", "[]", "Corrupt: the index is no JSON object"},
    BadIndex{"NotUtf8", "{\"weight_map\":{\"\xff\":\"m.safetensors\"}}", "Corrupt: the index is no JSON object"},
    BadIndex{"NoMap", "{}", "Corrupt: the index has no weight_map"},
    BadIndex{"MapOfText", R"({"weight_map":"m"})", "Corrupt: the index has no weight_map"},
    BadIndex{"NumberAsFile", R"({"weight_map":{"w":1}})", "Corrupt: the index names no file for w"},
    BadIndex{"Absolute", pointing("/etc/m.safetensors"), "Refused: the index points w to '/etc/m.safetensors', which is outside its folder"},
    BadIndex{"Above", pointing("../m.safetensors"), "Refused: the index points w to '../m.safetensors'"},
    BadIndex{"Inside", pointing("sub/m.safetensors"), "Refused: the index points w to"},
    BadIndex{"WindowsFolder", pointing("..\\\\m.safetensors"), "Refused: the index points w to"},
    BadIndex{"WindowsDrive", pointing("C:m.safetensors"), "Refused: the index points w to"},
    BadIndex{"Nul", pointing("m\\u0000.safetensors"), "Refused: the index points w to"},
    BadIndex{"NoName", pointing(""), "Refused: the index points w to ''"},
    BadIndex{"DotDot", pointing(".."), "Refused: the index points w to '..'"},
    BadIndex{"OtherExtension", pointing("m.bin"), "Refused: the index points w to 'm.bin', which is no .safetensors file"}),
    [](const auto& row) { return row.param.name; });

TEST(HfIndex, RefusesNestingThatNoIndexHas)
{
    const auto nested = [](std::size_t levels) { return fmt::format(R"({{"x":{}{},"weight_map":{{}}}})", std::string(levels, '['), std::string(levels, ']')); };
    EXPECT_EQ(shownIndex(nested(63)), "");
    EXPECT_EQ(shownIndex(nested(64)), "LimitExceeded: the index nests 65 levels deep, at most 64 are read");
    EXPECT_THAT(shownIndex(nested(1'000'000)), HasSubstr("nests 1,000,001 levels deep"));
    EXPECT_THAT(shownIndex(std::string(1'000'000, '[')), HasSubstr("nests 1,000,000 levels deep"));
    EXPECT_EQ(shownIndex(fmt::format(R"({{"weight_map":{{"{}\"{}":"m.safetensors"}}}})", std::string(70, '['), std::string(70, '{'))),
              fmt::format("{}\"{} in m.safetensors; ", std::string(70, '['), std::string(70, '{'))); // brackets of a name do not count
}

TEST(ShardName, IsReadFromItsNumbers)
{
    const auto shown = [](std::string_view name) {
        const auto shard = shardNameOf(name, ".safetensors");
        return shard ? fmt::format("{} {} {}", shard->base, shard->index, shard->count) : "none";
    };
    EXPECT_EQ(shown("model-00002-of-00005.safetensors"), "model 2 5");
    EXPECT_EQ(shown("model.fp16-00001-of-00002.safetensors"), "model.fp16 1 2");
    EXPECT_EQ(shown("model.safetensors"), "none");
    EXPECT_EQ(shown("model-00002-of-00005.bin"), "none");
    EXPECT_EQ(shown("model-0000a-of-00005.safetensors"), "none");
    EXPECT_EQ(shown("model-00002_of-00005.safetensors"), "none");
    EXPECT_EQ(shown("model_00002-of-00005.safetensors"), "none");
    EXPECT_EQ(shown("-00002-of-00005.safetensors"), "none");
    EXPECT_EQ(shown("model--0002-of-00005.safetensors"), "none");
}

} // namespace
} // namespace shardlens::test
