#pragma once

#include "app/cli/console.h"

#include <cstdio>
#include <string>
#include <vector>

namespace shardlens::test {

// A console whose two streams are kept in memory.
class CapturedConsole {
public:
    CapturedConsole();
    ~CapturedConsole();
    CapturedConsole(const CapturedConsole&) = delete;
    CapturedConsole& operator=(const CapturedConsole&) = delete;

    [[nodiscard]] cli::Console& console() { return m_console; }
    [[nodiscard]] std::string results();
    [[nodiscard]] std::string remarks();
    // The results line by line, without the line ends.
    [[nodiscard]] std::vector<std::string> lines();

private:
    struct Stream {
        char* bytes = nullptr;
        std::size_t size = 0;
        std::FILE* file = nullptr;

        Stream();
        ~Stream();
        std::string text();
    };
    Stream m_results;
    Stream m_remarks;
    cli::Console m_console;
};

struct Answer {
    int exitCode = 0;
    std::string results;
    std::string remarks;
};

// Runs the program in this process: `shardlens` and the arguments.
[[nodiscard]] Answer runShardlens(std::vector<std::string> arguments);

} // namespace shardlens::test
