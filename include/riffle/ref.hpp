// An intrusive reference to one of riffle's shared objects.
#pragma once

#include <utility>

namespace riffle {
inline namespace v1 {

/// Purpose: keeps a T alive. T's own room defines `retain_shared(T*)` and `release_shared(T*)`, so that a public header
/// needs only T's name. Threads: one Ref is used by one thread at a time; references may live on any thread.
template <class T>
class Ref {
 public:
  Ref() noexcept = default;
  /// Takes over one reference.
  static Ref adopt(T* object) noexcept {
    Ref ref;
    ref.object_ = object;
    return ref;
  }
  static Ref share(T* object) noexcept {
    if (object != nullptr) retain_shared(object);
    return adopt(object);
  }
  Ref(const Ref& other) noexcept : object_(other.object_) {
    if (object_ != nullptr) retain_shared(object_);
  }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr) release_shared(object_);
  }
  T* get() const noexcept { return object_; }
  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }
  explicit operator bool() const noexcept { return object_ != nullptr; }
  T* detach() noexcept { return std::exchange(object_, nullptr); }

 private:
  T* object_ = nullptr;
};

}  // namespace v1
}  // namespace riffle
