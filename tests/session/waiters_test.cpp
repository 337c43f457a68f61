// Waiters: answered exactly once, on every way out (COR-3).
#include "tests/session/suite.hpp"

namespace riffle::test {
namespace {

class Waiters : public SessionSuite {
 protected:
  static RigOptions unconnected() {
    RigOptions options;
    options.is_connected = false;
    return options;
  }
};
RIFFLE_OVER_ALL_TRANSPORTS(Waiters);

using Question = meet::Question;

TEST_P(Waiters, ForConnectedAreAnsweredByTheHandshake) {
  Rig rig(family(), unconnected());
  Ask<> before(Question::connected), second(Question::connected);
  before.post(rig.client.meet());
  second.post(rig.client.meet());
  rig.client.begin(rig.clock.now());
  rig.server.begin(rig.clock.now());
  rig.settle();
  EXPECT_FALSE(before.is_answered());
  rig.client.adopt(rig.clock.now());
  rig.server.adopt(rig.clock.now());
  EXPECT_TRUE(rig.run([&] { return before.is_success() && second.is_success(); }));
  Ask<> after(Question::connected);
  after.post(rig.client.meet());
  rig.settle();
  EXPECT_TRUE(after.is_success());
  EXPECT_EQ(before.times_answered() + second.times_answered() + after.times_answered(), 3);
}

TEST_P(Waiters, AreAllAnsweredWhenTheSessionFails) {
  Rig rig(family(), unconnected());
  rig.client.begin(rig.clock.now());
  AppStream stream = rig.client.open();
  Ask<> connected(Question::connected), closed(Question::session_closed);
  Ask<> opened(Question::stream_open), flushed(Question::stream_flushed), writable(Question::stream_writable);
  Ask<Ref<meet::StreamMeet>> accept(Question::accept_stream);
  EXPECT_TRUE(stream.write(random_bytes(2'000'000, 1)));
  for (Ask<>* ask : {&opened, &flushed, &writable}) ask->post(stream.meet());
  connected.post(rig.client.meet());
  closed.post(rig.client.meet());
  accept.post(rig.client.meet());
  rig.settle();
  for (Ask<>* ask : {&connected, &closed, &opened, &flushed, &writable}) EXPECT_FALSE(ask->is_answered());
  CountingWaker reader;
  ASSERT_EQ(stream.meet().reading.begin_wait(reader), meet::ReadPath::Wait::sleep);
  rig.client.session().fail(Error(Code::name_not_found, "nowhere.test"), rig.clock.now());
  rig.settle();
  for (Ask<>* ask : {&connected, &opened, &flushed, &writable}) {
    ASSERT_EQ(ask->times_answered(), 1);
    EXPECT_EQ(ask->error()->code(), Code::name_not_found);
  }
  EXPECT_EQ(accept.error()->code(), Code::name_not_found);
  EXPECT_TRUE(closed.is_success());
  EXPECT_EQ(reader.count, 1);
  stream.meet().reading.end_wait();
  EXPECT_EQ(rig.client.meet().close_reason()->error.code(), Code::name_not_found);
  // And those that come afterwards.
  Ask<> late_connected(Question::connected), late_closed(Question::session_closed),
      late_flushed(Question::stream_flushed);
  Ask<Ref<meet::StreamMeet>> late_accept(Question::accept_stream);
  late_connected.post(rig.client.meet());
  late_closed.post(rig.client.meet());
  late_accept.post(rig.client.meet());
  late_flushed.post(stream.meet());
  rig.settle();
  EXPECT_EQ(late_connected.error()->code(), Code::name_not_found);
  EXPECT_EQ(late_accept.error()->code(), Code::name_not_found);
  EXPECT_EQ(late_flushed.error()->code(), Code::name_not_found);
  EXPECT_TRUE(late_closed.is_success());
}

TEST_P(Waiters, AreAnsweredByAClose) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  Ask<> closed(Question::session_closed), closed_there(Question::session_closed);
  Ask<Ref<meet::StreamMeet>> accept(Question::accept_stream);
  closed.post(rig.client.meet());
  closed_there.post(rig.server.meet());
  accept.post(rig.client.meet());
  rig.settle();
  rig.client.close(7, "enough");
  EXPECT_TRUE(rig.run([&] { return closed.is_answered() && accept.is_answered(); }));
  EXPECT_TRUE(closed.is_success());
  EXPECT_EQ(accept.error()->code(), Code::closed);
  if (rig.family != Family::smux) {
    EXPECT_TRUE(rig.run([&] { return closed_there.is_success(); }));
    EXPECT_TRUE(theirs.read().is(Code::closed));
  }
}

TEST_P(Waiters, ThatGiveUpAreNotAnswered) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  Ask<> closed(Question::session_closed), flushed(Question::stream_flushed);
  closed.post(rig.client.meet());
  rig.settle();
  EXPECT_TRUE(closed.give_up());
  EXPECT_FALSE(closed.give_up()) << "only once";
  rig.client.close();
  rig.run_for(100ms);
  EXPECT_FALSE(closed.is_answered());
}

// Asking again and again with short deadlines fills no list: who has given up is let go at the next question.
TEST_P(Waiters, ThatGiveUpAreForgotten) {
  RigOptions options;
  options.client.limits.send_credit = options.client.limits.send_credit_max = 1000;
  Rig rig(family(), options);
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write(std::string(4'000'000, 'x')));
  rig.server.is_dead = true;
  rig.settle();
  for (int i = 0; i < 100; ++i) {
    Ask<> connected(Question::session_closed), writable(Question::stream_writable);
    Ask<Ref<meet::StreamMeet>> accept(Question::accept_stream);
    connected.post(rig.client.meet());
    accept.post(rig.client.meet());
    writable.post(ours.meet());
    rig.settle();
    EXPECT_LE(rig.client.meet().asking_count.load(), 6u);
  }
}

// An accept whose caller gave up between the answer and the reply: its stream goes to the next one.
TEST_P(Waiters, AnAcceptThatWasGivenUpLosesNoStream) {
  Rig rig(family());
  AppStream ours = rig.client.open();
  Ask<Ref<meet::StreamMeet>> first(Question::accept_stream), second(Question::accept_stream);
  first.post(rig.server.meet());
  EXPECT_TRUE(ours.write("for whoever comes"));
  // The server's loop has taken the stream and prepared the answer; then its caller gives up.
  rig.client.cycle(rig.clock.now());
  for (int i = 0; i < 3; ++i) rig.client.cycle(rig.clock.now());
  Host& server = rig.server;
  server.take_attention(rig.clock.now());
  while (!server.inbox.empty()) {
    server.session().on_input(server.inbox.front().bytes, server.inbox.front().arrival, rig.clock.now());
    server.inbox.pop_front();
  }
  server.session().collect(rig.clock.now());
  EXPECT_TRUE(first.give_up());
  server.run_actions(rig.clock.now());
  EXPECT_FALSE(first.is_answered());
  rig.settle();
  second.post(server.meet());
  rig.settle();
  ASSERT_TRUE(second.is_success());
  AppStream theirs(std::exchange(*second.value(), {}));
  EXPECT_EQ(theirs.read().text, "for whoever comes");
  theirs.write("still alive");
  EXPECT_TRUE(rig.run([&] { return ours.read().text == "still alive"; }));
}

// Accepts are served in the order in which they came, streams in theirs.
TEST_P(Waiters, AcceptsAreServedInOrder) {
  Rig rig(family());
  Ask<Ref<meet::StreamMeet>> first(Question::accept_stream), second(Question::accept_stream);
  first.post(rig.server.meet());
  second.post(rig.server.meet());
  rig.settle();
  AppStream one = rig.client.open(), two = rig.client.open();
  EXPECT_TRUE(one.write("1"));
  EXPECT_TRUE(two.write("2"));
  EXPECT_TRUE(rig.run([&] { return first.is_success() && second.is_success(); }));
  AppStream a(std::exchange(*first.value(), {})), b(std::exchange(*second.value(), {}));
  EXPECT_EQ(a.id(), one.id());
  EXPECT_EQ(b.id(), two.id());
}

// STR-2: flushed means that the transport below has all of it: acknowledged (QUIC), or written out (smux).
TEST_P(Waiters, ForFlushedAreAnsweredWhenAllIsAcknowledged) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  rig.run_for(1s);
  Ask<> nothing(Question::stream_flushed), flushed(Question::stream_flushed);
  nothing.post(ours.meet());
  rig.settle();
  EXPECT_TRUE(nothing.is_success()) << "nothing is under way";
  rig.server.is_dead = true;
  EXPECT_TRUE(ours.write(random_bytes(10'000, 1)));
  flushed.post(ours.meet());
  rig.settle();
  EXPECT_EQ(flushed.is_answered(), !rig.has(core::Capability::acknowledged));
  rig.server.is_dead = false;
  EXPECT_TRUE(rig.run([&] { return flushed.is_success(); }));
  EXPECT_EQ(ours.meet().counters.acknowledged.load(), 10'001u);
  std::string got;
  EXPECT_TRUE(theirs.write("x", true));
  EXPECT_TRUE(ours.finish());
  EXPECT_TRUE(rig.run([&] {
    theirs.drain(got);
    ours.drain(got);
    return ours.is_finished();
  }));
  Ask<> late(Question::stream_flushed), opened(Question::stream_open), writable(Question::stream_writable);
  for (Ask<>* ask : {&late, &opened, &writable}) ask->post(ours.meet());
  rig.settle();
  EXPECT_TRUE(late.is_success()) << "a stream that finished was flushed";
  EXPECT_TRUE(opened.is_success());
  EXPECT_EQ(writable.error()->code(), Code::closed);
}

// A waiter for writable learns that its stream was reset, or finished.
TEST_P(Waiters, ForWritableLearnOfTheEndOfTheStream) {
  RigOptions options;
  options.client.limits.send_credit = options.client.limits.send_credit_max = 1000;
  options.server.grants.stream = 4096;
  Rig rig(family(), options);
  auto [ours, theirs] = rig.stream_pair();
  EXPECT_TRUE(ours.write(std::string(5'000'000, 'x')));
  rig.run_for(50ms);
  Ask<> writable(Question::stream_writable), flushed(Question::stream_flushed), after(Question::stream_writable);
  writable.post(ours.meet());
  rig.settle();
  EXPECT_FALSE(writable.is_answered());
  ours.shutdown(Side::writing, 3);
  rig.settle();
  ASSERT_EQ(writable.times_answered(), 1);
  EXPECT_EQ(writable.error()->code(), Code::stream_finished);
  after.post(ours.meet());
  flushed.post(ours.meet());
  rig.settle();
  EXPECT_EQ(after.error()->code(), Code::stream_finished);
  EXPECT_EQ(flushed.error()->code(), Code::stream_finished);
}

// A wait and the event that ends the stream may be seen in one take: the waiter is answered nevertheless.
TEST_P(Waiters, AreAnsweredInTheTakeThatEndsTheirStream) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  Ask<> flushed(Question::stream_flushed), writable(Question::stream_writable);
  ours.shutdown(Side::both, 1);
  flushed.post(ours.meet());
  writable.post(ours.meet());
  rig.settle();
  EXPECT_TRUE(flushed.is_answered() && writable.is_answered());
}

}  // namespace
}  // namespace riffle::test
