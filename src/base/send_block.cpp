#include "base/send_block.hpp"

#include <cstring>
#include <new>

namespace riffle::base {

SendBlock* SendBlock::make(Bytes bytes, bool end) {
  if (bytes.size() <= copy_up_to) return make_copy(bytes.span(), end);
  auto* block = new (BlockPool::here().take(sizeof(SendBlock))) SendBlock;
  block->data = bytes.data();
  block->size = static_cast<std::uint32_t>(bytes.size());
  block->fin = end;
  block->owner = bytes.detach();
  return block;
}

SendBlock* SendBlock::make_copy(std::span<const std::byte> bytes, bool end, std::size_t capacity) {
  const std::size_t whole = BlockPool::usable(sizeof(SendBlock) + (capacity > bytes.size() ? capacity : bytes.size()));
  auto* block = new (BlockPool::here().take(whole)) SendBlock;
  block->room_size_ = static_cast<std::uint32_t>(whole - sizeof(SendBlock));
  block->data = block->room();
  block->size = static_cast<std::uint32_t>(bytes.size());
  block->fin = end;
  if (!bytes.empty()) std::memcpy(block->room(), bytes.data(), bytes.size());
  return block;
}

void SendBlock::destroy(SendBlock* block) noexcept {
  if (block->owner != nullptr) block->owner->release();
  block->~SendBlock();
  BlockPool::give_back(block);
}

bool SendBlock::append(std::span<const std::byte> bytes) noexcept {
  if (owner != nullptr || room_size_ - size < bytes.size()) return false;
  std::memcpy(room() + size, bytes.data(), bytes.size());
  size += static_cast<std::uint32_t>(bytes.size());
  return true;
}

}  // namespace riffle::base
