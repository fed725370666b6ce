#include "tests/app/captured_console.h"

#include "app/cli/commands.h"

#include <cstdlib>
#include <sstream>
#include <stdio.h>

namespace shardlens::test {

CapturedConsole::Stream::Stream() : file(::open_memstream(&bytes, &size)) {}

CapturedConsole::Stream::~Stream()
{
    std::fclose(file);
    std::free(bytes);
}

std::string CapturedConsole::Stream::text()
{
    std::fflush(file);
    return {bytes, size};
}

CapturedConsole::CapturedConsole() : m_console(m_results.file, m_remarks.file) {}

CapturedConsole::~CapturedConsole() = default;

std::string CapturedConsole::results()
{
    return m_results.text();
}

std::string CapturedConsole::remarks()
{
    return m_remarks.text();
}

std::vector<std::string> CapturedConsole::lines()
{
    std::istringstream in(results());
    std::vector<std::string> out;
    for (std::string line; std::getline(in, line);)
        out.push_back(line);
    return out;
}

Answer runShardlens(std::vector<std::string> arguments)
{
    arguments.insert(arguments.begin(), "shardlens");
    std::vector<const char*> pointers;
    for (const std::string& one : arguments)
        pointers.push_back(one.c_str());
    CapturedConsole captured;
    JobContext job;
    cli::CommandContext context{captured.console(), job};
    Answer answer;
    answer.exitCode = cli::runCommandLine(static_cast<int>(pointers.size()), pointers.data(), context);
    answer.results = captured.results();
    answer.remarks = captured.remarks();
    return answer;
}

} // namespace shardlens::test
