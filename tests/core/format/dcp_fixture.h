#pragma once

#include "core/encoding/tensor_reader.h"
#include "tests/core/format/format_fixture.h"
#include "tests/support/dcp_test_save.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace shardlens::test {

using testing::AllOf;
using testing::AnyOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

// A folder in which saves of torch.distributed.checkpoint lie.
class DcpFormat : public testing::Test {
protected:
    // Writes a save, each into a folder of its own.
    std::string folderOf(const DcpTestSave& save)
    {
        const std::string folder = m_folder.file("save" + std::to_string(m_saves++));
        save.write(folder);
        return folder;
    }
    CheckpointPtr openedPath(const std::string& path)
    {
        auto out = openPath(path);
        EXPECT_TRUE(out.ok()) << out.error().text();
        return out ? out.take() : nullptr;
    }
    CheckpointPtr opened(const DcpTestSave& save) { return openedPath(folderOf(save)); }
    std::string refusal(const std::string& path)
    {
        const auto out = openPath(path);
        return out ? "opened" : out.error().text();
    }
    // "w weight", "w/exp_avg optimizer", "rng other", sorted.
    static std::vector<std::string> describedNames(const Checkpoint& checkpoint)
    {
        std::vector<std::string> out;
        for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
            const RoleKind kind = checkpoint.roleOf(idAt<TensorId>(i)).kind;
            out.push_back(checkpoint.fullName(idAt<TensorId>(i)) + (kind == RoleKind::OptimizerState ? " optimizer" : kind == RoleKind::Weight ? " weight" : " other"));
        }
        std::sort(out.begin(), out.end());
        return out;
    }

    TemporaryFolder m_folder;
    int m_saves = 0;
};

} // namespace shardlens::test
