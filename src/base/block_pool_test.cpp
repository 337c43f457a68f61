#include "base/block_pool.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "base/slab.hpp"

namespace riffle::base {
namespace {

TEST(BlockPool, GivesAtLeastWhatWasAskedForAligned) {
  BlockPool& pool = BlockPool::here();
  for (const std::size_t size : {1u, 256u, 257u, 4224u, 16512u, 65664u, 65665u, 3000000u}) {
    EXPECT_GE(BlockPool::usable(size), size);
    void* memory = pool.take(BlockPool::usable(size));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % 16, 0u);
    std::memset(memory, 0xA5, BlockPool::usable(size));
    BlockPool::give_back(memory);
  }
}

// ENG-3: in steady state the same pieces go round.
TEST(BlockPool, UsesAPieceAgain) {
  BlockPool& pool = BlockPool::here();
  void* first = pool.take(1000);
  BlockPool::give_back(first);
  void* second = pool.take(900);
  EXPECT_EQ(first, second);
  BlockPool::give_back(second);
}

// Pieces given back by another thread come home, and are used again there.
TEST(BlockPool, PiecesComeHomeFromOtherThreads) {
  BlockPool& pool = BlockPool::here();
  std::set<void*> taken;
  for (int i = 0; i < 100; ++i) taken.insert(pool.take(60'000));
  EXPECT_EQ(taken.size(), 100u);
  std::thread([&] {
    for (void* memory : taken) BlockPool::give_back(memory);
  }).join();
  std::vector<void*> again;
  std::size_t known = 0;
  for (int i = 0; i < 100; ++i) {
    again.push_back(pool.take(60'000));
    known += taken.count(again.back());
  }
  // 4 MiB of each size are kept; the rest has gone back to the system, which may hand it out again.
  EXPECT_GE(known, BlockPool::keep_bytes / 65'664 - 1);
  for (void* memory : again) BlockPool::give_back(memory);
}

// The pool of a thread that ended is taken over by the next one, with what it holds.
TEST(BlockPool, IsTakenOverWhenItsThreadEnds) {
  const BlockPool& ours = BlockPool::here();  // first, or this thread would take the idle one over
  BlockPool* first = nullptr;
  BlockPool* second = nullptr;
  std::thread([&] { first = &BlockPool::here(); }).join();
  std::thread([&] { second = &BlockPool::here(); }).join();
  EXPECT_EQ(first, second);
  EXPECT_NE(first, &ours);
}

TEST(Slab, OffersItsRoomAndEndsWhereItWasClosed) {
  Slab* slab = Slab::make(4000);
  EXPECT_GE(slab->capacity(), 4000u);
  EXPECT_EQ(slab->end(), slab->capacity());
  std::memset(slab->data(), 1, slab->capacity());
  slab->limit.store(100);
  EXPECT_EQ(slab->end(), 100u);
  {
    slab->retain();
    const Bytes bytes(slab, slab->data(), 10);
    EXPECT_FALSE(slab->is_unique());
  }
  EXPECT_TRUE(slab->is_unique());
  slab->release();
}

}  // namespace
}  // namespace riffle::base
