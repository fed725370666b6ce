#include "ui/jobs/job_rate.h"

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr double kSampleSpan = 0.25; // progress comes at most 10 times a second: shorter spans would show its beat
constexpr double kNowSpan = 1;
constexpr double kKeptSpan = 3;
constexpr double kSmoothSeconds = 5; // of the rate that the estimate uses
constexpr double kSaysSlowerSeconds = 10;

double perSecond(std::uint64_t before, std::uint64_t after, double seconds)
{
    return after <= before || seconds <= 0 ? 0 : static_cast<double>(after - before) / seconds;
}

std::uint64_t since(std::uint64_t before, std::uint64_t after)
{
    return after - std::min(before, after);
}

StageSpan spanBetween(const JobProgress& before, const JobProgress& after)
{
    const JobStages& a = before.stages;
    const JobStages& b = after.stages;
    return {{since(a.readNs, b.readNs), since(a.computeNs, b.computeNs), since(a.writeNs, b.writeNs)}, since(before.bytesRead, after.bytesRead), since(before.bytesWritten, after.bytesWritten)};
}

} // namespace

void JobRate::report(double seconds, const JobProgress& progress)
{
    if (!m_first)
        m_first = Point{seconds, progress};
    // A phase may count anew.
    if (!m_points.empty() && progress.done < m_points.back().progress.done)
        m_points.clear();
    m_points.push_back({seconds, progress});
    while (m_points.size() > 2 && m_points[1].seconds < seconds - kKeptSpan)
        m_points.pop_front();
}

const JobRate::Point& JobRate::pointBefore(double seconds) const
{
    const auto after = std::find_if(m_points.begin(), m_points.end(), [seconds](const Point& point) { return point.seconds > seconds; });
    return after == m_points.begin() ? m_points.front() : *std::prev(after);
}

void JobRate::tick(double seconds)
{
    const double sinceLast = std::max(0.0, seconds - m_lastTick);
    m_lastTick = seconds;
    RateSample sample{seconds, 0, 0};
    if (!m_points.empty()) {
        const JobProgress& last = m_points.back().progress;
        const Point& near = pointBefore(seconds - kSampleSpan);
        sample.read = perSecond(near.progress.bytesRead, last.bytesRead, seconds - near.seconds);
        sample.written = perSecond(near.progress.bytesWritten, last.bytesWritten, seconds - near.seconds);
        const Point& second = pointBefore(seconds - kNowSpan);
        m_now = perSecond(second.progress.done, last.done, seconds - second.seconds);
        if (const StageSpan span = spanBetween(second.progress, last); span.stages.all() > 0) // a long block says nothing for a while
            m_stages = span;
        m_average = perSecond(m_first->progress.done, last.done, seconds - m_first->seconds);
        updateTimeLeft(seconds, sinceLast);
    }
    m_samples.push_back(sample);
    while (m_samples.front().seconds < seconds - kWindowSeconds)
        m_samples.pop_front();
}

void JobRate::updateTimeLeft(double seconds, double sinceLast)
{
    m_slower = seconds < m_slowerUntil;
    const double weight = m_smooth <= 0 ? 1 : 1 - std::exp(-sinceLast / kSmoothSeconds);
    m_smooth += (m_now - m_smooth) * weight;
    const JobProgress& last = m_points.back().progress;
    if (seconds - m_first->seconds < kTimeLeftAfterSeconds || last.total == 0 || m_smooth <= 0) {
        m_left.reset();
        return;
    }
    const double remaining = last.total > last.done ? static_cast<double>(last.total - last.done) : 0;
    const double fresh = remaining / m_smooth;
    if (!m_left) {
        m_left = fresh;
        return;
    }
    const double expected = std::max(0.0, *m_left - sinceLast);
    if (fresh > expected * 1.25 + 5) {
        m_left = fresh;
        m_slowerUntil = seconds + kSaysSlowerSeconds;
        m_slower = true;
    } else if (fresh > expected) {
        m_left = std::min(*m_left, fresh);
    } else {
        m_left = expected + (fresh - expected) * std::min(1.0, sinceLast);
    }
}

double roundedTimeLeft(double seconds)
{
    if (seconds > 180)
        return std::round(seconds / 60) * 60;
    if (seconds > 30)
        return std::ceil(seconds / 5) * 5;
    return std::ceil(seconds);
}

} // namespace shardlens::ui
