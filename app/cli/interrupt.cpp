#include "app/cli/interrupt.h"

#include <csignal>
#include <pthread.h>
#include <signal.h>

namespace shardlens::cli {
namespace {

sigset_t watchedSignals()
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1); // from the destructor: nothing more to watch
    return set;
}

void watch(std::stop_source stop)
{
    const sigset_t set = watchedSignals();
    while (true) {
        int number = 0;
        if (sigwait(&set, &number) != 0)
            continue;
        if (number == SIGUSR1)
            return;
        if (!stop.request_stop()) { // asked before
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
