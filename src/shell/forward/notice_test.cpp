#include "shell/forward/notice.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace riffle::forwarding {
namespace {

std::shared_ptr<Mailbox> make_mailbox() { return std::make_shared<Mailbox>(runtime::make_epoll_poller().value()); }

Ref<Notice> make_notice(std::uint64_t id) {
  auto notice = Ref<Notice>::adopt(new Notice);
  notice->id = StreamId{id};
  return notice;
}

TEST(ForwardMailbox, TellsOnceWhatHappenedOften) {
  const auto mailbox = make_mailbox();
  const auto first = make_notice(0), second = make_notice(4);
  mailbox->post(*first, stream_readable);
  mailbox->post(*second, stream_stopped);
  mailbox->post(*first, stream_readable);
  mailbox->post(*first, stream_writable);
  std::vector<std::pair<std::uint64_t, std::uint32_t>> told;
  const auto note = [&](Notice& notice, std::uint32_t happened) { told.emplace_back(raw(*notice.id), happened); };
  mailbox->take(note);
  EXPECT_EQ(told, (std::vector<std::pair<std::uint64_t, std::uint32_t>>{{0, stream_readable | stream_writable},
                                                                        {4, stream_stopped}}));
  told.clear();
  mailbox->take(note);
  EXPECT_TRUE(told.empty());
}

TEST(ForwardMailbox, TellsAgainWhatHappensWhileItTells) {
  const auto mailbox = make_mailbox();
  const auto notice = make_notice(0);
  mailbox->post(*notice, stream_readable);
  int told = 0;
  const auto note = [&](Notice& one, std::uint32_t) {
    if (++told == 1) mailbox->post(one, stream_readable);
  };
  mailbox->take(note);
  EXPECT_EQ(told, 1);
  mailbox->take(note);
  EXPECT_EQ(told, 2);
}

TEST(ForwardMailbox, LetsGoOfWhatNobodyWillTakeAnyMore) {
  const auto mailbox = make_mailbox();
  const auto before = make_notice(0), after = make_notice(4);
  mailbox->post(*before, stream_readable);
  mailbox->close();
  mailbox->post(*after, stream_readable);
  EXPECT_EQ(before->references.load(), 1U);
  EXPECT_EQ(after->references.load(), 1U);
}

TEST(ForwardMailbox, WakesWhoeverSleepsAndLosesNothing) {
  constexpr int posters = 3, rounds = 2000;
  const auto mailbox = make_mailbox();
  std::vector<Ref<Notice>> notices;
  for (std::uint64_t i = 0; i < posters; ++i) notices.push_back(make_notice(i));
  // Each poster waits until its last post was told, so a lost wake would hang the test.
  std::vector<std::atomic<int>> told(posters);
  std::vector<std::jthread> threads;
  for (int i = 0; i < posters; ++i) {
    threads.emplace_back([&, i, notice = notices[static_cast<std::size_t>(i)]] {
      auto& mine = told[static_cast<std::size_t>(i)];
      for (int round = 1; round <= rounds; ++round) {
        mailbox->post(*notice, stream_readable);
        for (int seen = mine.load(); seen < round; seen = mine.load()) mine.wait(seen);
      }
    });
  }
  for (int sum = 0; sum < posters * rounds;) {
    const Instant now = std::chrono::steady_clock::now();
    mailbox->wait(now + std::chrono::seconds(60), now);
    EXPECT_LT(std::chrono::steady_clock::now() - now, std::chrono::seconds(60));
    mailbox->take([&](Notice& notice, std::uint32_t) {
      ++sum;
      auto& its = told[raw(*notice.id)];
      its.fetch_add(1);
      its.notify_one();
    });
  }
}

}  // namespace
}  // namespace riffle::forwarding
