// Directories that PyTorch 2.13 itself wrote in the two ways that change what an item is (formats/pytorch.md §9.4).
#include "core/format/format.h"
#include "tests/core/format/format_fixture.h"

#include <gmock/gmock.h>

#include <string>

namespace shardlens::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class DcpWrittenByTorch : public ::testing::TestWithParam<const char*> {};

TEST_P(DcpWrittenByTorch, TensorsAndObjectsAreRead)
{
    const auto opened = openPath(std::string(SHARDLENS_SOURCE_DIR) + "/tests/core/format/files/" + GetParam());
    ASSERT_TRUE(opened.ok()) << opened.error().sentence();
    EXPECT_EQ((*opened)->formatId(), "dcp");
    EXPECT_THAT(findingsOf(**opened), IsEmpty());
    EXPECT_THAT(floatsOf(*opened, "model.w"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
    EXPECT_THAT(floatsOf(*opened, "model.b"), ElementsAre(0, 1, 2));
    EXPECT_THAT(floatsOf(*opened, "pair.1"), ElementsAre(0, 1, 2, 3)); // inside an object of its own
}

INSTANTIATE_TEST_SUITE_P(Torch, DcpWrittenByTorch, ::testing::Values("dcp-zstd", "dcp-safetensors"), [](const auto& param) {
    return param.param == std::string("dcp-zstd") ? std::string("ItemsByZstd") : std::string("TensorsAsSafetensors");
});

} // namespace
} // namespace shardlens::test
