// Objects that are used again instead of being allocated again.
#pragma once

#include <cstddef>
#include <vector>

namespace riffle::core::smux {

/// Purpose: keeps up to `keep` returned objects for the next `take`, so that a steady state allocates nothing.
/// An object comes back as it was given: who takes it sets it up.
template <class T>
class Pool {
 public:
  explicit Pool(std::size_t keep) noexcept : keep_(keep) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    for (T* object : free_) delete object;
  }

  T* take() {
    if (free_.empty()) return new T;
    T* object = free_.back();
    free_.pop_back();
    return object;
  }
  void give(T* object) {
    if (free_.size() < keep_)
      free_.push_back(object);
    else
      delete object;
  }

 private:
  std::vector<T*> free_;
  std::size_t keep_;
};

}  // namespace riffle::core::smux
