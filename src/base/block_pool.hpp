// Pooled memory that any thread may take and any thread may give back, without a lock and, in steady state, without
// malloc (ENG-3).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace riffle::base {

/// Purpose: one thread's stock of memory pieces in a few sizes. A piece remembers its home; whoever gives it back on
/// another thread pushes it on the home's `returned_` stack, which the home takes whole (no ABA).
/// Bounds: a home keeps at most `keep_bytes` of each size; more goes back to the system.
/// Lifetime: homes are never destroyed; when a thread ends, the next new thread takes its home over.
class BlockPool {
 public:
  static constexpr std::array<std::uint32_t, 5> sizes{256, 1024, 4096 + 128, 16384 + 128, 65536 + 128};
  static constexpr std::size_t keep_bytes = 4 * 1024 * 1024;

  /// This thread's pool.
  static BlockPool& here();
  /// At least `bytes` of memory, aligned to 16; larger than the largest size comes from the system. Owner thread only.
  void* take(std::size_t bytes);
  /// Any thread.
  static void give_back(void* memory) noexcept;
  /// How much a piece taken for `bytes` really holds.
  static std::size_t usable(std::size_t bytes) noexcept;

  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

 private:
  friend class BlockPoolLease;
  struct alignas(16) Piece {
    BlockPool* home;  // null: from the system, too large for the pool
    std::uint32_t shelf;
    Piece* next;
  };
  struct Shelf {
    Piece* first = nullptr;
    std::size_t count = 0;
  };

  BlockPool() = default;
  static std::size_t shelf_for(std::size_t bytes) noexcept;
  void keep(Piece* piece) noexcept;
  void take_returned() noexcept;

  std::array<Shelf, sizes.size()> shelves_{};
  alignas(64) std::atomic<Piece*> returned_{nullptr};
  BlockPool* next_idle_ = nullptr;
};

}  // namespace riffle::base
