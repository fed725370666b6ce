#pragma once

#include <QMetaObject>
#include <QObject>
#include <QPointer>
#include <QThreadPool>

#include <functional>
#include <memory>
#include <stop_token>
#include <utility>

namespace shardlens::ui {

// Runs work on the global pool and delivers its result in the window's thread. Starting again, cancelling or destroying the runner
// asks the running work to stop and drops its result. The work captures values and shared_ptr<const …>, never `this`.
class Runner {
public:
    Runner() = default;
    ~Runner() { cancel(); }
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;

    template <typename Work, typename Deliver>
    void start(Work work, Deliver deliver)
    {
        cancel();
        m_stop = std::stop_source{};
        m_receiver = std::make_unique<QObject>();
        m_running = true;
        QPointer<QObject> receiver(m_receiver.get());
        QThreadPool::globalInstance()->start([this, receiver, stop = m_stop.get_token(), work = std::move(work), deliver = std::move(deliver)]() mutable {
            if (stop.stop_requested())
                return;
            auto result = std::make_shared<decltype(work(stop))>(work(stop));
            // Whether somebody still waits is asked in the window's thread only, where the runner lives and dies.
            QMetaObject::invokeMethod(
                application(),
                [this, receiver, result, stop, deliver = std::move(deliver)]() mutable {
                    if (receiver.isNull() || stop.stop_requested())
                        return;
                    m_running = false;
                    deliver(std::move(*result));
                },
                Qt::QueuedConnection);
        });
    }

    void cancel()
    {
        m_stop.request_stop();
        m_receiver.reset();
        m_running = false;
    }
    [[nodiscard]] bool isRunning() const { return m_running; }

private:
    static QObject* application();

    std::stop_source m_stop;
    std::unique_ptr<QObject> m_receiver;
    bool m_running = false;
};

} // namespace shardlens::ui
