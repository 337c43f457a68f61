// Handles and sessions that outlive each other (design/streams.md, "Lifetimes").
#include "core/smux/engine.hpp"
#include "tests/session/suite.hpp"

namespace riffle::test {
namespace {

class Lifetimes : public SessionSuite {};
RIFFLE_OVER_ALL_TRANSPORTS(Lifetimes);

// The last handle of a stream, dropped at every stage, ends both sides; the stream leaves.
TEST_P(Lifetimes, ADroppedHandleEndsItsStreamAtAnyStage) {
  enum class Stage { unopened, opened, written, read, half_closed, finished };
  for (const Stage stage :
       {Stage::unopened, Stage::opened, Stage::written, Stage::read, Stage::half_closed, Stage::finished}) {
    SCOPED_TRACE(static_cast<int>(stage));
    RigOptions options;
    options.server.has_handler = true;
    Rig rig(family(), options);
    rig.server.on_data = [&](StreamId id, const Bytes& bytes, bool end) { rig.server.write(id, bytes, end); };
    AppStream ours = rig.client.open();
    if (stage > Stage::unopened) rig.settle();
    if (stage > Stage::opened) {
      EXPECT_TRUE(ours.write(random_bytes(50'000, 1)));
    }
    if (stage > Stage::written) {
      rig.run_for(100ms);
      EXPECT_FALSE(ours.read(100).text.empty());
    }
    if (stage > Stage::read) {
      EXPECT_TRUE(ours.finish());
    }
    if (stage > Stage::half_closed) {
      std::string got;
      EXPECT_TRUE(rig.run([&] { return ours.drain(got); }));
    }
    ours.drop();
    EXPECT_TRUE(rig.run([&] { return rig.client.session().stats().streams_open == 0; }));
    // What it leaves behind at the server ends too.
    rig.run_for(1s);
    if (rig.has(core::Capability::reset_codes)) {
      EXPECT_EQ(rig.server.session().stats().streams_open, 0u);
    }
    EXPECT_EQ(rig.client.stock.receive_held, 0u);
    EXPECT_EQ(rig.client.stock.send_held, 0u);
  }
}

// What was written and finished goes out, also from a stream whose handle went before it opened.
TEST_P(Lifetimes, AFinishedWriteSurvivesItsHandle) {
  RigOptions options;
  options.server.has_handler = true;
  options.is_connected = false;
  Rig rig(family(), options);
  rig.client.begin(rig.clock.now());
  rig.server.begin(rig.clock.now());
  const std::string data = random_bytes(100'000, 5);
  {
    AppStream before = rig.client.open();
    EXPECT_TRUE(before.write(data, true));
  }
  rig.settle();
  rig.client.adopt(rig.clock.now());
  rig.server.adopt(rig.clock.now());
  StreamId id{};
  EXPECT_TRUE(rig.run([&] {
    const auto opened = rig.server.first(Kind::opened);
    if (opened) id = opened->stream;
    return opened && rig.server.has_fin[id];
  }));
  EXPECT_TRUE(rig.server.received[id] == data);
}

// A session with a handler keeps the streams whose handles went.
TEST_P(Lifetimes, AHandlersSessionKeepsStreamsWithoutHandles) {
  RigOptions options;
  options.client.has_handler = options.server.has_handler = true;
  Rig rig(family(), options);
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("first"));
  rig.run_for(50ms);
  const StreamId id = ours.id();
  ours.drop();
  rig.run_for(50ms);
  rig.client.write(id, "second", true);
  rig.run_for(50ms);
  EXPECT_EQ(rig.server.received[id], "firstsecond");
  rig.server.write(id, "back", true);
  EXPECT_TRUE(rig.run([&] { return rig.client.has_fin[id]; }));
}

// The last handle of a session without a handler closes it; with a handler it does not.
TEST_P(Lifetimes, TheLastHandleOfASessionClosesItUnlessAHandlerServesIt) {
  for (const bool has_handler : {false, true}) {
    SCOPED_TRACE(has_handler);
    RigOptions options;
    options.client.has_handler = has_handler;
    Rig rig(family(), options);
    rig.client.drop_handle();
    rig.run_for(100ms);
    EXPECT_EQ(rig.client.is_over(), !has_handler);
  }
}

// After the session's end every call of a handle gives its reason; the bytes that came before can still be read.
TEST_P(Lifetimes, HandlesOutliveTheirSession) {
  Lender lender;
  std::vector<AppStream> streams;
  {
    Rig rig(family());
    auto [ours, theirs] = rig.stream_pair();
    EXPECT_TRUE(theirs.write("unread"));
    rig.run_for(50ms);
    EXPECT_TRUE(ours.write(lender.lend(random_bytes(9'000, 1))));
    rig.client.close(1, "over");
    AppStream late = rig.client.open();
    EXPECT_TRUE(rig.run([&] { return rig.client.is_over(); }));
    rig.settle();
    EXPECT_TRUE(late.read().is(Code::closed));
    EXPECT_EQ(late.write_state(), meet::WriteState::closed);
    EXPECT_FALSE(ours.write("x"));
    EXPECT_TRUE(ours.is_finished());
    // Posted to a session that is over, while its loop still knows it.
    AppStream later = rig.client.open();
    ours.shutdown(Side::both, 1);
    ours.set_delivery(active);
    rig.settle();
    EXPECT_TRUE(later.read().is(Code::closed));
    streams = {ours, theirs, late, later};
    // Blocks that a racing thread accepted before it saw the end are let go.
    streams[0].meet().mailbox.push(base::SendBlock::make(lender.lend(random_bytes(9'000, 1)), false));
    streams[0].meet().session->loop->attend(streams[0].meet(), meet::stream_write);
    rig.settle();
  }
  // The sessions are gone, and their loops.
  EXPECT_EQ(streams[0].read().text, "unread");
  EXPECT_TRUE(streams[0].read().is(Code::closed));
  for (const AppStream& stream : streams) {
    EXPECT_FALSE(stream.write("x"));
    stream.shutdown(Side::both, 1);
    stream.set_delivery(passive);
  }
  streams.clear();
  EXPECT_EQ(lender.made, lender.released);
}

// Questions and writes for a session that its loop has destroyed are answered by the loop all the same.
TEST_P(Lifetimes, WhatIsPostedToADestroyedSessionIsAnswered) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  Ask<> closed(meet::Question::session_closed), connected(meet::Question::connected);
  Ask<> flushed(meet::Question::stream_flushed);
  CountingWaker reader;
  AppStream opening;
  rig.client.session().fail(Error(Code::unreachable), rig.clock.now());
  rig.client.when_gone = [&] {
    opening = rig.client.open();
    EXPECT_EQ(opening.meet().reading.begin_wait(reader), meet::ReadPath::Wait::sleep);
    closed.post(rig.client.meet());
    connected.post(rig.client.meet());
    flushed.post(ours.meet());
    ours.meet().mailbox.push(base::SendBlock::make(Bytes::copy("late"), false));
    rig.client.meet().loop->attend(ours.meet(), meet::stream_write);
  };
  rig.client.tear_down(rig.clock.now());
  EXPECT_TRUE(closed.is_success());
  EXPECT_EQ(connected.error()->code(), Code::unreachable);
  EXPECT_EQ(flushed.error()->code(), Code::unreachable);
  EXPECT_EQ(reader.count, 1);
  EXPECT_TRUE(opening.read().is(Code::closed));
}

// ENG-10: blocks made are blocks freed, whatever ends the streams that hold them.
TEST_P(Lifetimes, EveryBlockThatWasMadeIsFreed) {
  Lender lender;
  {
    RigOptions options;
    options.server.grants.stream = 20'000;
    options.server.grants.streams_bidi = 6;
    options.server.limits.receive_list = 4096;
    Rig rig(family(), options);
    std::vector<AppStream> streams;
    for (int i = 0; i < 12; ++i) {
      streams.push_back(rig.client.open());
      for (int k = 0; k < 4; ++k) streams.back().write(lender.lend(random_bytes(9'000, 1)), k == 3);
    }
    rig.run_for(50ms);
    for (std::size_t i = 0; i < streams.size(); i += 3) streams[i].shutdown(Side::both, i);
    for (std::size_t i = 1; i < streams.size(); i += 3) streams[i].drop();
    rig.run_for(50ms);
    EXPECT_LT(lender.released, lender.made);
    rig.client.close();
  }
  EXPECT_EQ(lender.released, lender.made);
}

// A session may end in the middle of a delivery, and its stream's handle be read afterwards.
TEST_P(Lifetimes, ASessionMayEndInsideADelivery) {
  RigOptions options;
  options.server.has_handler = true;
  Rig rig(family(), options);
  AppStream ours = rig.client.open(), theirs;
  rig.server.on_data = [&](StreamId id, const Bytes&, bool) {
    theirs = rig.server.share(id);
    rig.server.session().fail(Error(Code::internal, "the engine stops"), rig.server.now());
  };
  EXPECT_TRUE(ours.write("x"));
  EXPECT_TRUE(rig.run([&] { return rig.server.is_over(); }));
  rig.settle();
  EXPECT_FALSE(theirs.read().is(Code::concurrent_read)) << "the delivery has given its role back";
}

// A handler may keep the bytes that it was given for as long as it likes.
TEST_P(Lifetimes, BytesOutliveTheirDelivery) {
  std::vector<Bytes> kept;
  const std::string data = random_bytes(700'000, 8);
  {
    RigOptions options;
    options.server.has_handler = true;
    Rig rig(family(), options);
    rig.server.on_data = [&](StreamId, const Bytes& bytes, bool) { kept.push_back(bytes); };
    AppStream ours = rig.client.open();
    std::size_t done = 0;
    EXPECT_TRUE(rig.run([&] {
      while (done < data.size() && ours.write(std::string_view(data).substr(done, 70'000))) done += 70'000;
      return rig.server.received[StreamId{ours.id()}].size() == data.size();
    }));
  }
  std::string whole;
  for (const Bytes& bytes : kept) whole += bytes.view();
  EXPECT_TRUE(whole == data);
}

}  // namespace
}  // namespace riffle::test
