#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace shardlens::test {

// One check of a case.json, in the form that the conformance set's own runner reads.
struct ConformanceCheck {
    std::string caseName; // "deepspeed/zero2-fp16-w3"
    std::string name;
    std::filesystem::path folder; // of the case
    nlohmann::json rules;

    // "case: name", as known.txt has it.
    [[nodiscard]] std::string title() const { return caseName + ": " + name; }
};

// All checks of the case.json files below `root`, in the order of their paths.
[[nodiscard]] std::vector<ConformanceCheck> checksBelow(const std::filesystem::path& root);

// Runs the check with `program` in a folder of its own. Empty, or a sentence about what is wrong. What needs another library (`load`) is left out.
[[nodiscard]] std::string runCheck(const ConformanceCheck& check, const std::string& program);

// How the digest `found` differs from `expected`: one line a tensor. `subset`: more names are fine.
[[nodiscard]] std::vector<std::string> digestDifferences(const nlohmann::json& expected, const nlohmann::json& found, bool subset);

} // namespace shardlens::test
