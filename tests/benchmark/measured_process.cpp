#include "tests/benchmark/measured_process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <fstream>
#include <malloc.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shardlens::benchmark {
namespace {

double secondsOf(const timeval& time)
{
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

std::string readAll(int descriptor)
{
    std::string out;
    std::array<char, 65536> buffer{};
    for (ssize_t count = 1; count != 0;) {
        count = ::read(descriptor, buffer.data(), buffer.size());
        if (count > 0)
            out.append(buffer.data(), static_cast<std::size_t>(count));
        else if (count < 0 && errno != EINTR)
            break;
    }
    return out;
}

// A child is charged with the peak of the process it was spawned from (execve(2) carries it over): what wrote the folder must not count as the program's.
void forgetOwnPeak()
{
    ::malloc_trim(0);
    std::ofstream("/proc/self/clear_refs") << "5"; // proc(5): sets the peak back to what is resident now
}

} // namespace

Measured measure(const std::vector<std::string>& command, bool keepOutput)
{
    std::array<int, 2> ends{-1, -1};
    if (keepOutput && ::pipe2(ends.data(), O_CLOEXEC) != 0)
        return {};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (keepOutput)
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    else
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    std::vector<char*> arguments;
    for (const std::string& one : command)
        arguments.push_back(const_cast<char*>(one.c_str()));
    arguments.push_back(nullptr);

    forgetOwnPeak();
    Measured out;
    const auto started = std::chrono::steady_clock::now();
    pid_t child = 0;
    const int problem = ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (keepOutput) {
        ::close(ends[1]);
        if (problem == 0)
            out.output = readAll(ends[0]);
        ::close(ends[0]);
    }
    if (problem != 0)
        return out;
    int status = 0;
    rusage used{};
    while (::wait4(child, &status, 0, &used) < 0 && errno == EINTR) {
    }
    out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    out.cpuSeconds = secondsOf(used.ru_utime) + secondsOf(used.ru_stime);
    out.peakMiB = static_cast<double>(used.ru_maxrss) / 1024; // kilobytes on Linux
    out.exitCode = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return out;
}

double medianOf(std::vector<double> values)
{
    if (values.empty())
        return 0;
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

} // namespace shardlens::benchmark
