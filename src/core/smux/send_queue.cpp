#include "core/smux/send_queue.hpp"

#include <algorithm>
#include <cstring>

#include "base/check.hpp"

namespace riffle::core::smux {

bool SendQueue::push(base::SendBlock& block, std::uint32_t size, Pool<Piece>& pool) {
  if (size == 0) return true;
  if (last_ != nullptr && last_->block == &block && last_->end == block.offered) {
    last_->end += size;
  } else {
    if (pieces_ == max_pieces) return false;
    Piece* piece = pool.take();
    *piece = {.block = &block, .begin = block.offered, .end = block.offered + size};
    block.retain();
    (last_ != nullptr ? last_->next : first_) = piece;
    last_ = piece;
    ++pieces_;
  }
  block.offered += size;
  size_ += size;
  return true;
}

void SendQueue::drop_first(Pool<Piece>& pool) {
  Piece* piece = first_;
  first_ = piece->next;
  if (first_ == nullptr) last_ = nullptr;
  --pieces_;
  piece->block->release();
  pool.give(piece);
}

void SendQueue::copy_out(std::span<std::byte> to, Pool<Piece>& pool) {
  RIFFLE_CHECK(to.size() <= size_, "more bytes were asked of a send queue than it holds");
  size_ -= static_cast<std::uint32_t>(to.size());
  while (!to.empty()) {
    const std::size_t part = std::min<std::size_t>(to.size(), first_->end - first_->begin);
    std::memcpy(to.data(), first_->block->data + first_->begin, part);
    first_->begin += static_cast<std::uint32_t>(part);
    to = to.subspan(part);
    if (first_->begin == first_->end) drop_first(pool);
  }
}

void SendQueue::clear(Pool<Piece>& pool) {
  while (first_ != nullptr) drop_first(pool);
  size_ = 0;
}

}  // namespace riffle::core::smux
