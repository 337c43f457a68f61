// From an integer id to a pointer: open addressing, no allocation in steady state.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace riffle::base {

/// Purpose: a session's streams by id. Linear probing with backward-shift deletion, at most half full.
/// Contract: pointers are not null; the map owns nothing.
template <class T>
class IdMap {
 public:
  T* find(std::uint64_t id) const noexcept {
    if (size_ == 0) return nullptr;
    for (std::size_t i = home(id);; i = next(i)) {
      if (slots_[i].value == nullptr) return nullptr;
      if (slots_[i].id == id) return slots_[i].value;
    }
  }

  /// `id` must not be there.
  void insert(std::uint64_t id, T* value) {
    if (2 * (size_ + 1) > capacity()) grow();
    place(id, value);
    ++size_;
  }

  void erase(std::uint64_t id) noexcept {
    if (size_ == 0) return;
    std::size_t hole = home(id);
    while (slots_[hole].id != id || slots_[hole].value == nullptr) {
      if (slots_[hole].value == nullptr) return;
      hole = next(hole);
    }
    for (std::size_t i = next(hole); slots_[i].value != nullptr; i = next(i)) {
      // An entry may move back only if its home is not between the hole and itself.
      if (((i - home(slots_[i].id)) & mask_) >= ((i - hole) & mask_)) {
        slots_[hole] = slots_[i];
        hole = i;
      }
    }
    slots_[hole].value = nullptr;
    --size_;
  }

  /// Forgets every entry; keeps the room.
  void clear() noexcept {
    for (std::size_t i = 0; i < capacity(); ++i) slots_[i].value = nullptr;
    size_ = 0;
  }

  std::size_t size() const noexcept { return size_; }

  /// Calls `visit(value)` for each; the map must not change meanwhile.
  template <class F>
  void for_each(F&& visit) const {
    for (std::size_t i = 0; i < capacity(); ++i) {
      if (slots_[i].value != nullptr) visit(*slots_[i].value);
    }
  }
  /// Any entry, or null.
  T* any() const noexcept {
    for (std::size_t i = 0; i < capacity(); ++i) {
      if (slots_[i].value != nullptr) return slots_[i].value;
    }
    return nullptr;
  }

 private:
  struct Slot {
    std::uint64_t id = 0;
    T* value = nullptr;
  };
  std::size_t capacity() const noexcept { return slots_ ? mask_ + 1 : 0; }
  std::size_t next(std::size_t i) const noexcept { return (i + 1) & mask_; }
  // Stream ids come in steps of 2 or 4: Fibonacci hashing spreads them.
  std::size_t home(std::uint64_t id) const noexcept {
    return static_cast<std::size_t>((id * 0x9E3779B97F4A7C15ull) >> shift_) & mask_;
  }
  void place(std::uint64_t id, T* value) noexcept {
    std::size_t i = home(id);
    while (slots_[i].value != nullptr) i = next(i);
    slots_[i] = {id, value};
  }
  void grow() {
    const std::size_t old_capacity = capacity();
    auto old = std::move(slots_);
    const std::size_t bigger = old_capacity == 0 ? 16 : 2 * old_capacity;
    slots_ = std::make_unique<Slot[]>(bigger);
    mask_ = bigger - 1;
    shift_ = static_cast<unsigned>(64 - std::countr_zero(bigger));
    for (std::size_t i = 0; i < old_capacity; ++i) {
      if (old[i].value != nullptr) place(old[i].id, old[i].value);
    }
  }

  std::unique_ptr<Slot[]> slots_;
  std::size_t mask_ = 0;
  std::size_t size_ = 0;
  unsigned shift_ = 60;
};

}  // namespace riffle::base
