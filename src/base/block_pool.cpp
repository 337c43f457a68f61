#include "base/block_pool.hpp"

#include <mutex>
#include <new>

namespace riffle::base {
namespace {

std::mutex idle_lock;  // taken when a thread first uses its pool and when it ends, never in between
BlockPool* idle_pools = nullptr;
thread_local constinit BlockPool* current = nullptr;

}  // namespace

/// Gives the thread's pool on to the next thread when this one ends.
class BlockPoolLease {
 public:
  static BlockPool* take_over() {
    const std::lock_guard hold(idle_lock);
    if (idle_pools == nullptr) return new BlockPool;
    BlockPool* pool = idle_pools;
    idle_pools = pool->next_idle_;
    return pool;
  }
  ~BlockPoolLease() {
    if (current == nullptr) return;
    const std::lock_guard hold(idle_lock);
    current->next_idle_ = idle_pools;
    idle_pools = current;
    current = nullptr;
  }
};

BlockPool& BlockPool::here() {
  if (current == nullptr) {
    static thread_local BlockPoolLease lease;
    current = BlockPoolLease::take_over();
  }
  return *current;
}

std::size_t BlockPool::shelf_for(std::size_t bytes) noexcept {
  std::size_t shelf = 0;
  while (shelf < sizes.size() && bytes > sizes[shelf]) ++shelf;
  return shelf;
}

std::size_t BlockPool::usable(std::size_t bytes) noexcept {
  const std::size_t shelf = shelf_for(bytes);
  return shelf < sizes.size() ? sizes[shelf] : bytes;
}

void* BlockPool::take(std::size_t bytes) {
  const std::size_t shelf = shelf_for(bytes);
  if (shelf == sizes.size()) {
    auto* piece = new (::operator new(sizeof(Piece) + bytes)) Piece{nullptr, 0, nullptr};
    return piece + 1;
  }
  if (shelves_[shelf].first == nullptr) take_returned();
  if (Piece* piece = shelves_[shelf].first) {
    shelves_[shelf].first = piece->next;
    --shelves_[shelf].count;
    return piece + 1;
  }
  auto* piece =
      new (::operator new(sizeof(Piece) + sizes[shelf])) Piece{this, static_cast<std::uint32_t>(shelf), nullptr};
  return piece + 1;
}

void BlockPool::keep(Piece* piece) noexcept {
  Shelf& shelf = shelves_[piece->shelf];
  if (shelf.count * sizes[piece->shelf] >= keep_bytes) {
    ::operator delete(piece);
    return;
  }
  piece->next = shelf.first;
  shelf.first = piece;
  ++shelf.count;
}

void BlockPool::take_returned() noexcept {
  Piece* piece = returned_.exchange(nullptr, std::memory_order_acquire);
  while (piece != nullptr) {
    Piece* next = piece->next;
    keep(piece);
    piece = next;
  }
}

void BlockPool::give_back(void* memory) noexcept {
  Piece* piece = static_cast<Piece*>(memory) - 1;
  BlockPool* home = piece->home;
  if (home == nullptr) {
    ::operator delete(piece);
  } else if (home == current) {
    home->keep(piece);
  } else {
    piece->next = home->returned_.load(std::memory_order_relaxed);
    while (!home->returned_.compare_exchange_weak(piece->next, piece, std::memory_order_release,
                                                  std::memory_order_relaxed)) {
    }
  }
}

}  // namespace riffle::base
