#pragma once

#include "ui/jobs/job_protocol.h"
#include "ui/jobs/stage_rates.h"

#include <QString>

#include <deque>
#include <optional>
#include <vector>

namespace shardlens::ui {

// One value of the throughput plot, in bytes a second.
struct RateSample {
    double seconds = 0; // since the job started
    double read = 0;
    double written = 0;
};

// How fast a job goes and how long it will take, from its progress lines. Pure: time is handed in, in seconds since the start, never falling.
class JobRate {
public:
    static constexpr double kWindowSeconds = 60;       // of the plot
    static constexpr double kTimeLeftAfterSeconds = 2; // no estimate before

    void report(double seconds, const JobProgress& progress);
    // Takes a sample; to be called every 100 ms.
    void tick(double seconds);

    [[nodiscard]] const std::deque<RateSample>& samples() const { return m_samples; } // of the last minute
    [[nodiscard]] double now() const { return m_now; }         // progress in bytes a second, over the last second
    [[nodiscard]] const StageSpan& stages() const { return m_stages; } // over the last second
    [[nodiscard]] double average() const { return m_average; } // since the first progress
    // Seconds left; nothing while it cannot be known. It runs down with the clock and goes up only when slower() is true as well.
    [[nodiscard]] std::optional<double> timeLeft() const { return m_left; }
    // The estimate has gone up lately, because the rate has fallen.
    [[nodiscard]] bool slower() const { return m_slower; }

private:
    struct Point {
        double seconds;
        JobProgress progress;
    };

    // The latest point that is at least `age` old, else the oldest.
    [[nodiscard]] const Point& pointBefore(double seconds) const;
    void updateTimeLeft(double seconds, double sinceLast);

    std::deque<Point> m_points; // of the last seconds
    std::deque<RateSample> m_samples;
    std::optional<Point> m_first;
    double m_lastTick = 0;
    double m_now = 0;
    StageSpan m_stages;
    double m_average = 0;
    double m_smooth = 0;
    std::optional<double> m_left;
    double m_slowerUntil = 0;
    bool m_slower = false;
};

// Rounded for the eye: to 5 s above 30 s, to minutes above 3 min.
[[nodiscard]] double roundedTimeLeft(double seconds);

} // namespace shardlens::ui
