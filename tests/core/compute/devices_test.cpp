#include "core/compute/devices.h"
#include "core/compute/torch_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace shardlens {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

TEST(Devices, TheProcessorComesFirstAlways)
{
    const DeviceList found = devices();
    ASSERT_FALSE(found.devices.empty());
    EXPECT_EQ(found.devices.front().id, "cpu");
    EXPECT_GT(found.devices.front().totalBytes, 0u);
    EXPECT_EQ(found.remark.empty(), found.devices.size() > 1) << "either there are others, or it is said why not";
}

TEST(Devices, TextsThatNameSome)
{
    for (const char* text : {"auto", "cpu", "cuda:0", "cuda:17", "cuda:0,cuda:1", "cuda"})
        EXPECT_TRUE(isDeviceText(text)) << text;
    for (const char* text : {"", "cuda:", "cuda:x", "cuda:0,", ",cuda:0", "cuda:0,cpu", "gpu", "cuda:1234", "CUDA:0"})
        EXPECT_FALSE(isDeviceText(text)) << text;
}

TEST(Devices, TheProcessorNeedsNothingElse)
{
    const auto chosen = chooseDevices("cpu");
    ASSERT_TRUE(chosen);
    EXPECT_THAT(*chosen, SizeIs(0));
}

TEST(Devices, OneThatIsNotThereIsRefusedWithThoseThatAre)
{
    const auto chosen = chooseDevices("cuda:99");
    ASSERT_FALSE(chosen);
    EXPECT_EQ(chosen.error().code(), ErrorCode::Refused);
    EXPECT_THAT(chosen.error().text(), HasSubstr("cuda:99 is not there; there is cpu"));
}

TEST(TorchLoader, LooksWhereTheVariableSaysAndNowhereElse)
{
    ::setenv("SHARDLENS_TORCH_MODULE", "/somewhere/module.so", 1);
    EXPECT_THAT(torchModulePlaces(), ElementsAre("/somewhere/module.so"));
    ::unsetenv("SHARDLENS_TORCH_MODULE");
    EXPECT_THAT(torchModulePlaces().back(), HasSubstr("lib/shardlens/shardlens_torch.so"));
}

TEST(TorchLoader, SaysWhyAFileDoesNotLoad)
{
    const auto absent = loadTorchModule("/nowhere/module.so");
    ASSERT_FALSE(absent);
    EXPECT_EQ(absent.error().code(), ErrorCode::Io);
    EXPECT_THAT(absent.error().text(), HasSubstr("/nowhere/module.so"));

    const std::string text = ::testing::TempDir() + "no_module.so";
    std::ofstream(text) << "no shared library";
    const auto noLibrary = loadTorchModule(text);
    ASSERT_FALSE(noLibrary);
    EXPECT_EQ(noLibrary.error().code(), ErrorCode::Io);

    const auto foreign = loadTorchModule("libz.so.1");
    ASSERT_FALSE(foreign);
    EXPECT_EQ(foreign.error().code(), ErrorCode::Unsupported);
    EXPECT_THAT(foreign.error().text(), HasSubstr("no module of this program"));
}

} // namespace
} // namespace shardlens
