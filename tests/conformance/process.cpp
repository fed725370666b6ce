#include "tests/conformance/process.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shardlens::test {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
    std::array<int, 2> ends{-1, -1};
    Pipe() { (void)!::pipe2(ends.data(), O_CLOEXEC); }
    ~Pipe()
    {
        closeEnd(0);
        closeEnd(1);
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    void closeEnd(std::size_t end)
    {
        if (ends[end] >= 0)
            ::close(ends[end]);
        ends[end] = -1;
    }
};

[[noreturn]] void becomeChild(const std::vector<std::string>& command, const std::string& folder, const Pipe& output, const Pipe& remarks)
{
    ::dup2(output.ends[1], STDOUT_FILENO);
    ::dup2(remarks.ends[1], STDERR_FILENO);
    std::vector<char*> arguments;
    for (const std::string& one : command)
        arguments.push_back(const_cast<char*>(one.c_str()));
    arguments.push_back(nullptr);
    if (::chdir(folder.c_str()) == 0)
        ::execv(arguments[0], arguments.data());
    ::_exit(127);
}

// Appends what is there; closes the end when the child has closed its own.
void drain(Pipe& from, std::string& into)
{
    std::array<char, 65536> buffer{};
    const ssize_t count = ::read(from.ends[0], buffer.data(), buffer.size());
    if (count > 0)
        into.append(buffer.data(), static_cast<std::size_t>(count));
    else if (count == 0 || errno != EINTR)
        from.closeEnd(0);
}

} // namespace

ProcessResult runProcess(const std::vector<std::string>& command, const std::string& folder, std::chrono::seconds limit)
{
    Pipe output;
    Pipe remarks;
    const Clock::time_point end = Clock::now() + limit;
    const pid_t child = ::fork();
    if (child == 0)
        becomeChild(command, folder, output, remarks);
    output.closeEnd(1);
    remarks.closeEnd(1);
    ProcessResult result;
    while (output.ends[0] >= 0 || remarks.ends[0] >= 0) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
        std::array<pollfd, 2> waits{{{output.ends[0], POLLIN, 0}, {remarks.ends[0], POLLIN, 0}}}; // a closed end is -1: ignored
        if (left <= 0 || ::poll(waits.data(), waits.size(), static_cast<int>(left)) == 0) {
            result.timedOut = true;
            ::kill(child, SIGKILL);
            break;
        }
        if (waits[0].revents != 0)
            drain(output, result.output);
        if (waits[1].revents != 0)
            drain(remarks, result.remarks);
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    result.exitCode = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result;
}

} // namespace shardlens::test
