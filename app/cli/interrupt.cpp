#include "app/cli/interrupt.h"

#include <chrono>
#include <csignal>
#include <pthread.h>
#include <signal.h>

namespace shardlens::cli {
namespace {

constexpr std::chrono::milliseconds kPatience{700};

sigset_t watchedSignals()
{
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction now {};
        // what somebody has set to be ignored (nohup, a script's background job) stays ignored
        if (::sigaction(number, nullptr, &now) == 0 && now.sa_handler == SIG_IGN)
            continue;
        sigaddset(&set, number);
    }
    sigaddset(&set, SIGUSR1); // from the destructor: nothing more to watch
    return set;
}

void watch(std::stop_source stop)
{
    const sigset_t set = watchedSignals();
    std::chrono::steady_clock::time_point asked;
    while (true) {
        int number = 0;
        if (sigwait(&set, &number) != 0)
            continue;
        if (number == SIGUSR1)
            return;
        if (stop.request_stop()) {
            asked = std::chrono::steady_clock::now();
            continue;
        }
        // One key press may arrive twice (from the terminal and from `timeout`): only somebody who asks again later wants it at once.
        if (std::chrono::steady_clock::now() - asked > kPatience) {
            std::signal(number, SIG_DFL);
            sigset_t one;
            sigemptyset(&one);
            sigaddset(&one, number);
            pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
            std::raise(number);
        }
    }
}

} // namespace

InterruptWatch::InterruptWatch()
{
    const sigset_t set = watchedSignals();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    m_thread = std::thread(watch, m_stop);
}

InterruptWatch::~InterruptWatch()
{
    pthread_kill(m_thread.native_handle(), SIGUSR1);
    m_thread.join();
}

} // namespace shardlens::cli
