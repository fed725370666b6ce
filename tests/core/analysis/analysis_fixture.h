#pragma once

#include "core/analysis/verify.h"
#include "core/format/format.h"
#include "core/model/checkpoint_builder.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/zero_test_run.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace shardlens::test {

// A folder with a file of bytes or a ZeRO run in it.
class AnalysisTest : public ::testing::Test {
protected:
    // A ZeRO-2 run of 3 ranks in the folder "run": two parameters, bf16 module copies, two moments. Nothing is wrong with it.
    void writeRun() const;
    [[nodiscard]] CheckpointPtr openRun() const;
    // Writes over the bytes of element `index` of a tensor of the run, in the file and piece that hold it.
    void overwrite(const std::string& fullName, std::uint64_t index, const std::vector<std::uint8_t>& bytes) const;
    [[nodiscard]] static TensorId tensorNamed(const Checkpoint& checkpoint, const std::string& fullName);

    // A checkpoint whose tensors lie in the one file data.bin, which holds `payload`; `fill` adds the tensors.
    [[nodiscard]] CheckpointPtr made(const std::string& payload, const std::function<void(CheckpointBuilder&, FileId)>& fill) const;

    // "warning non-finite embed", one line a finding.
    [[nodiscard]] static std::vector<std::string> findingsOf(const CheckpointPtr& checkpoint, const VerifyOptions& options = {});
    [[nodiscard]] static VerifyReport verified(const CheckpointPtr& checkpoint, const VerifyOptions& options = {});

    [[nodiscard]] std::string path(const std::string& name) const { return m_folder.file(name); }

    TemporaryFolder m_folder;
};

} // namespace shardlens::test
