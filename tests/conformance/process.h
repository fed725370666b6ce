#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace shardlens::test {

struct ProcessResult {
    int exitCode = -1; // 128 + signal where one ended it
    bool timedOut = false;
    std::string output; // standard output
    std::string remarks; // standard error
};

// Runs a program to its end in `folder`, or kills it after `limit`.
[[nodiscard]] ProcessResult runProcess(const std::vector<std::string>& command, const std::string& folder, std::chrono::seconds limit);

} // namespace shardlens::test
