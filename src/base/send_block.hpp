// One write on its way to the transport: bytes that stay put until the peer has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <riffle/bytes.hpp>
#include "base/block_pool.hpp"

namespace riffle::base {

class SendBlock;

/// Where blocks go whose last reference went: taken by the loop at its own step, so that no user code (a release
/// callback) runs inside the transport (law 6).
struct ReleasedBlocks {
  SendBlock* first = nullptr;
};

/// Purpose: the unit that a stream queues and offers to its transport. The transport keeps references to it (by
/// `retain`/`release`) for as long as it may have to send the bytes again; QUIC lets go when the peer acknowledged.
/// Threads: made by any thread; from the moment the loop has taken it, the loop's thread only. The count is therefore
/// not atomic.
class SendBlock {
 public:
  /// At most so many bytes are copied behind the block; more is moved in. Copying 4 KiB costs as much as the
  /// bookkeeping of a shared block (facts/toolchain.md).
  static constexpr std::size_t copy_up_to = 4096;

  /// Takes the bytes over (or copies them, when they are few). Any thread.
  static SendBlock* make(Bytes bytes, bool end);
  /// Room for `capacity` bytes behind the block, `size` of them copied from `data`. Any thread.
  static SendBlock* make_copy(std::span<const std::byte> bytes, bool end, std::size_t capacity = 0);
  /// Lets the bytes go and gives the memory back. Any thread that owns the block alone.
  static void destroy(SendBlock* block) noexcept;
  /// Adds bytes behind those of a block that was made with room for them; false when they do not fit.
  bool append(std::span<const std::byte> bytes) noexcept;

  SendBlock* next = nullptr;  ///< mailbox, queue, or released list: it is in one of them at a time
  const std::byte* data = nullptr;
  std::uint32_t size = 0;
  bool fin = false;                    ///< the stream ends behind this block
  std::uint32_t offered = 0;           ///< bytes that the transport has taken
  void* stream = nullptr;              ///< the stream it belongs to, for `flushed`; the session's business
  Block* owner = nullptr;              ///< keeps `data` alive; null when the bytes stand behind this object
  ReleasedBlocks* released = nullptr;  ///< where it goes at the last release

  void retain() noexcept { ++references_; }
  void release() noexcept {
    if (--references_ == 0) {
      next = released->first;
      released->first = this;
    }
  }
  std::uint32_t references() const noexcept { return references_; }

 private:
  SendBlock() = default;
  std::byte* room() noexcept { return reinterpret_cast<std::byte*>(this + 1); }

  std::uint32_t room_size_ = 0;
  std::uint32_t references_ = 1;
};

}  // namespace riffle::base
