#include "app/cli/progress.h"

#include "app/cli/console.h"
#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace shardlens::cli {
namespace {

constexpr double kSmoothingSeconds = 2.0;
constexpr std::size_t kWidestBar = 30;
constexpr std::size_t kNarrowestBar = 8;

std::string barOf(double fraction, std::size_t columns)
{
    const auto filled = std::min(columns, static_cast<std::size_t>(fraction * static_cast<double>(columns)));
    std::string out(filled, '=');
    if (filled < columns)
        out += '>';
    out.resize(columns, ' ');
    return "[" + out + "]";
}

} // namespace

ProgressSample ProgressSample::of(const Progress& progress)
{
    constexpr auto kRelaxed = std::memory_order_relaxed;
    return {progress.done.load(kRelaxed), progress.total.load(kRelaxed), progress.bytesRead.load(kRelaxed), progress.bytesWritten.load(kRelaxed),
            {progress.readNs.load(kRelaxed), progress.computeNs.load(kRelaxed), progress.writeNs.load(kRelaxed)}, progress.phase.load(kRelaxed), {}};
}

void RateMeter::add(std::chrono::steady_clock::time_point when, std::uint64_t done)
{
    const double seconds = m_started ? std::chrono::duration<double>(when - m_last).count() : 0;
    if (seconds > 0 && done >= m_lastDone) {
        const double now = static_cast<double>(done - m_lastDone) / seconds;
        const double weight = 1 - std::exp(-seconds / kSmoothingSeconds);
        m_rate = m_rate == 0 ? now : m_rate + weight * (now - m_rate);
    }
    m_started = true;
    m_last = when;
    m_lastDone = done;
}

std::string progressText(const ProgressSample& sample, double bytesPerSecond, std::size_t columns)
{
    std::string text = fmt::format("{:<7}", sample.label.empty() ? nameOf(static_cast<ConvertPhase>(sample.phase)) : sample.label.c_str());
    if (sample.total == 0)
        return elided(text, columns);
    const double fraction = std::min(1.0, static_cast<double>(sample.done) / static_cast<double>(sample.total));
    std::vector<std::string> parts{percentText(fraction), fmt::format("{} of {}", sizeText(sample.done), sizeText(sample.total))};
    if (bytesPerSecond > 0) {
        parts.push_back(rateText(bytesPerSecond));
        if (sample.done < sample.total)
            parts.push_back(durationText(static_cast<double>(sample.total - sample.done) / bytesPerSecond) + " left");
    }
    std::string tail;
    for (const std::string& part : parts)
        if (displayWidth(text) + displayWidth(tail) + displayWidth(part) + 2 <= columns)
            tail += "  " + part;
    const std::size_t used = displayWidth(text) + displayWidth(tail) + 3;
    if (used + kNarrowestBar <= columns)
        text += fmt::format(" {}", barOf(fraction, std::min(kWidestBar, columns - used)));
    return elided(text + tail, columns);
}

} // namespace shardlens::cli
