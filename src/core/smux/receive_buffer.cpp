#include "core/smux/receive_buffer.hpp"

#include <algorithm>
#include <cstring>

namespace riffle::core::smux {

void ReceiveBuffer::append(std::span<const std::byte> bytes, Pool<Chunk>& pool) {
  while (!bytes.empty()) {
    if (last_ == nullptr || end_ == Chunk::size) {
      Chunk* chunk = pool.take();
      chunk->next = nullptr;
      (last_ != nullptr ? last_->next : first_) = chunk;
      last_ = chunk;
      end_ = 0;
    }
    const std::size_t part = std::min<std::size_t>(bytes.size(), Chunk::size - end_);
    std::memcpy(&last_->bytes[end_], bytes.data(), part);
    end_ += static_cast<std::uint32_t>(part);
    size_ += static_cast<std::uint32_t>(part);
    bytes = bytes.subspan(part);
  }
}

std::size_t ReceiveBuffer::read(std::span<std::byte> to, Pool<Chunk>& pool) {
  std::size_t done = 0;
  while (size_ != 0 && done < to.size()) {
    const std::uint32_t here = (first_ == last_ ? end_ : static_cast<std::uint32_t>(Chunk::size)) - begin_;
    const std::size_t part = std::min<std::size_t>(here, to.size() - done);
    std::memcpy(&to[done], &first_->bytes[begin_], part);
    begin_ += static_cast<std::uint32_t>(part);
    size_ -= static_cast<std::uint32_t>(part);
    done += part;
    if (part < here) break;
    Chunk* chunk = first_;
    first_ = chunk->next;
    begin_ = 0;
    if (first_ == nullptr) last_ = nullptr;
    pool.give(chunk);
  }
  return done;
}

void ReceiveBuffer::clear(Pool<Chunk>& pool) {
  while (first_ != nullptr) {
    Chunk* chunk = first_;
    first_ = chunk->next;
    pool.give(chunk);
  }
  *this = {};
}

}  // namespace riffle::core::smux
