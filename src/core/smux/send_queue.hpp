// The blocks of one stream that were offered and are not yet written out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/send_block.hpp"
#include "core/smux/pool.hpp"

namespace riffle::core::smux {

/// Bytes [begin, end) of a block, with one reference to it.
struct Piece {
  Piece* next = nullptr;
  base::SendBlock* block = nullptr;
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};

/// Purpose: a queue of pieces; a block's reference goes when the last of its bytes was copied out. Bounded in bytes by
/// its caller, and in pieces.
class SendQueue {
 public:
  /// Many tiny blocks must not cost more than their bytes: 64 pieces are 2 KiB of bookkeeping.
  static constexpr std::uint32_t max_pieces = 64;

  std::uint32_t size() const noexcept { return size_; }
  std::uint32_t pieces() const noexcept { return pieces_; }
  bool empty() const noexcept { return size_ == 0; }
  /// Takes the next `size` bytes of the block from `block.offered` on, and counts them there. Takes nothing and says
  /// false when there are too many pieces.
  bool push(base::SendBlock& block, std::uint32_t size, Pool<Piece>& pool);
  /// Fills all of `to`, which is no larger than `size()`, and lets go of the blocks that are through.
  void copy_out(std::span<std::byte> to, Pool<Piece>& pool);
  void clear(Pool<Piece>& pool);

 private:
  void drop_first(Pool<Piece>& pool);

  Piece* first_ = nullptr;
  Piece* last_ = nullptr;
  std::uint32_t size_ = 0;
  std::uint32_t pieces_ = 0;
};

}  // namespace riffle::core::smux
