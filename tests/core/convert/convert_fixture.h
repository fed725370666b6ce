#pragma once

#include "core/convert/execute.h"
#include "core/convert/plan.h"
#include "core/format/format.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/zero_test_run.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace shardlens::test {

// A tensor of a checkpoint that a test makes up; its bytes go into one file, end to end.
struct TinyTensor {
    std::string name;
    DType dtype = DType::F32;
    Shape shape{};
    std::vector<std::byte> bytes{}; // empty: counts up, byte by byte
    RoleKind role = RoleKind::Weight;
};

// Enough for one thread with blocks of some ten KiB.
constexpr std::uint64_t kSmallMemory = 1'500'000;

[[nodiscard]] std::vector<std::byte> bytesOfFloats(const std::vector<float>& values);
[[nodiscard]] std::string readText(const std::string& path);

// Runs in order and does something in between: `before` is told each index before its work.
class ScriptedExecutor final : public Executor {
public:
    explicit ScriptedExecutor(std::function<void(std::size_t index)> before) : m_before(std::move(before)) {}
    Status forEach(std::size_t count, const Work& work) override;
    [[nodiscard]] std::size_t concurrency() const override { return 1; }

private:
    std::function<void(std::size_t)> m_before;
};

// A folder with sources in it, and jobs that write beside them.
class ConvertTest : public ::testing::Test {
protected:
    // A checkpoint of these tensors, in one file data.bin; `aliases` are pairs of a new name and a tensor's.
    [[nodiscard]] CheckpointPtr tiny(const std::vector<TinyTensor>& tensors, const std::vector<std::pair<std::string, std::string>>& aliases = {});
    // A ZeRO run in the folder "run": three parameters, 4 ranks, with moments and a bf16 module copy. `scale` makes the first one larger.
    ZeroTestRun writeRun(std::uint64_t scale = 1) const;
    [[nodiscard]] CheckpointPtr openRun() const;

    [[nodiscard]] std::string path(const std::string& name) const { return m_folder.file(name); }
    [[nodiscard]] ConvertRequest request(const std::string& target, const std::string& to = "safetensors") const;
    [[nodiscard]] static Result<Plan> plan(const CheckpointPtr& source, const ConvertRequest& request);
    // planText() without sizes of this machine; "error: …" where the plan is refused.
    [[nodiscard]] static std::vector<std::string> planLinesOf(const CheckpointPtr& source, const ConvertRequest& request);
    // Plans and executes in this thread; "error: …", or empty.
    [[nodiscard]] std::string convert(const CheckpointPtr& source, const ConvertRequest& request);
    // What lies in the test's folder, hidden things too, sorted.
    [[nodiscard]] std::vector<std::string> names() const;

    TemporaryFolder m_folder;
    ConvertReport m_report; // of the last convert()
};

// "NAME DTYPE [shape] crc" of every tensor of a checkpoint, in its order.
[[nodiscard]] std::vector<std::string> contentsOf(const std::string& path);
[[nodiscard]] std::vector<std::string> contentsOf(const CheckpointPtr& checkpoint);

} // namespace shardlens::test
