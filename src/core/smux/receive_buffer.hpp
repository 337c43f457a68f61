// The bytes of one stream that have arrived and are not yet read.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/smux/pool.hpp"

namespace riffle::core::smux {

struct Chunk {
  static constexpr std::size_t size = 4096 - sizeof(void*);  ///< one page with its link
  Chunk* next = nullptr;
  std::array<std::byte, size> bytes;
};

/// Purpose: a byte queue in chunks of a shared pool. Holds no chunk while it is empty. Bounded by its caller.
class ReceiveBuffer {
 public:
  std::uint32_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  void append(std::span<const std::byte> bytes, Pool<Chunk>& pool);
  /// Moves the oldest bytes into `to` and says how many.
  std::size_t read(std::span<std::byte> to, Pool<Chunk>& pool);
  void clear(Pool<Chunk>& pool);

 private:
  Chunk* first_ = nullptr;
  Chunk* last_ = nullptr;
  std::uint32_t begin_ = 0;  ///< first unread byte of `first_`
  std::uint32_t end_ = 0;    ///< behind the last byte of `last_`
  std::uint32_t size_ = 0;
};

}  // namespace riffle::core::smux
