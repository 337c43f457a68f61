// Delivery modes: active, once, N, passive, and switches between them (STR-3, HND-1).
#include "tests/session/suite.hpp"

namespace riffle::test {
namespace {

class Modes : public SessionSuite {
 protected:
  /// The server has a handler; the client writes by plain calls.
  static RigOptions handled(std::optional<Delivery> delivery = std::nullopt) {
    RigOptions options;
    options.server.has_handler = true;
    options.server.delivery = delivery;
    return options;
  }
};
RIFFLE_OVER_ALL_TRANSPORTS(Modes);

// STR-3: active is the default with a handler; data comes as it arrives, the fin with or behind it.
TEST_P(Modes, ActiveDeliversWithoutBeingAsked) {
  Rig rig(family(), handled());
  AppStream ours = rig.client.open();
  const std::string data = random_bytes(200'000, 1);
  EXPECT_TRUE(ours.write(data));
  rig.run_for(100ms);
  EXPECT_TRUE(rig.server.received[ours.id()] == data);
  EXPECT_FALSE(rig.server.has_fin[ours.id()]);
  EXPECT_TRUE(ours.finish());
  rig.run_for(100ms);
  EXPECT_TRUE(rig.server.has_fin[ours.id()]);
  EXPECT_EQ(rig.server.first(Kind::opened)->stream, ours.id());
  EXPECT_EQ(rig.server.count(Kind::opened), 1u);
}

// STR-3: once is one delivery, then passive, with a notice.
TEST_P(Modes, OnceDeliversOnceAndTellsThatItIsUsedUp) {
  Rig rig(family(), handled(active_once));
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("first"));
  rig.run_for(100ms);
  EXPECT_TRUE(ours.write("second"));
  rig.run_for(100ms);
  EXPECT_EQ(rig.server.received[ours.id()], "first");
  EXPECT_EQ(rig.server.count(Kind::used_up), 1u);
  EXPECT_EQ(rig.server.count(Kind::readable), 1u);
  // Armed again: what has waited is delivered.
  rig.server.session().set_delivery(ours.id(), active_once, rig.clock.now());
  rig.run_for(100ms);
  EXPECT_EQ(rig.server.received[ours.id()], "firstsecond");
  EXPECT_EQ(rig.server.count(Kind::used_up), 2u);
}

// STR-3: N deliveries are counted down before the callback, which may arm again.
TEST_P(Modes, CountedMayBeArmedAgainInItsCallback) {
  Rig rig(family(), handled(active_times(2)));
  AppStream ours = rig.client.open();
  int deliveries = 0;
  rig.server.on_data = [&](StreamId id, const Bytes&, bool) {
    if (++deliveries == 2) rig.server.session().set_delivery(id, active_times(3), rig.server.now());
  };
  for (int i = 0; i < 8; ++i) {
    EXPECT_TRUE(ours.write(std::string(1, static_cast<char>('a' + i))));
    rig.run_for(50ms);
  }
  EXPECT_EQ(deliveries, 5) << "two, and the three that were armed in the second";
  EXPECT_EQ(rig.server.received[ours.id()], "abcde");
  EXPECT_EQ(rig.server.count(Kind::used_up), 1u);
  auto read = rig.server.session().read(ours.id(), 100, rig.clock.now());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->data.view(), "fgh");
}

// STR-3: a count of nothing is passive.
TEST_P(Modes, CountedByZeroIsPassive) {
  Rig rig(family(), handled(active));
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("a"));
  rig.run_for(50ms);
  rig.server.session().set_delivery(ours.id(), active_times(0), rig.clock.now());
  EXPECT_TRUE(ours.write("b"));
  rig.run_for(50ms);
  EXPECT_EQ(rig.server.received[ours.id()], "a");
  EXPECT_EQ(rig.server.count(Kind::readable), 1u);
}

// HND-2: a handler reads a passive stream when it is told that it is readable; the end is a value.
TEST_P(Modes, PassiveHandlerReadsWhenItIsReadable) {
  Rig rig(family(), handled(passive));
  AppStream ours = rig.client.open();
  const std::string data = random_bytes(300'000, 2);
  std::string got;
  bool at_end = false;
  rig.server.on_event = [&](const Event& event) {
    if (event.kind != Kind::readable) return;
    for (;;) {
      auto read = rig.server.session().read(event.stream, 10'000, rig.server.now());
      ASSERT_TRUE(read) << read.error().message();
      got += read->data.view();
      at_end = at_end || read->fin || read->status == Read::Status::end_of_stream;
      if (read->status != Read::Status::data || read->fin) break;
    }
  };
  std::size_t done = 0;
  EXPECT_TRUE(rig.run([&] {
    if (done < data.size() && ours.write(std::string_view(data).substr(done, 50'000))) done += 50'000;
    return got.size() == data.size();
  }));
  EXPECT_FALSE(at_end);
  EXPECT_TRUE(ours.finish());
  EXPECT_TRUE(rig.run([&] { return at_end; }));
  EXPECT_TRUE(got == data);
}

// The same for a stream that other threads know of too: its bytes lie in the list.
TEST_P(Modes, PassiveHandlerReadsASharedStreamToItsEnd) {
  Rig rig(family(), handled(passive));
  AppStream ours = rig.client.open();
  AppStream theirs;
  std::string got;
  bool at_end = false;
  rig.server.on_event = [&](const Event& event) {
    if (event.kind == Kind::opened) theirs = rig.server.share(event.stream);
    if (event.kind != Kind::readable) return;
    for (;;) {
      auto read = rig.server.session().read(event.stream, 1000, rig.server.now());
      ASSERT_TRUE(read) << read.error().message();
      got += read->data.view();
      at_end = at_end || read->status == Read::Status::end_of_stream;
      if (read->status != Read::Status::data) break;
    }
  };
  const std::string data = random_bytes(20'000, 2);
  EXPECT_TRUE(ours.write(data));
  EXPECT_TRUE(rig.run([&] { return got == data; }));
  EXPECT_TRUE(ours.finish());
  EXPECT_TRUE(rig.run([&] { return at_end; })) << "the end came alone, and its handler reads it";
  rig.server.write(ours.id(), "", true);
  EXPECT_TRUE(rig.run([&] { return theirs.is_finished(); }));
}

// STR-5: a read in an active mode is `wrong_mode`, from the handler and from a handle.
TEST_P(Modes, ActiveStreamsCannotBeRead) {
  Rig rig(family(), handled());
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("x"));
  rig.run_for(50ms);
  EXPECT_EQ(rig.server.session().read(ours.id(), 10, rig.clock.now()).error().code(), Code::wrong_mode);
  AppStream theirs = rig.server.share(ours.id());
  EXPECT_TRUE(theirs.read().is(Code::wrong_mode));
  CountingWaker waker;
  EXPECT_EQ(theirs.meet().reading.begin_wait(waker), meet::ReadPath::Wait::again) << "a waiter does not sleep on it";
  EXPECT_EQ(rig.server.session().read(StreamId{9999}, 1, rig.clock.now()).error().code(), Code::closed);
}

// RD-13: a reader that waits when its stream becomes active is woken and learns so.
TEST_P(Modes, AWaitingReaderLearnsThatItsModeIsOver) {
  Rig rig(family(), handled(passive));
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("x"));
  rig.run_for(50ms);
  AppStream theirs = rig.server.share(ours.id());
  rig.settle();
  EXPECT_EQ(theirs.read().text, "x");
  CountingWaker waker;
  ASSERT_EQ(theirs.meet().reading.begin_wait(waker), meet::ReadPath::Wait::sleep);
  theirs.set_delivery(active);
  rig.settle();
  EXPECT_EQ(waker.count, 1);
  theirs.meet().reading.end_wait();
  EXPECT_TRUE(theirs.read().is(Code::wrong_mode));
}

// STR-3: what lies in the list and what lies in the transport is delivered on a switch to active, in order, once.
TEST_P(Modes, BufferedDataIsDeliveredOnASwitch) {
  RigOptions options = handled(passive);
  options.server.limits.receive_list = 20'000;
  Rig rig(family(), options);
  AppStream ours = rig.client.open();
  const std::string data = random_bytes(100'000, 6);
  EXPECT_TRUE(ours.write(data, true));
  rig.run_for(100ms);
  AppStream theirs = rig.server.share(ours.id());
  rig.run_for(100ms);
  EXPECT_EQ(theirs.meet().reading.held_bytes(), 20'000u);
  EXPECT_EQ(rig.server.session().stats().streams_parked, 1u);
  std::string read = theirs.read(5'000).text;
  theirs.set_delivery(active);
  rig.run_for(100ms);
  EXPECT_TRUE(read + rig.server.received[ours.id()] == data);
  EXPECT_TRUE(rig.server.has_fin[ours.id()]);
  EXPECT_EQ(rig.server.session().stats().streams_parked, 0u);
}

// STR-3: a handler may stop the flow inside its callback; nothing is lost, and it is told of what waits.
TEST_P(Modes, PassiveInTheCallbackKeepsTheRest) {
  for (const bool is_shared : {false, true}) {
    SCOPED_TRACE(is_shared);
    Rig rig(family(), handled());
    AppStream ours = rig.client.open(), theirs;
    const std::string data = random_bytes(250'000, 9);
    rig.server.on_data = [&](StreamId id, const Bytes&, bool) {
      if (is_shared && !theirs) theirs = rig.server.share(id);
      rig.server.session().set_delivery(id, passive, rig.server.now());
    };
    EXPECT_TRUE(ours.write(data, true));
    rig.run_for(200ms);
    const std::string first = rig.server.received[ours.id()];
    EXPECT_LT(first.size(), data.size());
    EXPECT_GE(rig.server.count(Kind::readable), 1u);
    EXPECT_EQ(rig.server.count(Kind::used_up), 0u);
    std::string rest;
    EXPECT_TRUE(rig.run([&] {
      for (;;) {
        auto read = rig.server.session().read(ours.id(), 33'333, rig.clock.now());
        if (!read) return true;
        rest += read->data.view();
        if (read->fin || read->status == Read::Status::end_of_stream) return true;
        if (read->status == Read::Status::would_block) return false;
      }
    }));
    EXPECT_TRUE(first + rest == data);
  }
}

// RD-14: a delivery that finds a reader at work leaves word, and comes when the reader has gone.
TEST_P(Modes, ADeliveryWaitsForTheReaderThatIsAtWork) {
  Rig rig(family(), handled(passive));
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("one"));
  rig.run_for(50ms);
  AppStream theirs = rig.server.share(ours.id());
  bool word = false;
  ASSERT_EQ(theirs.meet().reading.acquire(word), meet::Taken::data);
  theirs.set_delivery(active);
  rig.settle();
  EXPECT_TRUE(rig.server.received[ours.id()].empty());
  EXPECT_TRUE(theirs.meet().reading.release()) << "word was left";
  theirs.meet().session->loop->attend(theirs.meet(), meet::stream_deliver);
  rig.settle();
  EXPECT_EQ(rig.server.received[ours.id()], "one");
  // And a handler's read meanwhile is told.
  rig.server.session().set_delivery(ours.id(), passive, rig.clock.now());
  ASSERT_EQ(theirs.meet().reading.acquire(word), meet::Taken::data);
  EXPECT_EQ(rig.server.session().read(ours.id(), 1, rig.clock.now()).error().code(), Code::concurrent_read);
  EXPECT_TRUE(theirs.read().is(Code::concurrent_read));
  EXPECT_FALSE(theirs.meet().reading.release());
}

// STR-3: deliveries that run out on bytes of the list leave the rest and the end to a reader.
TEST_P(Modes, CountedOverAListLeavesTheRestToTheReader) {
  RigOptions options = handled(passive);
  Rig rig(family(), options);
  AppStream ours = rig.client.open();
  const std::string data = random_bytes(150'000, 12);
  EXPECT_TRUE(ours.write(data.substr(0, 1)));
  rig.run_for(50ms);
  AppStream theirs = rig.server.share(ours.id());
  EXPECT_TRUE(ours.write(data.substr(1), true));
  rig.run_for(200ms);
  EXPECT_EQ(theirs.meet().reading.held_bytes(), data.size());
  theirs.set_delivery(active_once);
  rig.settle();
  EXPECT_EQ(rig.server.count(Kind::used_up), 1u);
  const std::string first = rig.server.received[ours.id()];
  EXPECT_GT(first.size(), 0u);
  std::string rest;
  EXPECT_TRUE(rig.run([&] { return theirs.drain(rest); }));
  EXPECT_TRUE(first + rest == data);
  rig.server.write(ours.id(), "", true);
  EXPECT_TRUE(rig.run([&] { return theirs.is_finished(); })) << "the loop learnt that all was read";
}

// STR-3: without a handler there is nobody to deliver to: the stream stays passive.
TEST_P(Modes, WithoutAHandlerStayPassive) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  theirs.set_delivery(active);
  EXPECT_TRUE(ours.write("still read"));
  rig.run_for(50ms);
  EXPECT_EQ(theirs.read().text, "still read");
}

// A stream that is opened here takes the mode it was given before it was posted.
TEST_P(Modes, AStreamOpensInTheModeItWasGiven) {
  RigOptions options = handled();
  options.client.has_handler = true;
  Rig rig(family(), options);
  AppStream pushed = rig.client.open();
  AppStream pulled = rig.client.open();
  pulled.set_delivery(passive);
  rig.server.on_data = [&](StreamId id, const Bytes&, bool) { rig.server.write(id, "answer"); };
  EXPECT_TRUE(pushed.write("1"));
  EXPECT_TRUE(pulled.write("2"));
  rig.run_for(100ms);
  EXPECT_EQ(rig.client.received[pushed.id()], "answer");
  EXPECT_EQ(rig.client.received.count(pulled.id()), 0u);
  EXPECT_EQ(pulled.read().text, "answer");
}

// HND-2: a handler opens a stream itself and is answered on it.
TEST_P(Modes, AHandlerOpensAndTalks) {
  RigOptions options = handled();
  options.client.has_handler = true;
  Rig rig(family(), options);
  auto id = rig.client.session().open(bidirectional, rig.clock.now());
  ASSERT_TRUE(id);
  rig.server.on_data = [&](StreamId stream, const Bytes& bytes, bool end) { rig.server.write(stream, bytes, end); };
  const std::string data = random_bytes(80'000, 77);
  rig.client.write(*id, data, true);
  EXPECT_TRUE(rig.run([&] { return rig.client.has_fin[*id]; }));
  EXPECT_TRUE(rig.client.received[*id] == data);
  EXPECT_TRUE(rig.run([&] { return rig.client.count(Kind::finished) == 1 && rig.server.count(Kind::finished) == 1; }));
  EXPECT_GE(rig.client.count(Kind::flushed), 1u);
}

}  // namespace
}  // namespace riffle::test
