// One write on its way to the transport: bytes that stay put until the peer has them.
#pragma once

#include <cstddef>
#include <cstdint>

#include <riffle/bytes.hpp>

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
  SendBlock* next = nullptr;          ///< mailbox, queue, or released list: it is in one of them at a time
  const std::byte* data = nullptr;
  std::uint32_t size = 0;
  bool fin = false;                   ///< the stream ends behind this block
  std::uint32_t offered = 0;          ///< bytes that the transport has taken
  void* stream = nullptr;             ///< the stream it belongs to, for `flushed`; the session's business
  Block* owner = nullptr;             ///< keeps `data` alive; null when the bytes stand behind this object
  ReleasedBlocks* released = nullptr; ///< where it goes at the last release

  void retain() noexcept { ++references_; }
  void release() noexcept {
    if (--references_ == 0) {
      next = released->first;
      released->first = this;
    }
  }
  std::uint32_t references() const noexcept { return references_; }

 private:
  std::uint32_t references_ = 1;
};

}  // namespace riffle::base
