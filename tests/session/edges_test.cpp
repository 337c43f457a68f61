// Corners of the Session that only the scripted fake, or a call out of turn, reaches (COR-5).
#include "core/session/late.hpp"
#include "meet/listener_meet.hpp"
#include "tests/session/suite.hpp"

namespace riffle::test {
namespace {

RigOptions handled(std::optional<Delivery> delivery = std::nullopt) {
  RigOptions options;
  options.client.has_handler = options.server.has_handler = true;
  options.server.delivery = delivery;
  return options;
}

// A stop that the transport tells by `offer` alone, amid a write: the part that was taken is off the books.
TEST(SessionEdges, AStopFoundByAnOfferIsTold) {
  RigOptions options = handled();
  options.server.grants.stream = 5'000;
  options.server.delivery = passive;
  Rig rig(Family::fake, options);
  rig.fake(rig.client).hides_stops = true;
  const StreamId id = *rig.client.session().open(bidirectional, rig.clock.now());
  rig.client.write(id, Bytes::copy(random_bytes(20'000, 1)));
  rig.settle();
  rig.server.session().shutdown(id, Side::reading, AppCode{5}, rig.clock.now());
  rig.settle();
  ASSERT_TRUE(rig.client.first(Kind::stopped));
  EXPECT_EQ(rig.client.first(Kind::stopped)->number, 5u);
  EXPECT_EQ(rig.client.stock.send_held, 0u);
  EXPECT_EQ(rig.client.meet().credit.left(), rig.client.meet().credit.limit());
}

// A stream that the transport no longer knows fails its writes.
TEST(SessionEdges, AWriteToAStreamThatIsGoneFails) {
  Rig rig(Family::fake, handled());
  const StreamId id = *rig.client.session().open(bidirectional, rig.clock.now());
  rig.client.write(id, "first");
  rig.settle();
  rig.fake(rig.client).lose(id);
  rig.client.write(id, Bytes::copy(random_bytes(9'000, 1)));
  rig.settle();
  ASSERT_TRUE(rig.client.first(Kind::write_failed));
  EXPECT_EQ(rig.client.stock.send_held, 0u);
}

// A stream of ours that we have let go, and that the transport names again, is read out and forgotten.
TEST(SessionEdges, AStreamThatWeLetGoIsNotAcceptedAgain) {
  Rig rig(Family::fake, handled());
  const StreamId id = *rig.client.session().open(bidirectional, rig.clock.now());
  rig.client.write(id, "x");
  rig.settle();
  rig.server.is_dead = true;
  rig.client.session().shutdown(id, Side::both, AppCode{1}, rig.clock.now());
  rig.settle();
  ASSERT_EQ(rig.client.session().stats().streams_open, 0u);
  rig.fake(rig.client).name_again(id);
  rig.client.session().on_input({}, {}, rig.clock.now());
  rig.client.cycle(rig.clock.now());
  EXPECT_EQ(rig.client.count(Kind::opened), 0u);
  EXPECT_EQ(rig.client.session().stats().streams_open, 0u);
}

// STR-7: the credit of a stream that only its handler knows grows too.
TEST(SessionEdges, AHandlersCreditGrows) {
  RigOptions options = handled();
  options.client.limits.send_credit = 1000;
  options.client.limits.send_credit_max = 8000;
  Rig rig(Family::fake, options);
  const StreamId id = *rig.client.session().open(bidirectional, rig.clock.now());
  for (int i = 0; i < 10; ++i) {
    while (rig.client.session().writable_bytes(id) > 0) rig.client.write(id, std::string(500, 'x'));
    rig.settle();
  }
  EXPECT_EQ(rig.client.session().writable_bytes(id), 8000);
  EXPECT_TRUE(rig.client.session().is_drained());
  rig.server.is_dead = true;
  rig.client.write(id, "x");
  EXPECT_FALSE(rig.client.session().is_drained());
}

// A handler that shut its reading side down, and reads nevertheless, is told; with a list and without.
TEST(SessionEdges, AReadAfterItsShutdownSaysSo) {
  for (const bool is_shared : {false, true}) {
    Rig rig(Family::fake, handled(passive));
    const StreamId id = *rig.client.session().open(bidirectional, rig.clock.now());
    rig.client.write(id, "x");
    rig.settle();
    AppStream shared;
    if (is_shared) shared = rig.server.share(id);
    rig.settle();
    rig.server.session().shutdown(id, Side::reading, AppCode{1}, rig.clock.now());
    if (is_shared) shared.read();
    EXPECT_EQ(rig.server.session().read(id, 10, rig.clock.now()).error().code(), Code::closed);
  }
}

// A reset that has arrived but was not yet collected is found by a read.
TEST(SessionEdges, AReadMayFindTheReset) {
  Rig rig(Family::fake, handled(passive));
  const StreamId id = *rig.client.session().open(bidirectional, rig.clock.now());
  rig.client.write(id, "x");
  rig.settle();
  rig.client.session().shutdown(id, Side::writing, AppCode{9}, rig.clock.now());
  rig.client.cycle(rig.clock.now());
  ASSERT_FALSE(rig.server.inbox.empty());
  rig.server.session().on_input(rig.server.inbox.front().bytes, {}, rig.clock.now());
  rig.server.inbox.pop_front();
  const auto read = rig.server.session().read(id, 10, rig.clock.now());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Code::stream_reset);
  EXPECT_EQ(read.error().wire(), 9u);
}

// COR-3: an accept whose caller has given up is passed over.
TEST(SessionEdges, AnAbandonedAcceptIsPassedOver) {
  Rig rig(Family::fake);
  Ask<Ref<meet::StreamMeet>> gone(meet::Question::accept_stream), stays(meet::Question::accept_stream);
  gone.post(rig.server.meet());
  stays.post(rig.server.meet());
  rig.settle();
  EXPECT_TRUE(gone.give_up());
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("x"));
  rig.settle();
  EXPECT_TRUE(stays.is_success());
}

// A question to a stream that was stopped and has ended is answered with that.
TEST(SessionEdges, AStoppedStreamThatEndedStillSaysSo) {
  Rig rig(Family::fake);
  auto [ours, theirs] = rig.stream_pair();
  theirs.shutdown(Side::both, 44);
  ASSERT_TRUE(rig.run([&] { return ours.is_finished(); }));
  Ask<> flushed(meet::Question::stream_flushed);
  flushed.post(ours.meet());
  rig.settle();
  ASSERT_TRUE(flushed.is_answered());
  EXPECT_EQ(flushed.error()->code(), Code::stream_stopped);
  EXPECT_EQ(flushed.error()->wire(), 44u);
}

// What threads have posted, and the loop has not yet taken, is settled by the session's end.
TEST(SessionEdges, TheEndSettlesWhatWasPostedButNotTaken) {
  Rig rig(Family::fake);
  Lender lender;
  auto [ours, theirs] = rig.stream_pair();
  EXPECT_TRUE(ours.write(lender.lend(random_bytes(9'000, 1))));
  Ask<> flushed(meet::Question::stream_flushed);
  flushed.post(ours.meet());
  rig.client.session().fail(Error(Code::unreachable), rig.clock.now());
  EXPECT_EQ(lender.released, 0) << "a release callback is user code: not inside the core";
  rig.settle();
  EXPECT_EQ(lender.released, 1);
  EXPECT_EQ(flushed.error()->code(), Code::unreachable);
}

// A session that is destroyed with its actions not run still answers everybody, and so does one that never began.
TEST(SessionEdges, ADestroyedSessionLeavesNobodyWaiting) {
  for (const bool has_ended : {false, true}) {
    SCOPED_TRACE(has_ended);
    CountingWaker loop_waker, reader;
    core::LoopStock stock;
    auto link = meet::Held<meet::LoopLink>::adopt(new meet::LoopLink(loop_waker, nullptr));
    auto shared =
        meet::Held<meet::SessionMeet>::adopt(new meet::SessionMeet(link, Role::client, StreamLimits{}, false));
    Ask<> connected(meet::Question::connected), info(meet::Question::session_info), late(meet::Question::connected);
    std::optional<core::Session> session;
    session.emplace(core::SessionOptions{}, shared, stock);
    AppStream stream;
    if (has_ended) {
      auto* opening = new meet::StreamMeet(shared, bidirectional, true, 1000, 1000);
      stream = AppStream(Ref<meet::StreamMeet>::share(opening));
      shared->opening_count.fetch_add(1);
      shared->opening.push(opening);
      ASSERT_EQ(opening->reading.begin_wait(reader), meet::ReadPath::Wait::sleep);
    }
    connected.post(*shared);
    info.post(*shared);
    session->on_session_attention(meet::session_open | meet::session_wait, Instant{});
    if (has_ended) session->fail(Error(Code::unreachable), Instant{});
    session.reset();
    EXPECT_EQ(connected.times_answered(), 1);
    EXPECT_EQ(connected.error()->code(), has_ended ? Code::unreachable : Code::closed);
    EXPECT_EQ(info.times_answered(), 1);
    EXPECT_EQ(reader.count, has_ended ? 1 : 0);
    late.post(*shared);
    core::settle_late(*shared);
    EXPECT_EQ(late.times_answered(), 1);
    EXPECT_EQ(shared->asking_count.load(), 0u);
    stream.drop();
    for (meet::AttentionNode* node = link->list.close(); node != nullptr;) {
      meet::AttentionNode* next = node->next;
      static_cast<meet::Attendee&>(*node).release();
      node = next;
    }
  }
}

// What nobody takes any more goes with its owner: opens, questions, blocks.
TEST(SessionEdges, SharedBlocksFreeWhatWasLeftInThem) {
  CountingWaker waker;
  Lender lender;
  auto link = meet::Held<meet::LoopLink>::adopt(new meet::LoopLink(waker, nullptr));
  {
    auto shared =
        meet::Held<meet::SessionMeet>::adopt(new meet::SessionMeet(link, Role::client, StreamLimits{}, false));
    auto* never_opened = new meet::StreamMeet(meet::Held<meet::SessionMeet>(), bidirectional, true, 1000, 1000);
    never_opened->mailbox.push(base::SendBlock::make(lender.lend(std::string(9'000, 'x')), false));
    never_opened->asking.push(new meet::AskingFor<bool>(meet::Question::stream_open));
    shared->opening.push(never_opened);
    shared->asking.push(new meet::AskingFor<bool>(meet::Question::connected));
  }
  EXPECT_EQ(lender.released, 1);
  auto* listener = new meet::ListenerMeet(link);
  {
    const Ref<meet::ListenerMeet> handle = Ref<meet::ListenerMeet>::share(listener);
    EXPECT_TRUE(listener->has_handles());
  }
  EXPECT_FALSE(listener->has_handles());
  listener->release();
}

// The loop keeps so many streams for the next ones, and no more.
TEST(SessionEdges, TheStockOfStreamsIsBounded) {
  core::StreamPool pool;
  std::vector<core::Stream*> streams;
  for (int i = 0; i < 5000; ++i) streams.push_back(pool.take());
  for (core::Stream* stream : streams) pool.give_back(stream);
  core::Stream* again = pool.take();
  EXPECT_EQ(again->session, nullptr);
  pool.give_back(again);
}

}  // namespace
}  // namespace riffle::test
