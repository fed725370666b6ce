#include "app/cli/progress_watch.h"

#include "core/convert/execute.h"
#include "core/convert/process_memory.h"

#include <chrono>
#include <sys/ioctl.h>
#include <utility>

namespace shardlens::cli {
namespace {

constexpr auto kTick = std::chrono::milliseconds(100);
constexpr std::size_t kDefaultBarColumns = 80;

std::size_t barColumnsOf(std::FILE* stream)
{
    winsize size{};
    if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return kDefaultBarColumns;
    return size.ws_col;
}

} // namespace

ProgressWatch::ProgressWatch(const JobContext& job, Console& console, EventStream* events, bool bar, std::string label)
    : m_job(job), m_console(console), m_events(events), m_bar(bar && events == nullptr), m_label(std::move(label))
{
    if (m_events != nullptr || m_bar)
        m_thread = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

ProgressWatch::~ProgressWatch()
{
    if (m_thread.joinable()) {
        m_thread.request_stop();
        m_thread.join();
    }
    removeBar();
}

void ProgressWatch::watch(const std::stop_token& stop)
{
    std::unique_lock lock(m_mutex);
    while (!stop.stop_requested()) {
        m_wake.wait_for(lock, stop, kTick, [] { return false; }); // ends early when asked to stop
        if (stop.stop_requested())
            return;
        ProgressSample sample = ProgressSample::of(m_job.progress());
        sample.label = m_label;
        if (m_events != nullptr)
            showEvent(sample);
        else
            showBar(sample);
    }
}

void ProgressWatch::showEvent(const ProgressSample& sample)
{
    m_events->offer(Json{{"event", "progress"},
                         {"phase", nameOf(static_cast<ConvertPhase>(sample.phase))},
                         {"done", sample.done},
                         {"total", sample.total},
                         {"bytes_read", sample.bytesRead},
                         {"bytes_written", sample.bytesWritten},
                         {"read_ns", sample.stages.readNs},
                         {"compute_ns", sample.stages.computeNs},
                         {"write_ns", sample.stages.writeNs},
                         {"rss", residentBytes()}});
}

void ProgressWatch::showBar(const ProgressSample& sample)
{
    if (sample.phase != m_phase) // opening and planning count other things than copying
        m_rate = RateMeter();
    m_phase = sample.phase;
    m_rate.add(std::chrono::steady_clock::now(), sample.done);
    const std::string text = "\r\x1b[K" + progressText(sample, m_rate.bytesPerSecond(), barColumnsOf(m_console.remarks()) - 1);
    std::fwrite(text.data(), 1, text.size(), m_console.remarks());
    std::fflush(m_console.remarks());
    m_drawn = true;
}

void ProgressWatch::removeBar()
{
    if (!m_drawn)
        return;
    std::fputs("\r\x1b[K", m_console.remarks());
    std::fflush(m_console.remarks());
    m_drawn = false;
}

} // namespace shardlens::cli
