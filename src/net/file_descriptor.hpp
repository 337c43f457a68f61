// A descriptor of the operating system that is closed exactly once.
#pragma once

#include <unistd.h>

#include <utility>

namespace riffle::net {

/// Purpose: owns one descriptor; empty when moved from. Threads: a plain value.
class FileDescriptor {
 public:
  FileDescriptor() noexcept = default;
  explicit FileDescriptor(int descriptor) noexcept : descriptor_(descriptor) {}
  FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    reset(other.release());
    return *this;
  }
  ~FileDescriptor() { reset(); }

  int get() const noexcept { return descriptor_; }
  explicit operator bool() const noexcept { return descriptor_ >= 0; }
  /// Gives the descriptor up without closing it.
  [[nodiscard]] int release() noexcept { return std::exchange(descriptor_, -1); }
  void reset(int descriptor = -1) noexcept {
    // close() is never repeated on EINTR: Linux has let the number go by then, and another thread may own it.
    if (const int old = std::exchange(descriptor_, descriptor); old >= 0) ::close(old);
  }

 private:
  int descriptor_ = -1;
};

}  // namespace riffle::net
