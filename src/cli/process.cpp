#include "cli/process.hpp"

#include <pthread.h>
#include <sys/resource.h>

#include <utility>

namespace riffle::cli {
namespace {

// Wakes the waiting thread at the end; blocked like the others, so it does nothing else.
constexpr int no_more = SIGUSR1;

}  // namespace

Signals::Signals() {
  sigemptyset(&ends_);
  sigaddset(&ends_, SIGINT);
  sigaddset(&ends_, SIGTERM);
  sigaddset(&ends_, no_more);
  pthread_sigmask(SIG_BLOCK, &ends_, nullptr);
  // A pipe that nobody reads any more is a failed write, not a death.
  std::signal(SIGPIPE, SIG_IGN);
}

Signals::Watch::~Watch() {
  if (!thread_.joinable()) return;
  pthread_kill(thread_.native_handle(), no_more);
  thread_.join();
}

void Signals::wait() const {
  int signal = 0;
  while (sigwait(&ends_, &signal) != 0 || signal == no_more) {
  }
}

Signals::Watch Signals::on_first(std::function<void()> react) const {
  return Watch(std::thread([ends = ends_, react = std::move(react)] {
    int signal = 0;
    while (sigwait(&ends, &signal) != 0) {
    }
    if (signal != no_more) react();
  }));
}

void raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

Usage usage() noexcept {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return {.cpu_seconds = seconds(used.ru_utime) + seconds(used.ru_stime), .max_rss_kb = used.ru_maxrss};
}

}  // namespace riffle::cli
