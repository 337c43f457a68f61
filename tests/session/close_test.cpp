// The end of a session: before the handshake, from either side, twice, by a deadline, with data under way (COR-1,
// CON-2).
#include "core/smux/engine.hpp"
#include "tests/session/suite.hpp"

namespace riffle::test {
namespace {

class Close : public SessionSuite {
 protected:
  static RigOptions with_handlers() {
    RigOptions options;
    options.client.has_handler = options.server.has_handler = true;
    return options;
  }
};
RIFFLE_OVER_ALL_TRANSPORTS(Close);

TEST_P(Close, IsToldToBothSidesWithCodeAndReason) {
  Rig rig(family(), with_handlers());
  rig.client.close(42, "the work is done");
  EXPECT_TRUE(rig.run([&] { return rig.client.is_over(); }));
  const CloseReason& ours = rig.client.session().close_reason();
  EXPECT_EQ(ours.by, CloseReason::By::us);
  EXPECT_EQ(ours.code, 42u);
  EXPECT_EQ(ours.reason, "the work is done");
  EXPECT_TRUE(ours.is_application);
  EXPECT_EQ(ours.error.code(), Code::closed);
  if (rig.family == Family::smux) return;  // smux has no close: the end of its carrier says it
  EXPECT_TRUE(rig.run([&] { return rig.server.is_over(); }));
  const CloseReason& theirs = rig.server.session().close_reason();
  EXPECT_EQ(theirs.by, CloseReason::By::peer);
  EXPECT_EQ(theirs.code, 42u);
  EXPECT_EQ(theirs.reason, "the work is done");
  EXPECT_TRUE(theirs.is_application);
  EXPECT_EQ(theirs.error.code(), Code::peer_closed);
  for (Host* host : {&rig.client, &rig.server}) {
    rig.settle();
    EXPECT_EQ(host->count(Kind::draining), 1u);
    EXPECT_EQ(host->count(Kind::closed), 1u);
    EXPECT_EQ(host->meet().state.load(), SessionState::closed);
  }
}

TEST_P(Close, ByAHandlerEndsTheSessionAfterItsCallback) {
  Rig rig(family(), with_handlers());
  rig.server.on_data = [&](StreamId id, const Bytes&, bool) {
    rig.server.session().close(core::StreamPort::CloseKind::application, 3, "seen enough", Error(Code::closed));
    rig.server.write(id, "goodbye");
    EXPECT_FALSE(rig.server.session().is_over()) << "not inside the callback";
  };
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("x"));
  EXPECT_TRUE(rig.run([&] { return rig.server.is_over(); }));
  EXPECT_TRUE(rig.run([&] { return rig.client.is_over() || rig.family == Family::smux; }));
  rig.settle();
  EXPECT_EQ(rig.server.session().close_reason().code, 3u);
  EXPECT_EQ(rig.client.received[ours.id()], "goodbye") << "what was written before still goes out";
}

TEST_P(Close, BeforeTheHandshakeEndsAtOnce) {
  RigOptions options = with_handlers();
  options.is_connected = false;
  Rig rig(family(), options);
  rig.client.begin(rig.clock.now());
  Ask<> connected(meet::Question::connected);
  connected.post(rig.client.meet());
  rig.client.close(1, "changed my mind");
  EXPECT_TRUE(rig.run([&] { return rig.client.is_over(); }, 1s));
  EXPECT_EQ(connected.error()->code(), Code::closed);
  EXPECT_EQ(rig.client.count(Kind::connected), 0u);
  EXPECT_EQ(rig.client.count(Kind::closed), 1u);
  rig.client.adopt(rig.clock.now());  // an address that answers too late
  rig.settle();
  EXPECT_EQ(rig.client.count(Kind::connected), 0u);
}

TEST_P(Close, InTheMiddleOfTheHandshakeEndsIt) {
  if (family() == Family::smux) {
    // smux has no handshake: it is connected from the start.
    Rig rig(family());
    EXPECT_EQ(rig.client.session().state(), SessionState::connected);
    return;
  }
  RigOptions options = with_handlers();
  options.is_connected = false;
  Rig rig(family(), options);
  if (family() == Family::fake) rig.fake(rig.client).is_established = false;
  rig.client.begin(rig.clock.now());
  rig.client.adopt(rig.clock.now());
  rig.client.cycle(rig.clock.now());
  EXPECT_EQ(rig.client.session().state(), SessionState::handshaking);
  rig.client.close();
  EXPECT_TRUE(rig.run([&] { return rig.client.is_over(); }, 1s));
  EXPECT_EQ(rig.client.session().close_reason().by, CloseReason::By::us);
}

TEST_P(Close, BeforeItBeganIsAnEnd) {
  RigOptions options = with_handlers();
  options.is_connected = false;
  Rig rig(family(), options);
  rig.client.close(5);
  rig.settle();
  EXPECT_TRUE(rig.client.is_over());
  EXPECT_EQ(rig.client.session().close_reason().code, 5u);
}

TEST_P(Close, TwiceIsOnceAndTheFirstCounts) {
  Rig rig(family(), with_handlers());
  rig.client.close(1, "first");
  rig.client.close(2, "second");
  EXPECT_TRUE(rig.run([&] { return rig.client.is_over(); }));
  rig.client.close(3, "third");
  rig.client.session().close(core::StreamPort::CloseKind::application, 4, "fourth", Error(Code::closed));
  rig.settle();
  EXPECT_EQ(rig.client.session().close_reason().code, 1u);
  EXPECT_EQ(rig.client.count(Kind::closed), 1u);
}

TEST_P(Close, AfterThePeersChangesNothing) {
  Rig rig(family(), with_handlers());
  if (rig.family == Family::smux) {
    static_cast<core::smux::Engine&>(*rig.server.port)
        .on_carrier_end(Error(Code::peer_closed, "the carrier has ended"));
    rig.server.session().on_input({}, {}, rig.clock.now());
  }
  rig.client.close(9);
  EXPECT_TRUE(rig.run([&] { return rig.server.is_over(); }));
  rig.server.close(1);
  rig.settle();
  EXPECT_EQ(rig.server.session().close_reason().by, CloseReason::By::peer);
  EXPECT_EQ(rig.server.count(Kind::closed), 1u);
}

// CON-2: what the same thread wrote before it closed still goes out, as far as the peer takes it at once.
TEST_P(Close, LetsWhatWasWrittenBeforeGoOut) {
  Rig rig(family(), with_handlers());
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("a last word", true));
  rig.client.close(0);
  EXPECT_TRUE(rig.run([&] { return rig.client.is_over(); }));
  rig.run_for(100ms);
  EXPECT_EQ(rig.server.received[StreamId{ours.id()}], "a last word");
  EXPECT_TRUE(rig.server.has_fin[ours.id()]);
}

// design/streams.md: a close whose session was linked already may be seen in a take before the writes that came first.
TEST_P(Close, WaitsForTheTakeAfterTheOneThatBroughtIt) {
  Rig rig(family(), with_handlers());
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("1"));
  rig.settle();
  // The loop has taken its list with the session in it, but has not yet looked at the session's bits.
  rig.client.close(0);
  rig.client.take_attention(rig.clock.now());
  EXPECT_TRUE(ours.write("2", true))
      << "as a thread that wrote before it closed, whose write is linked behind that take";
  rig.client.session().collect(rig.clock.now());
  rig.client.run_actions(rig.clock.now());
  std::vector<std::byte> buffer(65536);
  for (core::Batch batch = rig.client.session().poll_output(buffer, rig.clock.now()); batch.bytes != 0;
       batch = rig.client.session().poll_output(buffer, rig.clock.now())) {
    const std::size_t segment = batch.segment != 0 ? batch.segment : batch.bytes;
    for (std::size_t at = 0; at < batch.bytes; at += segment) {
      const auto begin = buffer.begin() + static_cast<std::ptrdiff_t>(at);
      const auto end = begin + static_cast<std::ptrdiff_t>(std::min(segment, batch.bytes - at));
      rig.server.inbox.push_back({.bytes = {begin, end}, .arrival = {.local = batch.peer, .peer = batch.local}});
    }
  }
  EXPECT_FALSE(rig.client.is_over());
  EXPECT_TRUE(rig.run([&] { return rig.client.is_over(); }));
  rig.run_for(100ms);
  EXPECT_EQ(rig.server.received[ours.id()], "12");
}

// What arrived with the peer's close is delivered before it.
TEST_P(Close, ByThePeerComesBehindItsData) {
  for (const Delivery delivery : {active, passive}) {
    SCOPED_TRACE(static_cast<int>(delivery.mode));
    RigOptions options = with_handlers();
    options.server.delivery = delivery;
    Rig rig(family(), options);
    std::string got;
    bool is_first = true;
    rig.server.on_event = [&](const Event& event) {
      if (event.kind == Kind::closed || event.kind == Kind::draining) is_first = got.empty();
      if (event.kind != Kind::readable) return;
      auto read = rig.server.session().read(event.stream, 1000, rig.server.now());
      ASSERT_TRUE(read);
      got += read->data.view();
    };
    rig.server.on_data = [&](StreamId, const Bytes& bytes, bool) { got += bytes.view(); };
    AppStream ours = rig.client.open();
    EXPECT_TRUE(ours.write("the end is near"));
    rig.server.is_dead = true;
    rig.run_for(1ms);
    rig.client.close(1);
    rig.run_for(1ms);
    rig.server.is_dead = false;
    if (rig.family == Family::smux) {
      // The end of the carrier is seen in the cycle that brings its last bytes.
      rig.server.session().on_input(rig.server.inbox.front().bytes, {}, rig.clock.now());
      rig.server.inbox.pop_front();
      static_cast<core::smux::Engine&>(*rig.server.port).on_carrier_end(Error(Code::peer_closed));
    }
    EXPECT_TRUE(rig.run([&] { return rig.server.is_over(); }));
    rig.settle();
    EXPECT_EQ(got, "the end is near");
    EXPECT_FALSE(is_first);
  }
}

// A transport that dies in mid-stream must not make the stream look complete.
TEST_P(Close, ACutOffStreamDoesNotLookComplete) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  EXPECT_TRUE(ours.write("half of it"));
  rig.run_for(50ms);
  if (rig.family == Family::smux) {
    static_cast<core::smux::Engine&>(*rig.server.port).on_carrier_end(Error(Code::unreachable, "cut"));
    rig.server.session().on_input({}, {}, rig.clock.now());
  } else {
    rig.client.close(1);
  }
  EXPECT_TRUE(rig.run([&] { return rig.server.is_over(); }));
  EXPECT_EQ(theirs.read().text, "half of it");
  const Got end = theirs.read();
  EXPECT_FALSE(end.fin);
  EXPECT_TRUE(end.is(Code::closed));
  EXPECT_FALSE(theirs.write("x"));
  EXPECT_EQ(theirs.write_state(), meet::WriteState::closed);
}

// CFG-1: a handshake that does not end in time ends the session, with or without a transport.
TEST_P(Close, ByTheHandshakeTimeout) {
  for (const bool has_transport : {false, true}) {
    SCOPED_TRACE(has_transport);
    if (has_transport && family() == Family::smux) continue;  // has no handshake
    RigOptions options = with_handlers();
    options.is_connected = false;
    options.client.handshake_timeout = 300ms;
    Rig rig(family(), options);
    rig.server.is_dead = true;
    const Instant begin = rig.clock.now();
    rig.client.begin(begin);
    if (family() == Family::fake) rig.fake(rig.client).is_established = false;
    if (has_transport) rig.client.adopt(begin);
    AppStream stream = rig.client.open();
    EXPECT_TRUE(rig.run([&] { return rig.client.is_over(); }));
    EXPECT_EQ(rig.clock.now() - begin, 300ms);
    EXPECT_EQ(rig.client.session().close_reason().error.code(), Code::handshake_timeout);
    EXPECT_EQ(rig.client.session().close_reason().by, CloseReason::By::transport);
    EXPECT_TRUE(stream.read().is(Code::closed));
    EXPECT_EQ(rig.client.session().next_deadline(), never);
    // A session that is over takes no part any more.
    rig.client.session().on_deadline(rig.clock.now());
    rig.client.session().on_input({}, {}, rig.clock.now());
    rig.client.session().fail(Error(Code::internal), rig.clock.now());
    EXPECT_EQ(rig.client.session().close_reason().error.code(), Code::handshake_timeout);
  }
}

// CON-2: silence ends the session, with the transport's reason.
TEST_P(Close, ByTheIdleTimeoutOfTheTransport) {
  Rig rig(family(), with_handlers());
  if (rig.family == Family::fake) {
    rig.fake(rig.client).deadline = rig.clock.now() + 30s;
    rig.fake(rig.client).ends_at_deadline = true;
  }
  rig.server.is_dead = true;
  EXPECT_TRUE(rig.run([&] { return rig.client.is_over(); }, 120s));
  EXPECT_EQ(rig.client.session().close_reason().error.code(), Code::idle_timeout);
  EXPECT_EQ(rig.client.session().close_reason().by, CloseReason::By::transport);
}

// HND-1: closed comes exactly once and last, whatever a handler still does in its last callbacks.
TEST_P(Close, IsTheLastThingThatAHandlerHears) {
  Rig rig(family(), with_handlers());
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("x"));
  rig.run_for(50ms);
  rig.client.on_event = [&](const Event& event) {
    if (event.kind != Kind::draining && event.kind != Kind::closed) return;
    rig.client.write(ours.id(), "too late");
    rig.client.write(ours.id(), Bytes::copy(std::string(10'000, 'x')), true);
    EXPECT_FALSE(rig.client.session().open(bidirectional, rig.client.now()));
    rig.client.session().shutdown(ours.id(), Side::both, AppCode{1}, rig.client.now());
    rig.client.session().set_delivery(ours.id(), passive, rig.client.now());
    EXPECT_FALSE(rig.client.share(ours.id()));
    rig.client.session().close(core::StreamPort::CloseKind::application, 1, "again", Error(Code::closed));
  };
  rig.client.close();
  EXPECT_TRUE(rig.run([&] { return rig.client.is_over(); }));
  rig.settle();
  EXPECT_EQ(rig.client.events.back().kind, Kind::closed);
  EXPECT_EQ(rig.client.count(Kind::closed), 1u);
}

}  // namespace
}  // namespace riffle::test
