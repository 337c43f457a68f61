// Who is running: the address of a thread-local, which costs one instruction to read (law 2).
#pragma once

#include "base/check.hpp"

namespace riffle::base {

class ThreadToken {
 public:
  static ThreadToken current() noexcept {
    static thread_local constinit char anchor = 0;
    return ThreadToken(&anchor);
  }
  constexpr ThreadToken() noexcept = default;
  friend bool operator==(ThreadToken, ThreadToken) = default;
  explicit operator bool() const noexcept { return anchor_ != nullptr; }
  const void* anchor() const noexcept { return anchor_; }

 private:
  explicit ThreadToken(const char* anchor) noexcept : anchor_(anchor) {}
  const char* anchor_ = nullptr;
};

/// Traps a call from a thread that does not own the object (ENG-2). The owner is the thread that made the object, or,
/// when it was made to be handed on, the first one that uses it.
class OwnedByThread {
 public:
  OwnedByThread() noexcept = default;
  static OwnedByThread by_first_user() noexcept {
    OwnedByThread owned;
    owned.owner_ = ThreadToken{};
    return owned;
  }
  /// The first use of what was made to be handed on.
  void bind_if_free() noexcept {
    if (!owner_) owner_ = ThreadToken::current();
  }
  void check() const noexcept {
    RIFFLE_CHECK(owner_ == ThreadToken::current(), "a protocol object was touched by a thread that does not own it");
  }

 private:
  ThreadToken owner_ = ThreadToken::current();
};

}  // namespace riffle::base
