// Sides that end abruptly: reset, stop, refuse, both ways, with codes (STR-6, COR-4).
#include "tests/session/suite.hpp"

namespace riffle::test {
namespace {

class Resets : public SessionSuite {};
RIFFLE_OVER_ALL_TRANSPORTS(Resets);

RigOptions with_handler(std::optional<Delivery> delivery = std::nullopt) {
  RigOptions options;
  options.server.has_handler = true;
  options.server.delivery = delivery;
  return options;
}

// STR-6: a reset carries its code to the reader; without codes (smux) the peer sees the end.
TEST_P(Resets, ReachTheReaderWithTheirCode) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  ours.shutdown(Side::writing, 77);
  Got got;
  EXPECT_TRUE(rig.run([&] {
    got = theirs.read();
    return !got.is_nothing();
  }));
  if (rig.has(core::Capability::reset_codes)) {
    ASSERT_TRUE(got.is(Code::stream_reset));
    EXPECT_EQ(got.error->wire(), 77u);
  } else {
    EXPECT_TRUE(got.fin);
  }
  EXPECT_FALSE(ours.write("more"));
  EXPECT_EQ(ours.write_state(), meet::WriteState::reset);
  // The other direction goes on (half-close).
  EXPECT_TRUE(theirs.write("answer", true));
  std::string answer;
  EXPECT_TRUE(rig.run([&] { return ours.drain(answer); }));
  EXPECT_EQ(answer, "answer");
  EXPECT_TRUE(rig.run([&] { return ours.is_finished() && theirs.is_finished(); }));
}

// STR-6: a stop reaches the writer with its code, also when it has nothing to write.
TEST_P(Resets, StopsReachTheWriterWithTheirCode) {
  for (const bool is_writing : {false, true}) {
    SCOPED_TRACE(is_writing);
    Rig rig(family());
    auto [ours, theirs] = rig.stream_pair();
    if (is_writing) {
      EXPECT_TRUE(ours.write(random_bytes(5'000'000, 1)));
    }
    rig.run_for(20ms);
    theirs.shutdown(Side::reading, 78);
    if (!rig.has(core::Capability::reset_codes)) {
      rig.run_for(1s);
      EXPECT_EQ(ours.write_state(), meet::WriteState::open) << "smux cannot ask the peer to stop";
      continue;
    }
    Ask<> flushed(meet::Question::stream_flushed);
    if (is_writing) flushed.post(ours.meet());
    EXPECT_TRUE(rig.run([&] { return ours.write_state() == meet::WriteState::stopped; }, 5s));
    EXPECT_EQ(ours.meet().write_code.load(), 78u);
    rig.settle();
    EXPECT_FALSE(ours.write("more"));
    if (is_writing) {
      ASSERT_TRUE(flushed.is_answered());
      EXPECT_EQ(flushed.error()->code(), Code::stream_stopped);
      EXPECT_EQ(flushed.error()->wire(), 78u);
    }
    std::string had;
    theirs.drain(had);
    rig.settle();
    EXPECT_TRUE(theirs.read().is(Code::closed));
    Ask<> writable(meet::Question::stream_writable);
    writable.post(ours.meet());
    rig.settle();
    EXPECT_EQ(writable.error()->code(), Code::stream_stopped);
  }
}

// STR-6: a shutdown of a stream that has moved no data yet succeeds: either side, both, from either end.
TEST_P(Resets, BeforeAnyDataSucceed) {
  for (const Side side : {Side::reading, Side::writing, Side::both}) {
    SCOPED_TRACE(static_cast<int>(side));
    RigOptions options = with_handler();
    Rig rig(family(), options);
    AppStream ours = rig.client.open();
    rig.settle();
    ASSERT_TRUE(ours.is_open());
    ours.shutdown(side, 5);
    rig.run_for(200ms);
    if (rig.has(core::Capability::reset_codes) && side != Side::reading) {
      ASSERT_TRUE(rig.server.first(Kind::reset));
      EXPECT_EQ(rig.server.first(Kind::reset)->number, 5u);
    }
    if (rig.has(core::Capability::reset_codes) && side != Side::writing) {
      // The server learns of the stop; and of the stream, by it.
      rig.server.write(ours.id(), "x");
      rig.run_for(200ms);
      if (side == Side::both) {
        EXPECT_TRUE(rig.server.first(Kind::stopped) || rig.server.first(Kind::write_failed));
      }
    }
    if (side == Side::both) {
      EXPECT_TRUE(ours.is_finished());
    }
  }
}

// The same before the handshake: the shutdown is kept, or the stream never opens.
TEST_P(Resets, BeforeTheHandshakeAreKept) {
  RigOptions options = with_handler();
  options.is_connected = false;
  Rig rig(family(), options);
  rig.client.begin(rig.clock.now());
  rig.server.begin(rig.clock.now());
  AppStream reset = rig.client.open(), neither = rig.client.open(), stop = rig.client.open(),
            normal = rig.client.open();
  Ask<> opened(meet::Question::stream_open), flushed(meet::Question::stream_flushed);
  opened.post(neither.meet());
  flushed.post(reset.meet());
  EXPECT_TRUE(stop.write("deaf", true));
  EXPECT_TRUE(reset.write("never sent"));
  rig.settle();
  reset.shutdown(Side::writing, 9);
  neither.shutdown(Side::both, 9);
  stop.shutdown(Side::reading, 9);
  rig.settle();
  ASSERT_TRUE(opened.is_answered());
  EXPECT_FALSE(opened.is_success());
  EXPECT_EQ(flushed.error()->code(), Code::stream_finished);
  EXPECT_EQ(rig.client.meet().opening_count.load(), 3u);
  EXPECT_TRUE(neither.read().is(Code::closed));
  rig.client.adopt(rig.clock.now());
  rig.server.adopt(rig.clock.now());
  EXPECT_TRUE(normal.write("normal", true));
  EXPECT_TRUE(rig.run([&] { return normal.is_open() && rig.server.has_fin[normal.id()]; }));
  EXPECT_FALSE(neither.is_open());
  rig.run_for(100ms);
  if (rig.has(core::Capability::reset_codes)) {
    EXPECT_EQ(rig.server.first(Kind::reset)->stream, reset.id());
  }
  EXPECT_EQ(rig.server.received[stop.id()], "deaf");
  EXPECT_TRUE(rig.server.has_fin[stop.id()]);
}

// RD-17: what came before the reset and lies in the list is read first, then the code.
TEST_P(Resets, ComeBehindWhatTheReaderHas) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  EXPECT_TRUE(ours.write("before"));
  rig.run_for(100ms);
  ours.shutdown(Side::writing, 3);
  rig.run_for(100ms);
  EXPECT_EQ(theirs.read().text, "before");
  const Got end = theirs.read();
  EXPECT_TRUE(rig.has(core::Capability::reset_codes) ? end.is(Code::stream_reset) : end.fin);
}

// RD-17, facts/quiche.md: a parked stream gets no second readable event, and still learns of a RESET.
TEST_P(Resets, ReachAParkedStream) {
  RigOptions options;
  options.server.limits.receive_list = 10'000;
  Rig rig(family(), options);
  auto [ours, theirs] = rig.stream_pair();
  EXPECT_TRUE(ours.write(random_bytes(100'000, 1)));
  rig.run_for(100ms);
  EXPECT_EQ(rig.server.session().stats().streams_parked, 1u);
  EXPECT_EQ(theirs.meet().reading.held_bytes(), 10'000u);
  ours.shutdown(Side::writing, 21);
  rig.run_for(200ms);
  if (!rig.has(core::Capability::reset_codes)) {
    EXPECT_EQ(theirs.meet().reading.end(), meet::ReadEnd::open) << "smux has no reset: the end comes behind the data";
    return;
  }
  EXPECT_EQ(theirs.meet().reading.end(), meet::ReadEnd::reset);
  EXPECT_EQ(rig.server.session().stats().streams_parked, 0u);
  std::string got;
  for (Got part = theirs.read(); !part.error; part = theirs.read()) got += part.text;
  EXPECT_EQ(got.size(), 10'000u);
  EXPECT_EQ(theirs.read().error->wire(), 21u);
}

// The same for a handler's passive stream, that has no list.
TEST_P(Resets, ReachAHandlersPassiveStream) {
  Rig rig(family(), with_handler(passive));
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("unread"));
  rig.run_for(100ms);
  EXPECT_EQ(rig.server.session().stats().streams_parked, 1u);
  ours.shutdown(Side::writing, 22);
  rig.run_for(200ms);
  if (rig.has(core::Capability::reset_codes)) {
    ASSERT_TRUE(rig.server.first(Kind::reset));
    EXPECT_EQ(rig.server.first(Kind::reset)->number, 22u);
    EXPECT_EQ(rig.server.session().read(ours.id(), 10, rig.clock.now()).error().code(), Code::stream_reset);
    AppStream theirs = rig.server.share(ours.id());
    EXPECT_TRUE(theirs.read().is(Code::stream_reset)) << "a handle made afterwards knows how it ended";
  } else {
    EXPECT_EQ(rig.server.session().read(ours.id(), 10, rig.clock.now())->data.view(), "unread");
  }
}

// HND-1, HND-2: a handler refuses a stream with a code, and hears of resets and stops.
TEST_P(Resets, AHandlerRefusesAStream) {
  Rig rig(family(), with_handler());
  rig.server.on_event = [&](const Event& event) {
    if (event.kind == Kind::opened)
      rig.server.session().shutdown(event.stream, Side::both, AppCode{404}, rig.server.now());
  };
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("let me in"));
  Got got;
  EXPECT_TRUE(rig.run([&] {
    got = ours.read();
    return !got.is_nothing();
  }));
  if (rig.has(core::Capability::reset_codes)) {
    EXPECT_EQ(got.error->wire(), 404u);
    EXPECT_TRUE(rig.run([&] { return ours.write_state() == meet::WriteState::stopped; }));
    EXPECT_EQ(ours.meet().write_code.load(), 404u);
    EXPECT_TRUE(rig.run([&] { return ours.is_finished(); }));
  } else {
    EXPECT_TRUE(got.fin);
  }
  EXPECT_TRUE(rig.server.received[ours.id()].empty());
}

// HND-1: reset and stop are told to a handler that pushes, with their codes.
TEST_P(Resets, AHandlerHearsOfResetAndStop) {
  Rig rig(family(), with_handler());
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("x"));
  rig.run_for(50ms);
  rig.server.write(ours.id(), "y");
  rig.run_for(50ms);
  ours.shutdown(Side::both, 6);
  rig.run_for(500ms);
  if (!rig.has(core::Capability::reset_codes)) {
    EXPECT_TRUE(rig.server.has_fin[ours.id()]);
    return;
  }
  ASSERT_TRUE(rig.server.first(Kind::reset) && rig.server.first(Kind::stopped));
  EXPECT_EQ(rig.server.first(Kind::reset)->number, 6u);
  EXPECT_EQ(rig.server.first(Kind::stopped)->number, 6u);
  EXPECT_TRUE(rig.run([&] { return rig.server.count(Kind::finished) == 1; }));
  rig.server.write(ours.id(), "z");
  rig.settle();
  EXPECT_EQ(rig.server.count(Kind::write_failed), 1u);
}

// A stop amid a large write: what the transport had taken is accounted for, the rest is dropped.
TEST_P(Resets, AStopAmidAWriteLosesNoCredit) {
  Lender lender;
  {
    RigOptions options;
    options.server.grants.stream = 30'000;
    Rig rig(family(), options);
    auto [ours, theirs] = rig.stream_pair();
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(ours.write(lender.lend(random_bytes(20'000, 1))));
    rig.run_for(50ms);
    theirs.shutdown(Side::reading, 1);
    rig.run_for(100ms);
    if (!rig.has(core::Capability::reset_codes)) ours.shutdown(Side::writing, 1);
    EXPECT_TRUE(rig.run([&] { return lender.released == 10; }, 5s));
    EXPECT_EQ(rig.client.meet().credit.left(), rig.client.meet().credit.limit());
    EXPECT_EQ(rig.client.session().stats().send_buffered, 0u);
  }
  EXPECT_EQ(lender.released, 10);
}

// A reset with blocks queued and scheduled leaves no trace of the stream in the session's lists.
TEST_P(Resets, AStreamThatIsScheduledToSendMayEnd) {
  Rig rig(family(), with_handler());
  std::vector<AppStream> streams;
  for (int i = 0; i < 10; ++i) {
    streams.push_back(rig.client.open());
    EXPECT_TRUE(streams.back().write("x"));
  }
  rig.run_for(50ms);
  for (AppStream& stream : streams) EXPECT_TRUE(stream.write(random_bytes(10'000, 1)));
  for (std::size_t i = 0; i < streams.size(); i += 2) streams[i].shutdown(Side::both, 1);
  rig.run_for(500ms);
  for (std::size_t i = 0; i < streams.size(); ++i) {
    EXPECT_EQ(streams[i].is_finished(), i % 2 == 0);
    if (i % 2 == 1) {
      EXPECT_EQ(rig.server.received[streams[i].id()].size(), 10'001u);
    }
  }
}

// A fin that is not yet acknowledged may still be taken back by a reset.
TEST_P(Resets, AfterTheFinEndTheSendingSide) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  EXPECT_TRUE(ours.write(random_bytes(1000, 1), true));
  ours.shutdown(Side::both, 8);
  EXPECT_TRUE(rig.run([&] { return ours.is_finished(); }));
  ours.shutdown(Side::both, 8);  // however often
  rig.settle();
}

}  // namespace
}  // namespace riffle::test
