// The poller port: waiting for descriptors, an instant, or a wake from another thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include <riffle/error.hpp>
#include "base/instant.hpp"
#include "meet/attention.hpp"

namespace riffle::runtime {

/// Whoever owns a descriptor. `tag` values are the owner's own.
class Pollable {
 public:
  virtual ~Pollable() = default;
  virtual void on_ready(bool readable, bool writable) noexcept = 0;
};

struct Ready {
  Pollable* owner = nullptr;
  bool readable = false;
  bool writable = false;
};

/// Level-triggered. All but `wake` are for the loop's thread.
class Poller : public meet::Wakeable {
 public:
  virtual ~Poller() = default;
  virtual Result<void> add(int handle, Pollable& owner, bool readable, bool writable) = 0;
  virtual void change(int handle, Pollable& owner, bool readable, bool writable) noexcept = 0;
  virtual void remove(int handle) noexcept = 0;
  /// Waits until `deadline` (`never`: without end; at or before `now`: not at all). The span is valid until the next
  /// call; `remove` during its use blanks the owner's later entries.
  virtual std::span<const Ready> wait(Instant deadline, Instant now) noexcept = 0;
  /// Any thread: makes the present or next `wait` return. One system call.
  void wake() noexcept override = 0;
  /// A descriptor that a foreign loop can watch: readable whenever `wait` would return something (ENG-9).
  virtual int fd() const noexcept = 0;
};

/// epoll, with an eventfd for wakes or, where `eventfd` is false, a pipe (UDP-5).
Result<std::unique_ptr<Poller>> make_epoll_poller(bool eventfd = true);

}  // namespace riffle::runtime
