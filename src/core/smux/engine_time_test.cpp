// What the smux engine does by the clock, with instants that are only numbers.
#include <gtest/gtest.h>

#include "core/smux/engine.hpp"
#include "core/smux/test_support.hpp"

namespace riffle::core::smux {
namespace {

using namespace test;

constexpr StreamId three{3};

// MUX-8: keep-alive both ways, a dead peer noticed within the timeout and told.
TEST(SmuxEngineTime, AnIdleSessionSendsANopEveryTenSeconds) {
  Engine engine(Options{}, start);
  EXPECT_EQ(engine.next_deadline(), start + 10s);
  engine.on_deadline(start + 9s);
  EXPECT_TRUE(drain(engine, start + 9s).empty());
  engine.on_deadline(start + 10s);
  EXPECT_EQ(engine.next_deadline(), start + 30s) << "a NOP that waits for the carrier is not due again";
  EXPECT_EQ(drain(engine, start + 11s), from_hex("02 03 0000 00000000"));
  EXPECT_EQ(engine.next_deadline(), start + 21s);
}

TEST(SmuxEngineTime, AnyOutputPutsTheNopOff) {
  Engine engine(Options{}, start);
  open(engine);
  drain(engine, start + 9s);
  EXPECT_EQ(engine.next_deadline(), start + 19s);
}

TEST(SmuxEngineTime, ASilentPeerIsGivenUpAfterThirtySeconds) {
  Blocks blocks;
  Engine engine(Options{}, start);
  blocks.send(engine, open(engine), "queued");
  feed(engine, frame(Command::nop, 0), start + 5s);
  feed(engine, {}, start + 20s);  // no bytes are no sign of life
  engine.on_deadline(start + 34s);
  EXPECT_EQ(engine.state(), PortState::established);
  engine.on_deadline(start + 35s);
  EXPECT_EQ(engine.state(), PortState::closed);
  EXPECT_EQ(engine.end_reason(), Code::idle_timeout);
  EXPECT_NE(engine.end_reason().evidence().find("silent for 30000 ms"), std::string::npos);
  EXPECT_EQ(engine.next_deadline(), never);
  EXPECT_TRUE(drain(engine, start + 35s).empty());
  EXPECT_EQ(blocks.released(), 1u);
}

TEST(SmuxEngineTime, TwoIdleEnginesKeepEachOtherAlive) {
  Engine client(Options{}, start);
  Engine server(server_options(), start);
  for (int second = 1; second <= 300; ++second) {
    const Instant now = start + std::chrono::seconds(second);
    for (Engine* engine : {&client, &server})
      if (engine->next_deadline() <= now) engine->on_deadline(now);
    if (const Raw bytes = drain(client, now); !bytes.empty()) feed(server, bytes, now);
    if (const Raw bytes = drain(server, now); !bytes.empty()) feed(client, bytes, now);
  }
  EXPECT_EQ(client.state(), PortState::established);
  EXPECT_EQ(server.state(), PortState::established);
}

TEST(SmuxEngineTime, KeepAliveCanBeSwitchedOff) {
  Options options;
  options.keep_alive_interval = options.keep_alive_timeout = Duration::zero();
  Engine engine(options, start);
  EXPECT_EQ(engine.next_deadline(), never);
  engine.on_deadline(start + 1h);
  EXPECT_EQ(engine.state(), PortState::established);
  EXPECT_TRUE(drain(engine).empty());
}

// Fault 1 of the Go module: "As acceptor, hold our first data until the opener's first frame or 2 ms."
TEST(SmuxEngineTime, AnAcceptorHoldsItsFirstDataForTwoMilliseconds) {
  Blocks blocks;
  Engine engine(server_options(), start);
  feed(engine, frame(Command::syn, 3));
  drain(engine);
  blocks.send(engine, three, "hello", true);
  EXPECT_TRUE(drain(engine).empty());
  EXPECT_EQ(engine.next_deadline(), start + 2ms);
  engine.on_deadline(start + 2ms);
  EXPECT_EQ(drain(engine, start + 2ms), join({frame(Command::psh, 3, "hello"), frame(Command::fin, 3)}));
}

TEST(SmuxEngineTime, TheHoldEndsWithTheOpenersFirstFrame) {
  for (const Raw& first :
       {frame(Command::psh, 3, "x"), update(3, {.consumed = 0, .window = 500}), frame(Command::fin, 3)}) {
    Blocks blocks;
    Engine engine(server_options(), start);
    feed(engine, frame(Command::syn, 3));
    drain(engine);
    blocks.send(engine, three, "hello");
    feed(engine, first);
    EXPECT_EQ(drain(engine), frame(Command::psh, 3, "hello"));
  }
}

TEST(SmuxEngineTime, TheHoldCanBeSwitchedOffAndCloseEndsIt) {
  for (const bool is_off : {true, false}) {
    Blocks blocks;
    Options options = server_options();
    if (is_off) options.accept_hold = Duration::zero();
    Engine engine(options, start);
    feed(engine, frame(Command::syn, 3));
    drain(engine);
    blocks.send(engine, three, "hello");
    if (!is_off) engine.close(StreamPort::CloseKind::application, 0, "");
    EXPECT_EQ(drain(engine), frame(Command::psh, 3, "hello"));
  }
}

TEST(SmuxEngineTime, AResetOfAHeldStreamWaitsForTheHold) {
  Engine engine(server_options(), start);
  feed(engine, frame(Command::syn, 3));
  drain(engine);
  engine.reset(three, AppCode{});
  EXPECT_TRUE(drain(engine).empty());
  engine.on_deadline(start + 2ms);
  EXPECT_EQ(drain(engine, start + 2ms), frame(Command::fin, 3));
}

/// A server with a stream of 100 bytes behind the peer's FIN: fault 6 of the Go module (MUX-5).
struct HalfClosed {
  HalfClosed() : engine(make(), start) {
    feed(engine, join({frame(Command::syn, 3), update(3, {.consumed = 0, .window = 100}), frame(Command::fin, 3)}));
    drain(engine);
    blocks.send(engine, three, std::string(100, 'x'), true);
    EXPECT_EQ(drain(engine), frame(Command::psh, 3, std::string(100, 'x')));
  }
  static Options make() {
    Options options = server_options();
    options.half_close_grace = 50ms;
    return options;
  }
  Blocks blocks;
  Engine engine;
};

// "hold the FIN back until its UPD says that it has read all but the last half buffer, and a grace after that"
TEST(SmuxEngineTime, TowardsAHalfClosedPeerTheFinWaitsForItsReaderAndAGrace) {
  HalfClosed half;
  feed(half.engine, update(3, {.consumed = 49, .window = 100}), start + 1s);
  EXPECT_EQ(half.engine.next_deadline(), start + 10s);
  feed(half.engine, update(3, {.consumed = 50, .window = 100}), start + 1s);
  EXPECT_EQ(half.engine.next_deadline(), start + 1050ms);
  EXPECT_TRUE(drain(half.engine, start + 1s).empty());
  half.engine.on_deadline(start + 1050ms);
  EXPECT_EQ(drain(half.engine, start + 1050ms), frame(Command::fin, 3));
}

TEST(SmuxEngineTime, AResetOrACloseDoesNotWaitForTheGrace) {
  for (const bool has_read : {false, true}) {
    HalfClosed half;
    if (has_read) feed(half.engine, update(3, {.consumed = 100, .window = 100}));
    half.engine.reset(three, AppCode{});
    EXPECT_EQ(drain(half.engine), frame(Command::fin, 3));
  }
  HalfClosed half;
  feed(half.engine, update(3, {.consumed = 100, .window = 100}));
  half.engine.close(StreamPort::CloseKind::application, 0, "");
  EXPECT_EQ(drain(half.engine), frame(Command::fin, 3));
  HalfClosed ended;
  feed(ended.engine, update(3, {.consumed = 100, .window = 100}));
  ended.engine.on_carrier_end(Error(Code::peer_closed));
  EXPECT_EQ(ended.engine.next_deadline(), never);
}

}  // namespace
}  // namespace riffle::core::smux
