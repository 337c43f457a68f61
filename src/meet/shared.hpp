// References to what is shared between a loop and the application.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "meet/attention.hpp"

namespace riffle::meet {

/// Purpose: base of every object that both sides hold. Counts all references, and apart from them the application's
/// handles, because the last handle means something to the loop.
class Shared {
 public:
  Shared() = default;
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }
  void retain_handle() noexcept {
    handles_.fetch_add(1, std::memory_order_relaxed);
    retain();
  }
  /// True when it was the last handle. The caller still has its reference, and releases it.
  bool drop_handle() noexcept { return handles_.fetch_sub(1, std::memory_order_acq_rel) == 1; }
  bool has_handles() const noexcept { return handles_.load(std::memory_order_acquire) != 0; }

 protected:
  virtual ~Shared() = default;
  virtual void destroy() noexcept { delete this; }

 private:
  std::atomic<std::uint32_t> references_{1};
  std::atomic<std::uint32_t> handles_{0};
};

/// A reference of riffle's own, not counted as a handle.
template <class T>
class Held {
 public:
  Held() noexcept = default;
  static Held adopt(T* object) noexcept {
    Held held;
    held.object_ = object;
    return held;
  }
  static Held share(T* object) noexcept {
    if (object != nullptr) object->retain();
    return adopt(object);
  }
  Held(const Held& other) noexcept : object_(other.object_) {
    if (object_ != nullptr) object_->retain();
  }
  Held(Held&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Held& operator=(Held other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Held() {
    if (object_ != nullptr) object_->release();
  }
  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

}  // namespace riffle::meet
