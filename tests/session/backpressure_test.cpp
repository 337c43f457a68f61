// Credit: would_block, writable, marks, growth, the session's share; echoes that stay bounded (ENG-5, STR-7).
#include "tests/session/suite.hpp"

namespace riffle::test {
namespace {

class Backpressure : public SessionSuite {
 protected:
  /// The server does not read, and has room for little.
  static RigOptions narrow(std::uint32_t credit) {
    RigOptions options;
    options.client.limits.send_credit = options.client.limits.send_credit_max = credit;
    options.server.grants.stream = 16 * 1024;
    options.server.limits.receive_list = 8 * 1024;
    return options;
  }
  /// Writes pieces of `size` until one is refused.
  static std::size_t fill(Rig& rig, const AppStream& stream, std::size_t size) {
    std::size_t total = 0;
    for (int i = 0; i < 10'000; ++i) {
      if (!stream.write(random_bytes(size, 1))) break;
      total += size;
      rig.run_for(10ms);
    }
    return total;
  }
};
RIFFLE_OVER_ALL_TRANSPORTS(Backpressure);

// ENG-5: no credit, no bytes; `writable` is answered once, at the low mark, when the reader goes on.
TEST_P(Backpressure, AWriteWithoutCreditWaitsForWritableOnce) {
  Rig rig(family(), narrow(10'000));
  auto [ours, theirs] = rig.stream_pair();
  const std::size_t total = fill(rig, ours, 5'000);
  EXPECT_GT(total, 0u);
  EXPECT_GE(ours.meet().credit.times_blocked(), 1u);
  EXPECT_LE(ours.meet().credit.left(), 0);
  Ask<> writable(meet::Question::stream_writable), second(meet::Question::stream_writable);
  writable.post(ours.meet());
  second.post(ours.meet());
  rig.run_for(1s);
  EXPECT_FALSE(writable.is_answered()) << "nobody reads";
  std::string got;
  EXPECT_TRUE(rig.run([&] {
    theirs.drain(got);
    return writable.is_answered() && second.is_answered();
  }));
  EXPECT_TRUE(writable.is_success() && second.is_success());
  EXPECT_EQ(writable.times_answered(), 1);
  EXPECT_GE(ours.meet().credit.left(), 5'000) << "the low mark is half of the credit";
  EXPECT_TRUE(ours.write("goes on"));
  EXPECT_TRUE(rig.run([&] {
    theirs.drain(got);
    return got.size() == total + 7;
  }));
  EXPECT_EQ(rig.client.session().stats().writes_blocked, ours.meet().credit.times_blocked());
}

// ENG-5: with credit the answer comes at once.
TEST_P(Backpressure, WritableIsAnsweredAtOnceWhileThereIsCredit) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  Ask<> writable(meet::Question::stream_writable);
  writable.post(ours.meet());
  rig.settle();
  EXPECT_TRUE(writable.is_success());
}

// ENG-4: a write is taken whole while there is any credit, however large.
TEST_P(Backpressure, OneByteOfCreditTakesAnyWrite) {
  RigOptions options;
  options.client.limits.send_credit = options.client.limits.send_credit_max = 1000;
  Rig rig(family(), options);
  auto [ours, theirs] = rig.stream_pair();
  const std::string data = random_bytes(2'000'000, 3);
  EXPECT_TRUE(ours.write(data, true));
  std::string got;
  EXPECT_TRUE(rig.run([&] { return theirs.drain(got); }));
  EXPECT_TRUE(got == data);
}

// STR-7: a fast transport and a fast reader raise the credit, up to its bound.
TEST_P(Backpressure, CreditGrowsWithTheDrainRate) {
  RigOptions options;
  options.client.limits.send_credit = 10'000;
  options.client.limits.send_credit_max = 35'000;
  Rig rig(family(), options);
  auto [ours, theirs] = rig.stream_pair();
  std::string got;
  std::size_t sent = 0;
  EXPECT_TRUE(rig.run([&] {
    while (ours.write(std::string(4000, 'x'))) sent += 4000;
    theirs.drain(got);
    return sent > 1'000'000;
  }));
  EXPECT_EQ(ours.meet().credit.limit(), 35'000);
}

// STR-7: credit that was never used up does not grow.
TEST_P(Backpressure, CreditStaysWhereItSuffices) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  const std::int64_t before = ours.meet().credit.limit();
  std::string got;
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(ours.write("small"));
    rig.settle();
  }
  EXPECT_TRUE(rig.run([&] {
    theirs.drain(got);
    return got.size() == 500;
  }));
  EXPECT_EQ(ours.meet().credit.limit(), before);
}

// ENG-10: the session's credit is second; what one stream gives back, another one is told of.
TEST_P(Backpressure, TheSessionsCreditIsShared) {
  RigOptions options = narrow(1'000'000);
  options.client.limits.session_send_credit = 60'000;
  Rig rig(family(), options);
  auto [one, one_there] = rig.stream_pair();
  auto [two, two_there] = rig.stream_pair();
  ASSERT_TRUE(one.write(random_bytes(900'000, 1)));
  rig.run_for(100ms);
  EXPECT_FALSE(two.write("x")) << "the other stream has used the session's credit";
  EXPECT_GT(two.meet().credit.left(), 0);
  Ask<> writable(meet::Question::stream_writable);
  writable.post(two.meet());
  rig.run_for(100ms);
  EXPECT_FALSE(writable.is_answered());
  std::string got;
  EXPECT_TRUE(rig.run([&] {
    one_there.drain(got);
    return writable.is_answered();
  }));
  EXPECT_TRUE(two.write("x"));
}

// The credit of a stream that was reset belongs to the others again, and they are told.
TEST_P(Backpressure, AResetGivesTheSessionsCreditBack) {
  RigOptions options = narrow(1'000'000);
  options.client.limits.session_send_credit = 60'000;
  Rig rig(family(), options);
  auto [one, one_there] = rig.stream_pair();
  auto [two, two_there] = rig.stream_pair();
  ASSERT_TRUE(one.write(random_bytes(900'000, 1)));
  rig.run_for(100ms);
  Ask<> writable(meet::Question::stream_writable);
  writable.post(two.meet());
  rig.run_for(100ms);
  EXPECT_FALSE(writable.is_answered());
  one.shutdown(Side::writing, 4);
  EXPECT_TRUE(rig.run([&] { return writable.is_answered(); }));
  EXPECT_TRUE(writable.is_success());
}

// A handler meets the end of its credit as a number, and is told once when it may go on.
TEST_P(Backpressure, AHandlerIsToldWritableOnce) {
  RigOptions options = narrow(10'000);
  options.client.has_handler = true;
  Rig rig(family(), options);
  const StreamId id = *rig.client.session().open(bidirectional, rig.clock.now());
  rig.client.write(id, "!");
  Ask<Ref<meet::StreamMeet>> accept(meet::Question::accept_stream);
  accept.post(rig.server.meet());
  ASSERT_TRUE(rig.run([&] { return accept.is_success(); }));
  AppStream theirs(std::exchange(*accept.value(), {}));
  while (rig.client.session().writable_bytes(id) > 0) {
    rig.client.write(id, std::string(3000, 'x'));
    rig.run_for(10ms);
  }
  EXPECT_GE(rig.client.session().stats().writes_blocked, 1u);
  rig.client.events.clear();
  std::string got;
  EXPECT_TRUE(rig.run([&] {
    theirs.drain(got);
    return rig.client.count(Kind::writable) != 0;
  }));
  rig.run_for(100ms);
  EXPECT_EQ(rig.client.count(Kind::writable), 1u);
  EXPECT_GT(rig.client.session().writable_bytes(id), 0);
  EXPECT_EQ(rig.client.session().writable_bytes(StreamId{4444}), 0);
}

// An echo inside the data callback overruns by one delivery at most; then the question's stream pauses.
TEST_P(Backpressure, AnEchoStaysBoundedAndLosesNothing) {
  RigOptions options;
  options.server.has_handler = true;
  options.server.limits.send_credit = options.server.limits.send_credit_max = 20'000;
  options.client.grants.stream = 16 * 1024;
  options.client.limits.receive_list = 8 * 1024;
  Rig rig(family(), options);
  AppStream ours = rig.client.open();
  std::size_t largest = 0;
  std::int64_t deepest = 0;
  rig.server.on_data = [&](StreamId id, const Bytes& bytes, bool end) {
    largest = std::max(largest, bytes.size());
    rig.server.write(id, bytes, end);
    deepest = std::min(deepest, rig.server.session().writable_bytes(id));
  };
  const std::string data = random_bytes(4'000'000, 21);
  std::size_t done = 0;
  std::string back;
  // The client writes and does not read: the server's answers pile up to their bound.
  for (int i = 0; i < 500; ++i) {
    if (done < data.size() && ours.write(std::string_view(data).substr(done, 10'000))) done += 10'000;
    rig.run_for(5ms);
  }
  EXPECT_LE(-deepest, static_cast<std::int64_t>(largest)) << "more than one delivery overran";
  EXPECT_LE(rig.server.session().stats().send_buffered, 20'000 + largest);
  EXPECT_LT(done, data.size()) << "the pause must reach the writer";
  bool finished = false;
  EXPECT_TRUE(rig.run([&] {
    while (done < data.size() && ours.write(std::string_view(data).substr(done, 10'000))) done += 10'000;
    if (done >= data.size() && !finished) finished = ours.finish();
    return ours.drain(back);
  }));
  EXPECT_TRUE(back == data);
}

// A paused stream that is shut down, or whose answer's stream is, leaves nothing behind.
TEST_P(Backpressure, APausedStreamMayEndInAnyOrder) {
  for (const bool question_first : {true, false}) {
    SCOPED_TRACE(question_first);
    RigOptions options;
    options.server.has_handler = true;
    options.server.limits.send_credit = options.server.limits.send_credit_max = 1000;
    options.client.grants.stream = 4096;
    options.client.limits.receive_list = 4096;
    Rig rig(family(), options);
    AppStream question = rig.client.open(), answer = rig.client.open();
    EXPECT_TRUE(answer.write("!"));
    rig.run_for(50ms);
    rig.server.on_data = [&](StreamId, const Bytes& bytes, bool) { rig.server.write(answer.id(), bytes); };
    EXPECT_TRUE(question.write(random_bytes(100'000, 2)));
    rig.run_for(50ms);
    EXPECT_TRUE(question.write("more"));
    rig.run_for(50ms);
    const std::size_t before = rig.server.received[question.id()].size();
    const StreamId first = question_first ? question.id() : answer.id();
    rig.server.session().shutdown(first, Side::both, AppCode{1}, rig.clock.now());
    rig.run_for(200ms);
    EXPECT_TRUE(question_first || rig.server.received[question.id()].size() >= before);
    rig.server.session().shutdown(question_first ? answer.id() : question.id(), Side::both, AppCode{1},
                                  rig.clock.now());
    question.shutdown(Side::both, 0);
    answer.shutdown(Side::both, 0);
    EXPECT_TRUE(rig.run([&] { return rig.server.session().stats().streams_open == 0; }));
  }
}

// COR-2, ENG-4: what a stream cannot take any more is told with a reason.
TEST_P(Backpressure, AWriteBehindTheFinIsToldAsFailed) {
  RigOptions options;
  options.client.has_handler = true;
  Rig rig(family(), options);
  const StreamId id = *rig.client.session().open(bidirectional, rig.clock.now());
  rig.client.write(id, "all", true);
  rig.client.write(id, "too late");
  rig.client.write(StreamId{4444}, "nowhere");
  rig.settle();
  std::vector<Event> failed;
  for (const Event& event : rig.client.events) {
    if (event.kind == Kind::write_failed) failed.push_back(event);
  }
  ASSERT_EQ(failed.size(), 2u);
  EXPECT_EQ(Code{static_cast<std::uint16_t>(failed[0].number)}, Code::stream_finished);
  EXPECT_EQ(Code{static_cast<std::uint16_t>(failed[1].number)}, Code::closed);
}

// Two writers raced for the end: what came behind the fin is refused, and its credit comes back.
TEST_P(Backpressure, ABlockBehindTheFinGivesItsCreditBack) {
  RigOptions options;
  options.client.has_handler = true;
  options.client.delivery = passive;
  Rig rig(family(), options);
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("last", true));
  const std::int64_t session_credit = rig.client.meet().credit.left();
  ASSERT_TRUE(ours.meet().credit.take(7) && rig.client.meet().credit.take(7));
  ours.meet().mailbox.push(base::SendBlock::make(Bytes::copy("outrun!"), false));
  rig.client.meet().loop->attend(ours.meet(), meet::stream_write);
  rig.settle();
  EXPECT_EQ(rig.client.count(Kind::write_failed), 1u);
  EXPECT_TRUE(rig.run([&] { return rig.client.meet().credit.left() >= session_credit; }));
}

}  // namespace
}  // namespace riffle::test
