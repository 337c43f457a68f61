// One engine against frames written by hand.
#include "core/smux/engine.hpp"

#include <gtest/gtest.h>

#include "core/smux/test_support.hpp"

namespace riffle::core::smux {
namespace {

using namespace test;

constexpr StreamId three{3};

/// A client with stream 3 open and its SYN and UPD out of the way.
struct Client {
  explicit Client(Options options = {}) : engine(options, start) {
    id = open(engine);
    drain(engine);
  }
  Engine engine;
  StreamId id;
};

TEST(SmuxEngine, ItSaysWhatItCanDoAndIsEstablishedAtOnce) {
  Engine engine(Options{}, start);
  EXPECT_EQ(engine.state(), PortState::established);
  EXPECT_TRUE(has(engine.capabilities(), Capability::half_close));
  for (const auto absent : {Capability::unidirectional, Capability::reset_codes, Capability::priority,
                            Capability::acknowledged, Capability::datagrams})
    EXPECT_FALSE(has(engine.capabilities(), absent));
  engine.set_priority(three, 0, true);
  EXPECT_TRUE(drain(engine).empty());
}

// MUX-1: the golden bytes, with our UPD (MUX-6: "our receiver announces its window at SYN") behind the SYN.
TEST(SmuxEngine, AClientThatWritesHiAndFinishesSendsTheGoldenBytes) {
  Blocks blocks;
  Engine engine(Options{}, start);
  const StreamId id = open(engine);
  EXPECT_EQ(id, three);
  blocks.send(engine, id, "hi", true);
  EXPECT_EQ(drain(engine), from_hex("02 00 0000 03000000"
                                    "02 04 0800 03000000 00000000 00000400"
                                    "02 02 0200 03000000 6869"
                                    "02 01 0000 03000000"));
  EXPECT_EQ(blocks.released(), 1u);
}

TEST(SmuxEngine, OutputIsTheSameThroughBuffersOfEverySize) {
  const auto say = [](std::size_t size) {
    Blocks blocks;
    Options options;
    options.max_frame_size = 100;
    Engine engine(options, start);
    blocks.send(engine, open(engine), std::string(150, 'a'), true);
    blocks.send(engine, open(engine), std::string(40, 'b'), true);
    const Raw bytes = drain(engine, start, size);
    // Smaller buffers give smaller frames; what they carry is the same.
    Decoder decoder;
    std::span<const std::byte> rest = bytes;
    std::string text;
    for (Frame found; (found = decoder.next(rest)).kind != Frame::Kind::none;) {
      EXPECT_NE(found.kind, Frame::Kind::violation);
      if (found.kind == Frame::Kind::data) text.append(found.data.size(), found.stream == 3 ? '3' : '5');
      if (found.kind == Frame::Kind::control && found.command == Command::fin) text += found.stream == 3 ? 'F' : 'f';
    }
    EXPECT_EQ(blocks.released(), 2u);
    std::sort(text.begin(), text.end());
    return text;
  };
  const std::string expected = std::string(150, '3') + std::string(40, '5') + "Ff";
  for (std::size_t size = 1; size < 300; ++size) ASSERT_EQ(say(size), expected) << "buffers of " << size;
}

TEST(SmuxEngine, AServerCountsFromTwoAndAClientFromThree) {
  Engine server(server_options(), start);
  EXPECT_EQ(raw(open(server)), 2u);
  EXPECT_EQ(raw(open(server)), 4u);
  Client client;
  EXPECT_EQ(raw(open(client.engine)), 5u);
}

TEST(SmuxEngine, AUnidirectionalStreamFailsWithTheAlternativeNamed) {
  Engine engine(Options{}, start);
  EXPECT_EQ(engine.open(unidirectional).status, Opened::Status::failed);
  EXPECT_EQ(engine.streams_left(unidirectional), 0u);
  EXPECT_EQ(engine.open_failure(unidirectional), Code::unsupported);
  EXPECT_NE(engine.open_failure(unidirectional).evidence().find("open a bidirectional one"), std::string::npos);
}

// MUX-8: "Stream-id exhaustion is an error with a next step."
TEST(SmuxEngine, WhenTheIdsAreUsedUpOpenFailsAndSaysWhatToDo) {
  Options options;
  options.first_stream_id = 0xfffffffb;
  Engine engine(options, start);
  EXPECT_EQ(engine.streams_left(bidirectional), 3u);
  for (const std::uint64_t id : {0xfffffffbu, 0xfffffffdu, 0xffffffffu}) EXPECT_EQ(raw(open(engine)), id);
  EXPECT_EQ(engine.streams_left(bidirectional), 0u);
  EXPECT_EQ(engine.open(bidirectional).status, Opened::Status::failed);
  EXPECT_EQ(engine.open_failure(bidirectional), Code::budget_exhausted);
  EXPECT_NE(engine.open_failure(bidirectional).evidence().find("open a new session"), std::string::npos);
  EXPECT_EQ(engine.state(), PortState::established);
}

TEST(SmuxEngine, BeyondTheLimitOpenIsBlockedUntilAStreamIsOver) {
  Blocks blocks;
  Options options;
  options.max_streams = 2;
  Engine engine(options, start);
  const StreamId first = open(engine);
  open(engine);
  EXPECT_EQ(engine.streams_left(bidirectional), 0u);
  EXPECT_EQ(engine.open(bidirectional).status, Opened::Status::blocked);
  EXPECT_NE(engine.open_failure(bidirectional).evidence().find("the limit is 2"), std::string::npos);
  blocks.send(engine, first, "", true);
  drain(engine);
  feed(engine, frame(Command::fin, 3));
  EXPECT_TRUE(read(engine, first).fin);
  EXPECT_EQ(engine.streams_left(bidirectional), 1u);
  EXPECT_EQ(raw(open(engine)), 7u);
}

TEST(SmuxEngine, AnIdThatThePeerTookIsSkipped) {
  Engine engine(Options{}, start);
  feed(engine, frame(Command::syn, 3));  // "Receivers do not check parity: be lenient."
  EXPECT_EQ(raw(open(engine)), 5u);
}

TEST(SmuxEngine, AStreamOfThePeerIsNamedOnceByItsSynEvenWithoutData) {
  Engine engine(server_options(), start);
  feed(engine, join({frame(Command::syn, 3), frame(Command::syn, 3)}));
  EXPECT_EQ(engine.next_readable(), three);
  EXPECT_EQ(engine.next_readable(), std::nullopt);
  EXPECT_EQ(read(engine, three).status, ReadInto::Status::nothing);
  EXPECT_EQ(engine.open_streams(), 1u);
  // The window is announced at accept.
  EXPECT_EQ(to_hex(drain(engine)), "02040800030000000000000000000400");
}

TEST(SmuxEngine, AReadableStreamIsNamedAgainOnlyAfterItWasDrained) {
  Engine engine(server_options(), start);
  feed(engine, join({frame(Command::syn, 3), frame(Command::psh, 3, "abc")}));
  EXPECT_EQ(engine.next_readable(), three);
  feed(engine, frame(Command::psh, 3, "def"));
  EXPECT_EQ(engine.next_readable(), std::nullopt);
  EXPECT_EQ(read(engine, three, 4).bytes, "abcd");
  EXPECT_EQ(read(engine, three, 0).status, ReadInto::Status::data);
  feed(engine, frame(Command::psh, 3, "g"));
  EXPECT_EQ(engine.next_readable(), std::nullopt);
  EXPECT_EQ(read(engine, three).bytes, "efg");
  EXPECT_EQ(read(engine, three).status, ReadInto::Status::nothing);
  feed(engine, frame(Command::psh, 3));  // "length 0 is tolerated", and says nothing
  EXPECT_EQ(engine.next_readable(), std::nullopt);
  feed(engine, frame(Command::psh, 3, "h"));
  EXPECT_EQ(engine.next_readable(), three);
}

TEST(SmuxEngine, TheEndIsToldOnceAndNeverToAReadWithoutRoom) {
  Client client;
  EXPECT_EQ(read(client.engine, three, 0).status, ReadInto::Status::nothing);
  feed(client.engine, frame(Command::fin, 3));
  EXPECT_EQ(client.engine.next_readable(), three);
  for (int i = 0; i < 2; ++i) {
    const Read probe = read(client.engine, three, 0);
    EXPECT_EQ(probe.status, ReadInto::Status::data);
    EXPECT_FALSE(probe.fin);
  }
  EXPECT_TRUE(read(client.engine, three).fin);
  EXPECT_EQ(read(client.engine, three).status, ReadInto::Status::nothing);
  EXPECT_EQ(client.engine.open_streams(), 1u);
}

TEST(SmuxEngine, FramesForUnknownStreamsAreIgnored) {
  Blocks blocks;
  Engine engine(Options{}, start);
  feed(engine, join({frame(Command::psh, 9, "lost"), frame(Command::fin, 9), update(9, {.consumed = 5, .window = 1}),
                     frame(Command::nop, 77)}));
  EXPECT_EQ(engine.state(), PortState::established);
  EXPECT_EQ(engine.open_streams(), 0u);
  EXPECT_EQ(engine.buffered(), 0u);
  EXPECT_EQ(read(engine, StreamId{9}).status, ReadInto::Status::gone);
  EXPECT_EQ(read(engine, StreamId{1ull << 40}).status, ReadInto::Status::gone);
  base::SendBlock& block = blocks.make("x");
  EXPECT_EQ(engine.offer(StreamId{9}, block).status, Offered::Status::gone);
  EXPECT_EQ(block.references(), 1u);
  engine.stop(StreamId{9}, AppCode{});
  engine.reset(StreamId{9}, AppCode{});
}

TEST(SmuxEngine, DataBehindAFinIsIgnored) {
  Client client;
  feed(client.engine, join({frame(Command::psh, 3, "end"), frame(Command::fin, 3), frame(Command::psh, 3, "late"),
                            frame(Command::fin, 3)}));
  const Read all = read(client.engine, three);
  EXPECT_EQ(all.bytes, "end");
  EXPECT_TRUE(all.fin);
  EXPECT_EQ(client.engine.state(), PortState::established);
}

// "A receiver sends UPD on the first read and then whenever half a buffer has been consumed."
TEST(SmuxEngine, CreditIsGivenOnTheFirstReadAndAfterEachHalfWindow) {
  Options options;
  options.window = 1000;
  options.first_window = 400;
  Client client(options);
  feed(client.engine, frame(Command::psh, 3, std::string(1100, 'x')));
  EXPECT_TRUE(drain(client.engine).empty());
  read(client.engine, three, 1);
  EXPECT_EQ(drain(client.engine), update(3, {.consumed = 1, .window = 1000}));
  read(client.engine, three, 499);
  EXPECT_TRUE(drain(client.engine).empty());
  read(client.engine, three, 1);
  EXPECT_EQ(drain(client.engine), update(3, {.consumed = 501, .window = 1000}));
}

TEST(SmuxEngine, AfterThePeersFinNoMoreCreditIsGiven) {
  Client client;
  feed(client.engine, join({frame(Command::psh, 3, "x"), frame(Command::fin, 3)}));
  EXPECT_TRUE(read(client.engine, three).fin);
  EXPECT_TRUE(drain(client.engine).empty());
}

TEST(SmuxEngine, TheFirstWindowIsAnnouncedAtSyn) {
  Options options;
  options.first_window = 16384;
  Engine engine(options, start);
  open(engine);
  EXPECT_EQ(drain(engine), join({frame(Command::syn, 3), update(3, {.consumed = 0, .window = 16384})}));
}

TEST(SmuxEngine, NoMoreIsWrittenThanThePeersWindowAllows) {
  Blocks blocks;
  Options options;
  options.peer_window = 10;
  Client client(options);
  blocks.send(client.engine, three, std::string(30, 'x'));
  EXPECT_EQ(drain(client.engine), frame(Command::psh, 3, std::string(10, 'x')));
  feed(client.engine, update(3, {.consumed = 4, .window = 10}));
  EXPECT_EQ(drain(client.engine), frame(Command::psh, 3, std::string(4, 'x')));
  // "window is absolute", and may shrink under what is on its way.
  feed(client.engine, update(3, {.consumed = 8, .window = 3}));
  EXPECT_TRUE(drain(client.engine).empty());
  feed(client.engine, update(3, {.consumed = 8, .window = 100}));
  EXPECT_EQ(blocks.released(), 0u);
  feed(client.engine, update(3, {.consumed = 14, .window = 0}));
  EXPECT_TRUE(drain(client.engine).empty());
  feed(client.engine, update(3, {.consumed = 14, .window = 0xffffffff}));
  EXPECT_EQ(drain(client.engine), frame(Command::psh, 3, std::string(16, 'x')));
  EXPECT_EQ(blocks.released(), 1u);
}

TEST(SmuxEngine, OfferTakesWhatFitsAndTheStreamIsNamedWhenThereIsRoomAgain) {
  Blocks blocks;
  Options options;
  options.send_queue = 100;
  Client client(options);
  base::SendBlock& block = blocks.make(std::string(250, 'x'), true);
  Offered offered = client.engine.offer(three, block);
  EXPECT_EQ(offered.status, Offered::Status::blocked);
  EXPECT_EQ(offered.size, 100u);
  EXPECT_EQ(block.offered, 100u);
  EXPECT_EQ(client.engine.offer(three, block).size, 0u);
  EXPECT_EQ(client.engine.next_writable(), std::nullopt);
  drain(client.engine);
  EXPECT_EQ(client.engine.next_writable(), three);
  EXPECT_EQ(client.engine.next_writable(), std::nullopt);
  EXPECT_EQ(client.engine.offer(three, block).status, Offered::Status::blocked);
  drain(client.engine);
  EXPECT_EQ(client.engine.next_writable(), three);
  offered = client.engine.offer(three, block);
  EXPECT_EQ(offered.status, Offered::Status::taken);
  EXPECT_EQ(offered.size, 50u);
  block.release();
  EXPECT_EQ(blocks.released(), 0u);
  EXPECT_EQ(drain(client.engine), join({frame(Command::psh, 3, std::string(50, 'x')), frame(Command::fin, 3)}));
  EXPECT_EQ(blocks.released(), 1u);
  base::SendBlock& late = blocks.make("late");
  EXPECT_EQ(client.engine.offer(three, late).status, Offered::Status::gone);
}

TEST(SmuxEngine, ABlockThatIsOfferedInPartsIsHeldOnceAndGoesOutWhole) {
  Blocks blocks;
  Options options;
  options.send_queue = 100;
  options.peer_window = 50;
  Client client(options);
  base::SendBlock& block = blocks.make(std::string(60, 'a') + std::string(60, 'b') + std::string(30, 'c'), true);
  EXPECT_EQ(client.engine.offer(three, block).size, 100u);
  EXPECT_EQ(drain(client.engine), frame(Command::psh, 3, std::string(50, 'a')));
  EXPECT_EQ(client.engine.next_writable(), three);
  EXPECT_EQ(client.engine.offer(three, block).status, Offered::Status::taken);
  EXPECT_EQ(block.references(), 2u);
  block.release();
  feed(client.engine, update(3, {.consumed = 50, .window = 1000}));
  EXPECT_EQ(drain(client.engine),
            join({frame(Command::psh, 3, std::string(10, 'a') + std::string(60, 'b') + std::string(30, 'c')),
                  frame(Command::fin, 3)}));
  EXPECT_EQ(blocks.released(), 1u);
}

// Law 4: the queue of pieces has a bound, and its full case a test.
TEST(SmuxEngine, ManyTinyBlocksAreBlockedByNumber) {
  Blocks blocks;
  Client client;
  for (std::uint32_t i = 0; i < SendQueue::max_pieces; ++i) blocks.send(client.engine, three, "x");
  base::SendBlock& block = blocks.make("y");
  EXPECT_EQ(client.engine.offer(three, block).status, Offered::Status::blocked);
  EXPECT_EQ(block.offered, 0u);
  EXPECT_EQ(block.references(), 1u);
  EXPECT_EQ(drain(client.engine), frame(Command::psh, 3, std::string(SendQueue::max_pieces, 'x')));
  EXPECT_EQ(blocks.released(), SendQueue::max_pieces);
  EXPECT_EQ(client.engine.next_writable(), three);
  EXPECT_EQ(client.engine.offer(three, block).status, Offered::Status::taken);
}

TEST(SmuxEngine, ResetDropsWhatIsQueuedAndSendsFin) {
  Blocks blocks;
  Client client;
  blocks.send(client.engine, three, "never sent");
  client.engine.reset(three, AppCode{7});
  EXPECT_EQ(blocks.released(), 1u);
  EXPECT_EQ(drain(client.engine), frame(Command::fin, 3));
  client.engine.reset(three, AppCode{7});
  EXPECT_TRUE(drain(client.engine).empty());
  feed(client.engine, frame(Command::psh, 3, "still read"));
  EXPECT_EQ(read(client.engine, three).bytes, "still read");
}

// "As receiver, read on and answer UPD for a while after a local close": fault 3 of the Go module.
TEST(SmuxEngine, AStoppedStreamIsThrownAwayAndStillGivesCredit) {
  Options options;
  options.window = options.first_window = 1000;
  Client client(options);
  feed(client.engine, frame(Command::psh, 3, "unread"));
  client.engine.stop(three, AppCode{});
  client.engine.stop(three, AppCode{});
  EXPECT_EQ(client.engine.next_readable(), std::nullopt);
  EXPECT_EQ(client.engine.buffered(), 0u);
  EXPECT_EQ(drain(client.engine), update(3, {.consumed = 6, .window = 1000}));
  feed(client.engine, frame(Command::psh, 3, std::string(600, 'x')));
  EXPECT_EQ(client.engine.buffered(), 0u);
  EXPECT_EQ(client.engine.next_readable(), std::nullopt);
  EXPECT_EQ(drain(client.engine), update(3, {.consumed = 606, .window = 1000}));
  EXPECT_EQ(read(client.engine, three).status, ReadInto::Status::nothing);
  feed(client.engine, frame(Command::fin, 3));
  EXPECT_EQ(client.engine.open_streams(), 1u);
  client.engine.reset(three, AppCode{});
  drain(client.engine);
  EXPECT_EQ(client.engine.open_streams(), 0u);
}

TEST(SmuxEngine, AStreamThatIsStoppedAfterBothFinsIsForgotten) {
  Blocks blocks;
  Client client;
  blocks.send(client.engine, three, "", true);
  drain(client.engine);
  feed(client.engine, join({frame(Command::psh, 3, "unread"), frame(Command::fin, 3)}));
  EXPECT_EQ(client.engine.open_streams(), 1u);
  client.engine.stop(three, AppCode{});
  EXPECT_EQ(client.engine.open_streams(), 0u);
  EXPECT_EQ(client.engine.buffered(), 0u);
}

TEST(SmuxEngine, AForgottenStreamLeavesNoNoticesBehind) {
  Blocks blocks;
  Options options;
  options.send_queue = 100;
  Client client(options);
  base::SendBlock& block = blocks.make(std::string(150, 'x'), true);
  EXPECT_EQ(client.engine.offer(three, block).status, Offered::Status::blocked);
  drain(client.engine);  // from here on `next_writable` would name it
  EXPECT_EQ(client.engine.offer(three, block).status, Offered::Status::taken);
  drain(client.engine);
  feed(client.engine, frame(Command::psh, 3, "y"));
  EXPECT_EQ(read(client.engine, three).bytes, "y");  // an UPD is due
  feed(client.engine, frame(Command::fin, 3));
  EXPECT_TRUE(read(client.engine, three).fin);
  EXPECT_EQ(client.engine.open_streams(), 0u);
  EXPECT_EQ(client.engine.next_writable(), std::nullopt);
  EXPECT_EQ(client.engine.next_readable(), std::nullopt);
  EXPECT_TRUE(drain(client.engine).empty());
}

TEST(SmuxEngine, EveryBreachOfFlowControlEndsTheSessionWithASentence) {
  struct Case {
    Raw bytes;
    std::string_view sentence;
  };
  const std::string full(unasked_window / 8, 'x');
  Raw too_much;
  for (int i = 0; i < 8; ++i) too_much = join({too_much, frame(Command::psh, 3, full)});
  const Case cases[] = {
      {join({too_much, frame(Command::psh, 3, "!")}), "was sent 1 more, its window is 262144"},
      {update(3, {.consumed = 1, .window = 10}), "says that 1 bytes were consumed, only 0 were written"},
      {from_hex("02 09 0000 03000000"), "unknown command 9"},
  };
  for (const Case& broken : cases) {
    Client client;
    feed(client.engine, broken.bytes);
    EXPECT_EQ(client.engine.state(), PortState::closed);
    EXPECT_EQ(client.engine.end_reason(), Code::protocol_violation);
    EXPECT_NE(client.engine.end_reason().evidence().find(broken.sentence), std::string::npos)
        << client.engine.end_reason().evidence();
    EXPECT_EQ(client.engine.open(bidirectional).status, Opened::Status::failed);
    EXPECT_EQ(client.engine.open_failure(bidirectional), Code::closed);
    EXPECT_EQ(client.engine.streams_left(bidirectional), 0u);
    EXPECT_EQ(client.engine.next_deadline(), never);
  }
}

TEST(SmuxEngine, AFullWindowIsNoBreachAndBytesBeforeABreachAreReadable) {
  Client client;
  const std::string full(unasked_window / 8, 'x');
  for (int i = 0; i < 8; ++i) feed(client.engine, frame(Command::psh, 3, full));
  EXPECT_EQ(client.engine.state(), PortState::established);
  EXPECT_EQ(client.engine.buffered(), unasked_window);
  feed(client.engine, frame(Command::psh, 3, "!"));
  EXPECT_EQ(client.engine.state(), PortState::closed);
  EXPECT_EQ(read(client.engine, three, 2 * unasked_window).bytes.size(), unasked_window);
  EXPECT_EQ(read(client.engine, three).status, ReadInto::Status::gone);
}

TEST(SmuxEngine, ALargerWindowCountsFromWhenItWasAnnounced) {
  Options options;
  options.window = options.first_window = 2 * unasked_window;
  Client client(options);  // drained: announced
  const std::string part(unasked_window / 8, 'x');
  for (int i = 0; i < 16; ++i) feed(client.engine, frame(Command::psh, 3, part));
  EXPECT_EQ(client.engine.state(), PortState::established);
  EXPECT_EQ(client.engine.buffered(), 2 * unasked_window);
  // What was read is credit only once the peer was told.
  read(client.engine, three, 100);
  Engine unannounced(options, start);
  open(unannounced);
  for (int i = 0; i < 8; ++i) feed(unannounced, frame(Command::psh, 3, part));
  EXPECT_EQ(unannounced.state(), PortState::established);
  feed(unannounced, frame(Command::psh, 3, "!"));
  EXPECT_EQ(unannounced.end_reason(), Code::protocol_violation);
  feed(client.engine, frame(Command::psh, 3, "!"));
  EXPECT_EQ(client.engine.end_reason(), Code::protocol_violation);
}

// Both ends take in flight for a signed 32-bit difference: 2^31 of it would read as negative.
TEST(SmuxEngine, NoWindowLetsTwoGibibytesBeInFlight) {
  Blocks blocks;
  Options options;
  options.send_queue = 64u << 20;
  Client client(options);
  feed(client.engine, update(3, {.consumed = 0, .window = 0xffffffff}));
  const Bytes bytes = Bytes::adopt(std::string(64u << 20, 'x'));
  std::uint64_t payload = 0;
  Raw buffer(1 << 20);
  Decoder decoder;
  for (int i = 0; i < 32; ++i) {
    base::SendBlock& block = blocks.adopt(base::SendBlock::make(bytes, false));
    ASSERT_EQ(client.engine.offer(three, block).status, Offered::Status::taken);
    block.release();
    for (Batch batch; (batch = client.engine.poll_output(buffer, start)).bytes != 0;) {
      std::span<const std::byte> rest = std::span(buffer).first(batch.bytes);
      for (Frame found; (found = decoder.next(rest)).kind != Frame::Kind::none;) payload += found.data.size();
    }
  }
  EXPECT_EQ(payload, (1u << 31) - 1);
  feed(client.engine, update(3, {.consumed = 1u << 20, .window = 0xffffffff}));
  EXPECT_EQ(drain(client.engine), frame(Command::psh, 3, "x"));
}

TEST(SmuxEngine, TheEndOfAFullBufferIsNotFilledWithTinyFrames) {
  Blocks blocks;
  Client client;
  const StreamId other = open(client.engine);
  drain(client.engine);
  blocks.send(client.engine, three, std::string(500, 'x'));
  blocks.send(client.engine, other, std::string(500, 'y'));
  Raw buffer(600);
  EXPECT_EQ(client.engine.poll_output(buffer, start).bytes, header_size + 500);
  EXPECT_EQ(client.engine.poll_output(buffer, start).bytes, header_size + 500);
  EXPECT_EQ(client.engine.poll_output(buffer, start).bytes, 0u);
}

// MUX-6, law 4: the session's memory has a bound, and what happens there is told.
TEST(SmuxEngine, UnreadBytesBeyondTheBudgetEndTheSession) {
  Options options = server_options();
  options.receive_budget = unasked_window;
  Engine engine(options, start);
  const std::string part(32768, 'x');
  feed(engine, frame(Command::syn, 3));
  for (int i = 0; i < 8; ++i) feed(engine, frame(Command::psh, 3, part));
  EXPECT_EQ(engine.state(), PortState::established);
  drain(engine);
  feed(engine, join({frame(Command::syn, 5), frame(Command::psh, 5, "!")}));
  EXPECT_EQ(engine.end_reason(), Code::budget_exhausted);
  EXPECT_EQ(engine.buffered(), unasked_window);
}

TEST(SmuxEngine, StreamsOfThePeerBeyondTheLimitAreRefusedWithFin) {
  Options options = server_options();
  options.max_streams = 1;
  Engine engine(options, start);
  feed(engine, join({frame(Command::syn, 3), frame(Command::syn, 5), frame(Command::psh, 5, "x")}));
  EXPECT_EQ(engine.open_streams(), 1u);
  EXPECT_EQ(drain(engine), join({frame(Command::fin, 5), update(3, {.consumed = 0, .window = 262144})}));
  EXPECT_EQ(engine.next_readable(), three);
  EXPECT_EQ(engine.next_readable(), std::nullopt);
}

TEST(SmuxEngine, APeerThatOpensOnAndTakesNoRefusalIsGivenUp) {
  Options options = server_options();
  options.max_streams = 1;
  Engine engine(options, start);
  for (std::uint32_t id = 0; id < 1025; ++id) feed(engine, frame(Command::syn, id));
  EXPECT_EQ(engine.state(), PortState::established);
  feed(engine, frame(Command::syn, 5000));
  EXPECT_EQ(engine.state(), PortState::draining);
  EXPECT_EQ(engine.end_reason(), Code::budget_exhausted);
  EXPECT_EQ(drain(engine).size(), update_frame_size + 1024 * header_size);
  EXPECT_EQ(engine.state(), PortState::closed);
}

TEST(SmuxEngine, CloseWritesOutWhatTheWindowAllowsAndCutsNoStreamOffWithAFin) {
  Blocks blocks;
  Options options;
  options.peer_window = 4;
  Client client(options);
  blocks.send(client.engine, three, "123456", true);
  client.engine.close(StreamPort::CloseKind::application, 9, "enough");
  EXPECT_EQ(client.engine.state(), PortState::draining);
  EXPECT_EQ(client.engine.end_reason(), Code::closed);
  EXPECT_EQ(client.engine.end_reason().wire(), 9u);
  EXPECT_EQ(client.engine.end_reason().evidence(), "enough");
  base::SendBlock& late = blocks.make("late");
  EXPECT_EQ(client.engine.offer(three, late).status, Offered::Status::gone);
  late.release();
  feed(client.engine, frame(Command::psh, 3, "ignored"));
  client.engine.reset(three, AppCode{});
  client.engine.on_deadline(start + 1h);
  Raw buffer(100);
  EXPECT_EQ(client.engine.poll_output(buffer, start).bytes, header_size + 4);
  EXPECT_EQ(client.engine.state(), PortState::draining);
  EXPECT_EQ(client.engine.poll_output(buffer, start).bytes, 0u);
  buffer.resize(header_size + 4);
  EXPECT_EQ(buffer, frame(Command::psh, 3, "1234"));
  EXPECT_EQ(client.engine.state(), PortState::closed);
  EXPECT_EQ(blocks.released(), blocks.made());
  EXPECT_EQ(read(client.engine, three).status, ReadInto::Status::gone);
}

TEST(SmuxEngine, CloseWithNothingToSayIsClosedAtOnceAndTheFirstReasonStays) {
  Client client;
  client.engine.close(StreamPort::CloseKind::application, 1, "first");
  client.engine.close(StreamPort::CloseKind::application, 2, "second");
  client.engine.on_carrier_end(Error(Code::peer_closed));
  EXPECT_EQ(client.engine.state(), PortState::closed);
  EXPECT_EQ(client.engine.end_reason().evidence(), "first");
}

// "no data lost on early close": what arrived before the carrier's end is read after it, the end of stream included.
TEST(SmuxEngine, AfterTheCarriersEndTheBytesThatArrivedAreStillRead) {
  Blocks blocks;
  Client client;
  const StreamId other = open(client.engine);
  blocks.send(client.engine, three, "queued");
  feed(client.engine, join({frame(Command::psh, 3, "whole"), frame(Command::fin, 3), frame(Command::psh, 5, "cut")}));
  client.engine.on_carrier_end(Error(Code::peer_closed, "end of file"));
  EXPECT_EQ(client.engine.state(), PortState::closed);
  EXPECT_EQ(client.engine.end_reason(), Code::peer_closed);
  EXPECT_EQ(blocks.released(), 1u);
  EXPECT_TRUE(drain(client.engine).empty());
  EXPECT_EQ(client.engine.next_readable(), three);
  EXPECT_EQ(client.engine.next_readable(), other);
  EXPECT_EQ(client.engine.next_writable(), std::nullopt);
  const Read whole = read(client.engine, three);
  EXPECT_EQ(whole.bytes, "whole");
  EXPECT_TRUE(whole.fin);
  EXPECT_EQ(client.engine.open_streams(), 1u);
  const Read cut = read(client.engine, other);
  EXPECT_EQ(cut.bytes, "cut");
  EXPECT_FALSE(cut.fin);
  EXPECT_EQ(read(client.engine, other).status, ReadInto::Status::gone);
  client.engine.stop(other, AppCode{});
}

TEST(SmuxEngine, AnEngineThatDiesLetsGoOfItsBlocks) {
  Blocks blocks;
  {
    Client client;
    feed(client.engine, frame(Command::psh, 3, std::string(20'000, 'x')));
    blocks.send(client.engine, three, "queued");
    blocks.send(client.engine, three, "queued too", true);
    EXPECT_EQ(blocks.released(), 0u);
  }
  EXPECT_EQ(blocks.released(), 2u);
}

}  // namespace
}  // namespace riffle::core::smux
