#include "tests/core/convert/convert_fixture.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <sys/mount.h>
#include <unistd.h>

namespace shardlens::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PlanRefuses : public ConvertTest {
protected:
    // The refusal, which must come before anything is touched.
    std::string refusal(const CheckpointPtr& source, const ConvertRequest& wanted)
    {
        const auto before = names();
        const auto made = plan(source, wanted);
        EXPECT_EQ(names(), before);
        if (made)
            return "";
        EXPECT_TRUE(made.error().code() == ErrorCode::Refused || made.error().code() == ErrorCode::NotFound || made.error().code() == ErrorCode::Io);
        return made.error().sentence();
    }
    CheckpointPtr model() { return tiny({{"a", DType::F32, {4}}, {"b", DType::F16, {2}}}); }
};

TEST_F(PlanRefuses, ATargetThatExists)
{
    fs::create_directory(path("out"));
    EXPECT_THAT(refusal(model(), request("out")), AllOf(HasSubstr(path("out")), HasSubstr("it exists"), HasSubstr("--overwrite")));
    std::ofstream(path("out.pt")) << "x";
    EXPECT_THAT(refusal(model(), request("out.pt", "torch")), HasSubstr("it exists"));
    fs::create_symlink("nowhere", path("link"));
    EXPECT_THAT(refusal(model(), request("link")), HasSubstr("it exists"));
}

TEST_F(PlanRefuses, ToOverwriteWhatIsNoCheckpoint)
{
    fs::create_directory(path("thesis"));
    std::ofstream(path("thesis/chapter1.txt")) << "years of work";
    ConvertRequest wanted = request("thesis");
    wanted.overwrite = true;
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("neither a checkpoint nor a model file"));
    std::ofstream(path("letter.pt")) << "Dear Sir or Madam,";
    wanted = request("letter.pt", "torch");
    wanted.overwrite = true;
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("neither a checkpoint nor a model file"));
}

TEST_F(PlanRefuses, ATargetInsideTheSourceOrAroundIt)
{
    writeRun();
    const CheckpointPtr run = openRun();
    EXPECT_THAT(refusal(run, request("run/out")), HasSubstr("it lies inside the source"));
    fs::create_directory_symlink(path("run"), path("door"));
    EXPECT_THAT(refusal(run, request("door/out")), HasSubstr("it lies inside the source"));
    ConvertRequest wanted = request("run");
    wanted.overwrite = true;
    EXPECT_THAT(refusal(run, wanted), HasSubstr("the same as the source"));
    fs::create_directory(path("parent"));
    fs::rename(path("run"), path("parent/run"));
    JobContext job;
    const auto moved = openCheckpoint(path("parent/run"), {}, job);
    ASSERT_TRUE(moved.ok());
    wanted = request("parent");
    wanted.overwrite = true;
    EXPECT_THAT(refusal(*moved, wanted), HasSubstr("is or lies in the target"));
}

TEST_F(PlanRefuses, AParentThatIsNotThere)
{
    EXPECT_THAT(refusal(model(), request("nothing/out")), AllOf(HasSubstr(path("nothing")), HasSubstr("is not there; make it first")));
    std::ofstream(path("file")) << "x";
    EXPECT_THAT(refusal(model(), request("file/out")), HasSubstr("is no folder"));
    EXPECT_THAT(refusal(model(), request("..")), HasSubstr("names no new file or folder"));
}

TEST_F(PlanRefuses, AReadOnlyPlace)
{
    fs::create_directory(path("sealed"));
    const bool isRoot = ::geteuid() == 0; // whom permissions do not stop
    if (isRoot && ::mount("none", path("sealed").c_str(), "tmpfs", MS_RDONLY, nullptr) != 0)
        GTEST_SKIP() << "this user may write everywhere and may not mount a read-only file system";
    if (!isRoot)
        fs::permissions(path("sealed"), fs::perms::owner_read | fs::perms::owner_exec);
    const auto made = plan(model(), request("sealed/out"));
    if (isRoot)
        ::umount(path("sealed").c_str());
    else
        fs::permissions(path("sealed"), fs::perms::owner_all);
    ASSERT_FALSE(made);
    EXPECT_THAT(made.error().sentence(), AllOf(HasSubstr("nothing can be written into"), HasSubstr(path("sealed"))));
}

TEST_F(PlanRefuses, AMissingRankWithTensorRegionRankAndFile)
{
    writeRun();
    fs::remove(path("run/step3/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"));
    EXPECT_THAT(refusal(openRun(), request("out")), AllOf(HasSubstr("embed.weight"), HasSubstr("elements 14 to 27 of [7, 5]"), HasSubstr("rank 1"),
                                                          HasSubstr("bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt")));
}

TEST_F(PlanRefuses, ADTypeThatTheTargetCannotHold)
{
    const CheckpointPtr wide = tiny({{"wide", DType::C128, {2}}, {"counts", DType::QI8, {4}}, {"odd", DType::F6E2M3, {4}}});
    EXPECT_THAT(refusal(wide, request("out")), AllOf(HasSubstr("wide is C128 (complex128), which safetensors cannot hold"), HasSubstr("--exclude")));
    ConvertRequest wanted = request("out", "torch");
    wanted.exclude = {"wide"};
    EXPECT_THAT(refusal(wide, wanted), HasSubstr("counts is QI8 (qint8), which torch cannot hold"));
    wanted.exclude = {"wide", "counts"};
    EXPECT_THAT(refusal(wide, wanted), HasSubstr("odd is F6_E2M3, which torch cannot hold"));
}

TEST_F(PlanRefuses, ToCastBlocksOfValues)
{
    ConvertRequest wanted = request("out");
    wanted.dtype = DType::F16;
    EXPECT_THAT(refusal(tiny({{"four", DType::F4, {4}}}), wanted), HasSubstr("four is F4 and cannot be cast to F16"));
    wanted.dtype = DType::I32;
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("--dtype I32 is no type to cast to"));
}

TEST_F(PlanRefuses, AnEmptySelectionAndABadPattern)
{
    ConvertRequest wanted = request("out");
    wanted.include = {"^nothing$"};
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("nothing is selected"));
    wanted.include = {"(a"};
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("--include (a"));
    wanted = request("out");
    wanted.select = Select::Optimizer;
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("nothing is selected: of 2 tensors none is optimizer"));
}

TEST_F(PlanRefuses, NamesThatCannotBeWritten)
{
    EXPECT_THAT(refusal(tiny({{"a\xff", DType::F32, {1}}}), request("out")), HasSubstr("is no UTF-8"));
    EXPECT_THAT(refusal(tiny({{"__metadata__", DType::F32, {1}}}), request("out")), HasSubstr("__metadata__"));
    EXPECT_THAT(refusal(tiny({{"a", DType::F32, {1}}, {"b", DType::F32, {1}}}, {{"b", "a"}}), request("out")), HasSubstr("two tensors are named b"));
}

TEST_F(PlanRefuses, FormatsThatItDoesNotWrite)
{
    ConvertRequest wanted = request("out");
    wanted.to.reset();
    EXPECT_THAT(refusal(model(), wanted), AllOf(HasSubstr("the source is a made-up format, and writing that follows later"), HasSubstr("--to")));
    EXPECT_THAT(refusal(model(), request("out", "universal")), HasSubstr("writing universal follows later"));
    EXPECT_THAT(refusal(model(), request("out", "onnx")), HasSubstr("no format is named onnx"));
    EXPECT_THAT(refusal(model(), request("out.pt")), HasSubstr("the target's name says torch, and --to says safetensors"));
    wanted = request("out.safetensors");
    wanted.maxShardBytes = 100;
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("--max-shard-size needs a folder"));
    wanted = request("out", "torch");
    wanted.select = Select::All;
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("--select all to torch"));
}

TEST_F(PlanRefuses, TooLittleMemoryWithTheLeastThatWorks)
{
    ConvertRequest wanted = request("out");
    wanted.memoryLimit = 1u << 20;
    const auto made = plan(model(), wanted);
    ASSERT_FALSE(made);
    EXPECT_THAT(made.error().text(), AllOf(HasSubstr("--memory-limit 1.00 MiB (1,048,576 B) is too small"), HasSubstr("with 1 thread")));
    const std::string text = made.error().text();
    const std::size_t open = text.find('(', text.find("too small"));
    std::string digits;
    for (std::size_t at = open + 1; text[at] != ' '; ++at)
        if (text[at] != ',')
            digits += text[at];
    wanted.memoryLimit = std::stoull(digits);
    EXPECT_TRUE(plan(model(), wanted).ok());
    --wanted.memoryLimit;
    EXPECT_FALSE(plan(model(), wanted).ok());
}

} // namespace
} // namespace shardlens::test
