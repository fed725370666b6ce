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
    // The same with --overwrite, of a model elsewhere.
    std::string overwriteRefusal(const std::string& target, const std::string& to = "safetensors")
    {
        ConvertRequest wanted = request(target, to);
        wanted.overwrite = true;
        return refusal(model(), wanted);
    }
    void write(const std::string& name, const std::string& text) const
    {
        fs::create_directories(fs::path(path(name)).parent_path());
        std::ofstream(path(name), std::ios::binary) << text;
    }
    CheckpointPtr model() { return tiny({{"a", DType::F32, {4}}, {"b", DType::F16, {2}}}); }
};

TEST_F(PlanRefuses, ATargetThatExists)
{
    write("out/notes.txt", "x");
    EXPECT_THAT(refusal(model(), request("out")), AllOf(HasSubstr(path("out")), HasSubstr("it exists"), HasSubstr("--overwrite")));
    fs::create_directory(path("folder.pt"));
    EXPECT_THAT(refusal(model(), request("folder.pt", "torch")), HasSubstr("it exists")) << "a file takes no folder's name";
    fs::create_directory(path("made"));
    EXPECT_EQ(refusal(model(), request("made")), "") << "an empty folder";
    fs::create_directory_symlink("made", path("to-made"));
    EXPECT_THAT(refusal(model(), request("to-made")), HasSubstr("it exists")) << "a link is not the folder";
    if (::geteuid() == 0 && ::chown(path("made").c_str(), 4711, 4711) == 0) {
        EXPECT_THAT(refusal(model(), request("made")), HasSubstr("belongs to somebody else"));
    }
    std::ofstream(path("out.pt")) << "x";
    EXPECT_THAT(refusal(model(), request("out.pt", "torch")), HasSubstr("it exists"));
    fs::create_symlink("nowhere", path("link"));
    EXPECT_THAT(refusal(model(), request("link")), HasSubstr("it exists"));
}

TEST_F(PlanRefuses, ToOverwriteWhatIsNoCheckpoint)
{
    write("thesis/chapter1.txt", "years of work");
    EXPECT_THAT(overwriteRefusal("thesis"), HasSubstr("neither a checkpoint nor a model file"));
    write("router/firmware.bin", "\x7f\x45"); // a name that models have, too
    write("router/thesis.txt", "years of work");
    write("router/sub/photo.jpg", "a face");
    EXPECT_THAT(overwriteRefusal("router"), HasSubstr("neither a checkpoint nor a model file"));
    write("news/latest", "a");
    write("news/a/thesis.txt", "years of work");
    EXPECT_THAT(overwriteRefusal("news"), HasSubstr("neither a checkpoint nor a model file"));
    fs::create_directory(path("links"));
    fs::create_symlink("nowhere", path("links/only"));
    EXPECT_THAT(overwriteRefusal("links"), HasSubstr("neither a checkpoint nor a model file"));
}

TEST_F(PlanRefuses, ToOverwriteAFileThatIsNoModel)
{
    write("letter.pt", "Dear Sir or Madam,");
    EXPECT_THAT(overwriteRefusal("letter.pt", "torch"), HasSubstr("neither a checkpoint nor a model file"));
    write("album.pt", "PK\x03\x04 and then photographs"); // a zip, as torch files are
    EXPECT_THAT(overwriteRefusal("album.pt", "torch"), HasSubstr("neither a checkpoint nor a model file"));
    write("notes.safetensors", std::string("\x02\0\0\0\0\0\0\0{}", 10));
    EXPECT_THAT(overwriteRefusal("notes.safetensors"), HasSubstr("no tensor is in it"));
}

TEST_F(PlanRefuses, ToOverwriteACheckpointThatSomethingElseLiesIn)
{
    ASSERT_EQ(convert(model(), request("out")), "");
    for (const char* companion : {"config.json", "tokenizer.model", "merges.txt", "README.md", ".gitattributes"})
        write(std::string("out/") + companion, "x");
    EXPECT_EQ(overwriteRefusal("out"), "");
    for (const char* foreign : {"out/thesis.txt", "out/annotations.json", "out/firmware.bin", "out/other.safetensors", "out/.notes"}) {
        write(foreign, "years of work");
        EXPECT_NE(overwriteRefusal("out"), "") << foreign;
        fs::remove(path(foreign));
    }
    write("out/sub/config.json", "{}");
    EXPECT_THAT(overwriteRefusal("out"), HasSubstr("it holds sub/, which is no part of the checkpoint there"));
    fs::remove_all(path("out/sub"));
    write("out/README.md", "x");
    fs::resize_file(path("out/README.md"), 65u << 20); // too much for what stands beside a model
    EXPECT_THAT(overwriteRefusal("out"), HasSubstr("it holds README.md, which is no part"));
}

TEST_F(PlanRefuses, ToOverwriteShardsThatAnotherSaveLiesBeside)
{
    ConvertRequest wanted = request("out");
    wanted.maxShardBytes = 17;
    ASSERT_EQ(convert(model(), wanted), "");
    ASSERT_TRUE(fs::exists(path("out/model.safetensors.index.json")));
    EXPECT_EQ(overwriteRefusal("out"), "");
    fs::copy_file(path("out/model-00001-of-00002.safetensors"), path("out/mine.safetensors")); // listed as left over, and not part of the model
    EXPECT_THAT(overwriteRefusal("out"), HasSubstr("it holds mine.safetensors, which is no part"));
}

TEST_F(PlanRefuses, ToOverwriteARunWithMoreInIt)
{
    writeRun();
    EXPECT_EQ(overwriteRefusal("run"), "");
    write("run/step3/notes.txt", "years of work");
    EXPECT_THAT(overwriteRefusal("run"), HasSubstr("it holds step3/notes.txt, which is no part"));
    fs::remove(path("run/step3/notes.txt"));
    fs::copy(path("run/step3"), path("run/step2"));
    EXPECT_THAT(overwriteRefusal("run"), HasSubstr("it holds step2/, which is no part"));
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
        GTEST_SKIP() << "Skipped: this user may write everywhere and may not mount a read-only file system";
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
    EXPECT_THAT(refusal(model(), request("out", "gguf")), HasSubstr("writing gguf follows later"));
    EXPECT_THAT(refusal(model(), request("out", "onnx")), HasSubstr("no format is named onnx"));
    EXPECT_THAT(refusal(model(), request("out.pt")), HasSubstr("the target's name says torch, and --to says safetensors"));
    wanted = request("out.safetensors");
    wanted.maxShardBytes = 100;
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("--max-shard-size needs a folder"));
}

TEST_F(PlanRefuses, OptionsThatMeanNothingForTheOutput)
{
    ConvertRequest wanted = request("out");
    wanted.dp = 2;
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("--dp means nothing for safetensors"));
    wanted = request("out", "torch");
    wanted.zeroStage = 2;
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("--zero-stage means nothing for torch"));
    wanted = request("out");
    wanted.keepObjects = true;
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("--keep-objects is for --to deepspeed"));
}

TEST_F(PlanRefuses, RunsThatNobodyCouldResume)
{
    EXPECT_THAT(refusal(model(), request("out", "deepspeed")), AllOf(HasSubstr("a made-up format"), HasSubstr("there is nothing to resume from")));
    ConvertRequest wanted = request("out", "deepspeed");
    wanted.select = Select::Weights;
    EXPECT_THAT(refusal(model(), wanted), AllOf(HasSubstr("--select weights"), HasSubstr("nothing to resume from")));
    wanted = request("out", "deepspeed");
    wanted.dtype = DType::BF16;
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("--dtype cannot be used with --to deepspeed"));
    wanted = request("out", "deepspeed");
    wanted.exclude = {"bias"};
    EXPECT_THAT(refusal(model(), wanted), HasSubstr("--include and --exclude cannot be used"));
    EXPECT_THAT(refusal(model(), request("out.pt", "deepspeed")), HasSubstr("the target's name says torch, and --to says deepspeed"));
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
