#include "runtime/epoll_poller.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <vector>

#include "base/check.hpp"

namespace riffle::runtime {
namespace {

// One system call returns so many events at most; what is left is level-triggered and comes with the next call.
constexpr std::size_t most_events = 256;

Error failure(const char* call, int system) {
  const bool used_up = system == EMFILE || system == ENFILE || system == ENOSPC;  // ENOSPC: fs.epoll.max_user_watches
  return Error::with_errno(used_up ? Code::descriptors_exhausted : Code::system_error, system, call);
}

class EpollPoller final : public Poller {
 public:
  explicit EpollPoller(const EpollCalls& calls) : calls_(&calls) {}
  EpollPoller(const EpollPoller&) = delete;
  EpollPoller& operator=(const EpollPoller&) = delete;
  ~EpollPoller() override {
    for (const int handle : {epoll_, wake_read_, wake_write_ == wake_read_ ? -1 : wake_write_}) {
      if (handle >= 0) ::close(handle);
    }
  }

  Result<void> open(bool eventfd);

  Result<void> add(int handle, Pollable& owner, bool readable, bool writable) override;
  void change(int handle, Pollable& owner, bool readable, bool writable) noexcept override;
  void remove(int handle) noexcept override;
  std::span<const Ready> wait(Instant deadline, Instant now) noexcept override;
  void wake() noexcept override;
  int fd() const noexcept override { return epoll_; }

 private:
  /// Who watches a descriptor, and for what. `owner` is null where nobody does.
  struct Watch {
    Pollable* owner = nullptr;
    bool readable = false;
    bool writable = false;
    epoll_event event(int handle) const noexcept {
      epoll_event out{};
      out.data.fd = handle;
      // The kernel reports errors and hang-ups whether asked or not. Watched for nothing, a descriptor that hung up
      // would make every wait return at once: edge-triggered, it does so a single time.
      out.events = (readable ? EPOLLIN | EPOLLRDHUP : 0U) | (writable ? EPOLLOUT : 0U);
      if (out.events == 0) out.events = EPOLLET;
      return out;
    }
  };

  int collect(Instant deadline, Instant now) noexcept;
  void drain_wakes() noexcept;

  const EpollCalls* calls_;
  int epoll_ = -1;
  int wake_read_ = -1;
  int wake_write_ = -1;  // the same as wake_read_ with an eventfd
  bool nanoseconds_ = true;
  std::vector<Watch> watches_;  // by descriptor: the kernel gives out the lowest free numbers, so it is dense
  std::array<epoll_event, most_events> events_;
  std::array<Ready, most_events> ready_;
  std::array<int, most_events> handles_;  // whose each entry of ready_ is
  std::size_t count_ = 0;
};

Result<void> EpollPoller::open(bool eventfd) {
  epoll_ = calls_->epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return std::unexpected(failure("epoll_create1", errno));
  epoll_event event{};
  if (eventfd) {
    wake_read_ = wake_write_ = calls_->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_read_ < 0) return std::unexpected(failure("eventfd", errno));
    // Edge-triggered and never read: each write is an edge, and 2^64 wakes do not happen. Saves a read for each wake.
    event.events = EPOLLIN | EPOLLET;
  } else {
    int ends[2];
    if (calls_->pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return std::unexpected(failure("pipe2", errno));
    wake_read_ = ends[0];
    wake_write_ = ends[1];
    event.events = EPOLLIN;
  }
  event.data.fd = wake_read_;
  if (calls_->epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_read_, &event) != 0) {
    return std::unexpected(failure("epoll_ctl", errno));
  }
  return {};
}

Result<void> EpollPoller::add(int handle, Pollable& owner, bool readable, bool writable) {
  RIFFLE_CHECK(handle >= 0, "a descriptor that is not open");
  const auto index = static_cast<std::size_t>(handle);
  if (watches_.size() <= index) watches_.resize(std::max(index + 1, 2 * watches_.size()));
  const Watch watch{.owner = &owner, .readable = readable, .writable = writable};
  epoll_event event = watch.event(handle);
  if (calls_->epoll_ctl(epoll_, EPOLL_CTL_ADD, handle, &event) != 0) {
    return std::unexpected(failure("epoll_ctl", errno));
  }
  watches_[index] = watch;
  return {};
}

void EpollPoller::change(int handle, Pollable& owner, bool readable, bool writable) noexcept {
  const auto index = static_cast<std::size_t>(handle);
  RIFFLE_CHECK(handle >= 0 && index < watches_.size() && watches_[index].owner == &owner,
               "a descriptor that this owner has not added");
  Watch& watch = watches_[index];
  if (watch.readable == readable && watch.writable == writable) return;
  watch.readable = readable;
  watch.writable = writable;
  epoll_event event = watch.event(handle);
  RIFFLE_CHECK(calls_->epoll_ctl(epoll_, EPOLL_CTL_MOD, handle, &event) == 0,
               "a descriptor was closed before it was removed from the poller");
}

void EpollPoller::remove(int handle) noexcept {
  const auto index = static_cast<std::size_t>(handle);
  if (handle < 0 || index >= watches_.size() || watches_[index].owner == nullptr) return;
  watches_[index] = {};
  epoll_event unused{};
  calls_->epoll_ctl(epoll_, EPOLL_CTL_DEL, handle, &unused);
  for (std::size_t i = 0; i < count_; ++i) {
    if (handles_[i] == handle) ready_[i] = {};
  }
}

std::span<const Ready> EpollPoller::wait(Instant deadline, Instant now) noexcept {
  count_ = 0;
  const int got = collect(deadline, now);
  for (int i = 0; i < got; ++i) {
    const epoll_event& event = events_[static_cast<std::size_t>(i)];
    const int handle = event.data.fd;
    if (handle == wake_read_) {
      drain_wakes();
      continue;
    }
    const Watch& watch = watches_[static_cast<std::size_t>(handle)];
    const Ready ready{.owner = watch.owner,
                      .readable = watch.readable && (event.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0,
                      .writable = watch.writable && (event.events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0};
    if (!ready.readable && !ready.writable) continue;
    handles_[count_] = handle;
    ready_[count_++] = ready;
  }
  return std::span<const Ready>(ready_).first(count_);
}

/// The number of events; 0 also when a signal came in between.
int EpollPoller::collect(Instant deadline, Instant now) noexcept {
  const bool endless = deadline == never;
  const auto left = std::max(deadline - now, Duration::zero());  // not used when endless: no overflow matters
  if (nanoseconds_) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
    const timespec timeout{.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
    const int got = calls_->epoll_pwait2(epoll_, events_.data(), static_cast<int>(most_events),
                                         endless ? nullptr : &timeout, nullptr);
    if (got >= 0 || errno != ENOSYS) return got;
    nanoseconds_ = false;  // before Linux 5.11
  }
  // Rounded up: a wait that ends before its deadline would spin until it.
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  const auto bounded = std::min<std::int64_t>(ms, std::numeric_limits<int>::max());
  return calls_->epoll_wait(epoll_, events_.data(), static_cast<int>(most_events),
                            endless ? -1 : static_cast<int>(bounded));
}

void EpollPoller::wake() noexcept {
  const std::uint64_t one = 1;
  // A full pipe refuses, and is readable: the wait returns all the same.
  [[maybe_unused]] const ssize_t written = ::write(wake_write_, &one, sizeof one);
}

void EpollPoller::drain_wakes() noexcept {
  if (wake_read_ == wake_write_) return;
  std::array<std::byte, 4096> sink;
  while (::read(wake_read_, sink.data(), sink.size()) == static_cast<ssize_t>(sink.size())) {
  }
}

}  // namespace

const EpollCalls& EpollCalls::real() noexcept {
  static constexpr EpollCalls calls{
      .epoll_create1 = [](int flags) { return ::epoll_create1(flags); },
      .epoll_ctl = [](int epoll, int operation, int handle,
                      epoll_event* event) { return ::epoll_ctl(epoll, operation, handle, event); },
      .epoll_wait = [](int epoll, epoll_event* events, int most,
                       int timeout_ms) { return ::epoll_wait(epoll, events, most, timeout_ms); },
      .epoll_pwait2 = [](int epoll, epoll_event* events, int most, const timespec* timeout,
                         const sigset_t* mask) { return ::epoll_pwait2(epoll, events, most, timeout, mask); },
      .eventfd = [](unsigned value, int flags) { return ::eventfd(value, flags); },
      .pipe2 = [](int ends[2], int flags) { return ::pipe2(ends, flags); },
  };
  return calls;
}

Result<std::unique_ptr<Poller>> make_epoll_poller(bool eventfd, const EpollCalls& calls) {
  auto poller = std::make_unique<EpollPoller>(calls);
  if (auto opened = poller->open(eventfd); !opened) return std::unexpected(std::move(opened.error()));
  return poller;
}

Result<std::unique_ptr<Poller>> make_epoll_poller(bool eventfd) {
  return make_epoll_poller(eventfd, EpollCalls::real());
}

}  // namespace riffle::runtime
