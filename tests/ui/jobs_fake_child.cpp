// Stands in for `shardlens run - --progress json`: reads the job document and plays the scenario that its "source" names.
// Scenarios: done, slow, garbage, silent, killed, faulty, refused, endless (until SIGTERM), stubborn (ignores SIGTERM), steady.

#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <iostream>
#include <iterator>
#include <string>
#include <thread>
#include <unistd.h>

namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kBlock = 1000 * 1000;
std::atomic<bool> g_stop{false};

void say(const Json& event)
{
    std::cout << event.dump() << std::endl;
}

void rest(int milliseconds)
{
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

void progress(const std::string& phase, std::uint64_t done, std::uint64_t total)
{
    say({{"event", "progress"}, {"phase", phase}, {"done", done}, {"total", total}, {"bytes_read", done}, {"bytes_written", done},
         {"rss", 100 * kBlock}, {"a_member_of_a_later_version", Json::array()}});
}

int report(const std::string& outcome, const std::string& error, std::uint64_t written, const Json& job)
{
    const Json lines = Json::array({Json{{"kind", "dropped"}, {"topic", "Optimizer state"}, {"text", "6 tensors stay behind."}}});
    say({{"event", "report"}, {"outcome", outcome}, {"error", Json{{"code", outcome}, {"text", error}}}, {"target", job.value("target", "")}, {"files", Json::array({Json{{"name", "model.safetensors"}, {"bytes", written}}})},
         {"lines", lines}, {"bytes_read", written}, {"bytes_written", written}, {"seconds", 1.5}, {"peak_resident_bytes", 123 * kBlock},
         {"verified", job.value("verify", false)}});
    return outcome == "done" ? 0 : outcome == "cancelled" ? 130 : 2;
}

int finishWell(const Json& job)
{
    for (std::uint64_t block = 1; block <= 4; ++block)
        progress("copy", block * kBlock, 4 * kBlock);
    say({{"event", "line"}, {"kind", "dropped"}, {"topic", "Optimizer state"}, {"text", "6 tensors stay behind."}});
    say({{"event", "log"}, {"text", "model.safetensors: 4,000,000 B written."}});
    return report("done", "", 4 * kBlock, job);
}

// 200 blocks, one each 5 ms, until somebody asks to stop.
int copySlowly(const Json& job, bool obeys)
{
    for (std::uint64_t block = 1; block <= 2000; ++block) {
        if (obeys && g_stop)
            return report("cancelled", "", block * kBlock, job);
        progress("copy", block * kBlock, 2000 * kBlock);
        rest(5);
    }
    return report("done", "", 2000 * kBlock, job);
}

int speakGarbage(const Json& job)
{
    std::cout << "not JSON at all\n{\"event\":\n[1,2,3]\n\"text\"\n{\"event\":\"weather\",\"rain\":true}\n{\"event\":\"progress\",\"done\":\"many\",\"total\":-4}\n"
              << std::string("\xff\xfe\x00 bytes", 10) << '\n'
              << std::string(100, '[') << std::endl;
    std::cerr << "a remark on standard error" << std::endl;
    return finishWell(job);
}

// One character after the other: lines arrive in pieces.
int speakSlowly(const Json& job)
{
    const std::string line = Json{{"event", "progress"}, {"phase", "copy"}, {"done", kBlock}, {"total", 2 * kBlock}, {"bytes_written", kBlock}}.dump() + "\n";
    for (const char c : line) {
        std::cout << c << std::flush;
        rest(1);
    }
    return report("done", "", 2 * kBlock, job);
}

// A rate that a picture can show: 60 s of 2.3 GB/s, a beat each 100 ms.
int runSteadily(const Json& job)
{
    const std::uint64_t total = 94'337'818'624;
    std::uint64_t done = 0;
    for (int beat = 0; beat < 600 && !g_stop; ++beat) {
        const std::uint64_t dip = beat > 130 && beat < 136 ? 3 : 1;
        done += (230 + static_cast<std::uint64_t>((beat * 37) % 23)) * kBlock / dip;
        say({{"event", "progress"}, {"phase", "copy"}, {"done", done}, {"total", total}, {"bytes_read", done + done / 30}, {"bytes_written", done},
             {"rss", 1'202'590'842}});
        if (beat % 50 == 0)
            say({{"event", "log"}, {"text", "Block " + std::to_string(beat) + " of 600 written."}});
        rest(100);
    }
    return report(g_stop ? "cancelled" : "done", "", done, job);
}

int dieBy(int signal)
{
    std::signal(signal, SIG_DFL); // a sanitizer takes it, too
    progress("copy", kBlock, 2 * kBlock);
    ::kill(::getpid(), signal);
    rest(10'000);
    return 1;
}

} // namespace

int main()
{
    std::signal(SIGTERM, [](int) { g_stop = true; });
    const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
    const Json job = Json::parse(text, nullptr, false);
    if (!job.is_object())
        return 2;
    const std::string scenario = job.value("source", "");
    if (scenario == "silent") {
        std::cerr << "the last words" << std::endl;
        return 3;
    }
    say({{"event", "start"}, {"program", "shardlens"}, {"version", "0.1.0"}, {"job", job}});
    if (scenario == "killed")
        return dieBy(SIGKILL);
    if (scenario == "faulty")
        return dieBy(SIGSEGV);
    if (scenario == "refused")
        return report("refused", "Rank 1 has no optimizer file.", 0, job);
    if (scenario == "garbage")
        return speakGarbage(job);
    if (scenario == "slow")
        return speakSlowly(job);
    if (scenario == "endless" || scenario == "stubborn")
        return copySlowly(job, scenario == "endless");
    if (scenario == "steady")
        return runSteadily(job);
    return finishWell(job);
}
