// The parts where threads meet, each alone under many threads: attention, mailbox, block pool, credit.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "base/block_pool.hpp"
#include "meet/credit.hpp"
#include "meet/mailbox.hpp"
#include "tests/session/threads/loop_thread.hpp"

namespace riffle::test {
namespace {

// ENG-3: no post is lost, although the loop sleeps whenever it can; a lost wake would hang this test.
TEST(MeetThreads, NoAttentionIsLostToASleepingLoop) {
  constexpr int posters = 3, posts = 20'000;
  struct Node : meet::AttentionNode {
    std::atomic<int> posted{0};
    int seen = 0;
  };
  std::array<Node, 5> nodes;
  meet::AttentionList list;
  Sleeper loop_bell;
  std::atomic<int> running{posters};
  int sleeps = 0;
  std::thread loop([&] {
    for (;;) {
      meet::AttentionNode* first = list.take();
      if (first == nullptr) {
        if (running.load() == 0 && list.take() == nullptr) break;
        if (!list.fall_asleep()) continue;
        ++sleeps;
        loop_bell.sleep();
        continue;
      }
      while (first != nullptr) {
        meet::AttentionNode* next = first->next;
        meet::AttentionList::take_bits(*first);
        auto& node = static_cast<Node&>(*first);
        node.seen = node.posted.load();
        first = next;
      }
    }
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < posters; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < posts; ++k) {
        Node& node = nodes[static_cast<std::size_t>(k * 7 + i) % nodes.size()];
        ++node.posted;
        if (list.attend(node, 1) == meet::AttentionList::Attended::linked_asleep) loop_bell.wake();
      }
      --running;
      loop_bell.wake();
    });
  }
  for (std::thread& thread : threads) thread.join();
  loop.join();
  int seen = 0;
  for (const Node& node : nodes) seen += node.seen;
  EXPECT_EQ(seen, posters * posts);
}

TEST(MeetThreads, AMailboxKeepsEachPushersOrder) {
  constexpr int pushers = 3, letters = 20'000;
  struct Letter {
    int pusher, number;
    Letter* next;
  };
  meet::Mailbox<Letter> box;
  std::vector<std::thread> threads;
  for (int i = 0; i < pushers; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < letters; ++k) box.push(new Letter{i, k, nullptr});
    });
  }
  std::array<int, pushers> next{};
  for (int got = 0; got < pushers * letters;) {
    for (Letter* letter = box.take(); letter != nullptr; ++got) {
      ASSERT_EQ(letter->number, next[static_cast<std::size_t>(letter->pusher)]++);
      delete std::exchange(letter, letter->next);
    }
  }
  for (std::thread& thread : threads) thread.join();
}

// Memory that goes round between threads: taken by one, filled, checked and given back by another.
TEST(MeetThreads, PooledMemoryGoesRoundBetweenThreads) {
  struct Piece {
    Piece* next;
    std::uint64_t seed;
  };
  constexpr int pieces = 20'000;
  std::array<meet::Mailbox<Piece>, 2> boxes;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t me = 0; me < 2; ++me) {
    threads.emplace_back([&, me] {
      int sent = 0, got = 0;
      while (sent < pieces || got < pieces) {
        if (sent < pieces) {
          auto* piece =
              static_cast<Piece*>(base::BlockPool::here().take(200 + static_cast<std::size_t>(sent % 5) * 900));
          piece->seed = static_cast<std::uint64_t>(sent++);
          std::memset(static_cast<void*>(piece + 1), static_cast<int>(piece->seed & 0xff), 150);
          boxes[1 - me].push(piece);
        }
        for (Piece* piece = boxes[me].take(); piece != nullptr; ++got) {
          Piece* next = piece->next;
          const auto* bytes = reinterpret_cast<const unsigned char*>(piece + 1);
          if (bytes[0] != (piece->seed & 0xff) || bytes[149] != (piece->seed & 0xff)) ++wrong;
          base::BlockPool::give_back(piece);
          piece = next;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
}

// ENG-5: whoever met no credit, set WANT and found none on a second look is told.
TEST(MeetThreads, NoWriterThatWantsCreditIsForgotten) {
  constexpr int writers = 3, writes = 10'000;
  meet::Credit credit(100);
  std::atomic<std::int64_t> under_way{0};
  std::atomic<int> running{writers};
  std::array<Sleeper, writers> bells;
  std::array<std::atomic<bool>, writers> waits{};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < writers; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < writes; ++k) {
        while (!credit.take(60)) {
          waits[i].store(true);
          credit.want();
          if (credit.left() > 0 && waits[i].exchange(false)) continue;
          bells[i].sleep();
        }
        under_way += 60;
      }
      --running;
    });
  }
  // The loop: gives back what is under way, and wakes those who wait when the low mark is crossed.
  while (running.load() != 0) {
    if (const std::int64_t size = under_way.exchange(0)) credit.give_back(size);
    if (!credit.take_want()) continue;
    for (std::size_t i = 0; i < writers; ++i) {
      if (waits[i].exchange(false)) bells[i].wake();
    }
  }
  for (std::thread& thread : threads) thread.join();
  credit.give_back(under_way.load());
  EXPECT_EQ(credit.left(), 100);
}

}  // namespace
}  // namespace riffle::test
