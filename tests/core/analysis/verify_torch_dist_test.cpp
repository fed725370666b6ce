#include "core/analysis/verify.h"
#include "core/format/format.h"
#include "core/job/executor.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/torch_dist_test_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <string>
#include <vector>

namespace shardlens::test {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> verifiedTexts(const std::string& path)
{
    JobContext job;
    const auto opened = openCheckpoint(path, {}, job);
    EXPECT_TRUE(opened.ok()) << opened.error().text();
    std::vector<std::string> out;
    if (!opened)
        return out;
    const auto executor = makeThreadedExecutor(2);
    const auto report = verifyCheckpoint(*opened, {}, *executor, job);
    EXPECT_TRUE(report.ok());
    for (const Finding& finding : report->findings)
        out.push_back(finding.code + ": " + finding.text);
    return out;
}

// Masters of a run whose module copies are the same values, but for those that `isShifted` names.
void writeMasters(const std::string& root, const std::string& shardingType, const std::function<bool(const std::string& key)>& isShifted)
{
    TorchDistTestRun run;
    run.optimizer = TorchDistTestRun::Optimizer::Whole;
    run.masterState = "param";
    DcpTestFolder container = run.container();
    const std::string prefix = "optimizer.state.param.";
    for (DcpTestFolder::Tensor& master : container.tensors) {
        if (!master.key.starts_with(prefix) || isShifted(master.key))
            continue;
        for (const DcpTestFolder::Tensor& model : container.tensors)
            if (prefix + model.key == master.key)
                master.chunks = model.chunks;
    }
    container.write(root + "/iter_0000005");
    TorchDistTestRun::writeBeside(root + "/iter_0000005", {{"content_metadata", pyDict({{"distrib_optim_sharding_type", Py{shardingType}}})}});
}

TEST(VerifyTorchDist, SomeShiftedMastersAreTheKnownBug)
{
    const auto isEmbedding = [](const std::string& key) { return key.find("embedding") != std::string::npos; };
    const TemporaryFolder some;
    writeMasters(some.path().string(), "fully_reshardable", isEmbedding);
    EXPECT_THAT(verifiedTexts(some.path().string()), Contains(HasSubstr("known-layout-bug: The masters of 1 of 14 parameters")));
    const TemporaryFolder none;
    writeMasters(none.path().string(), "fully_reshardable", [](const std::string&) { return false; });
    EXPECT_THAT(verifiedTexts(none.path().string()), Each(Not(testing::AnyOf(HasSubstr("known-layout-bug"), HasSubstr("stale-module-copy")))));
    const TemporaryFolder all; // of different steps, then
    writeMasters(all.path().string(), "fully_reshardable", [](const std::string&) { return true; });
    EXPECT_THAT(verifiedTexts(all.path().string()), Each(Not(HasSubstr("known-layout-bug"))));
    const TemporaryFolder other;
    writeMasters(other.path().string(), "fully_sharded_model_space", isEmbedding);
    EXPECT_THAT(verifiedTexts(other.path().string()), Each(Not(HasSubstr("known-layout-bug"))));
}

TEST(VerifyTorchDist, ChecksumsOfTheFolderAreCompared)
{
    const TemporaryFolder folder;
    TorchDistTestRun{}.write(folder.path().string());
    // sha256 of metadata.json as TorchDistTestRun writes it, by sha256sum
    const std::string sum = "9817072de14c715c70e8435a7fee90bac30abaf6885fc53ade6fe88babeef851";
    std::ofstream(folder.file("iter_0000005/integrity.json")) << R"({"algorithm": "sha256", "files": {"metadata.json": ")" << sum << R"(", ".metadata": "00"}})";
    const auto texts = verifiedTexts(folder.path().string());
    EXPECT_THAT(texts, Contains(HasSubstr("sha256: .metadata has the sha256 ")));
    EXPECT_THAT(texts, Each(Not(HasSubstr("sha256: metadata.json"))));
}

} // namespace
} // namespace shardlens::test
