// Two connections in memory: handshake, streams, ends.
#include "quiche/quiche_connection.hpp"

#include <algorithm>
#include <cstring>
#include <thread>

#include "quiche/pair_test.hpp"

namespace riffle::quiche {
namespace {

using core::Offered;
using core::Opened;
using core::PortState;
using core::ReadInto;

struct QuicheConnectionTest : testing::Test {
  Pair pair;
  core::QuicConnection& client() { return *pair.client; }
  core::QuicConnection& server() { return *pair.server; }
  void connect() {
    pair.start();
    if (!HasFatalFailure()) pair.connect();
  }
  StreamId open(core::QuicConnection& from, Direction direction = bidirectional) {
    const Opened opened = from.open(direction);
    EXPECT_EQ(opened.status, Opened::Status::opened);
    return opened.id;
  }
};

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 131 + i / 251);
  return text;
}

TEST_F(QuicheConnectionTest, HandshakeEstablishesBothSides) {
  pair.start();
  EXPECT_EQ(client().state(), PortState::handshaking);
  EXPECT_EQ(client().streams_left(bidirectional), 0u);
  EXPECT_EQ(client().open(bidirectional).status, Opened::Status::blocked);
  pair.connect();
  EXPECT_EQ(client().info().alpn, "riffle");
  EXPECT_EQ(server().info().server_name, "riffle.test");
  ASSERT_EQ(client().info().peer_certificates.size(), 1u);
  EXPECT_TRUE(server().info().peer_certificates.empty());
  EXPECT_EQ(client().streams_left(bidirectional), pair.server_options.transport.max_streams_bidi);
}

// COR-4: client bidirectional 0, 4, 8…, unidirectional 2, 6…; server 1, 5… and 3, 7….
TEST_F(QuicheConnectionTest, StreamIdsCountByRoleAndDirection) {
  connect();
  EXPECT_EQ(open(client()), StreamId{0});
  EXPECT_EQ(open(client()), StreamId{4});
  EXPECT_EQ(open(client(), unidirectional), StreamId{2});
  EXPECT_EQ(open(client(), unidirectional), StreamId{6});
  EXPECT_EQ(open(server()), StreamId{1});
  EXPECT_EQ(open(server(), unidirectional), StreamId{3});
  EXPECT_EQ(client().streams_left(bidirectional), pair.server_options.transport.max_streams_bidi - 2);
}

TEST_F(QuicheConnectionTest, DataArrivesByteForByteInBothDirections) {
  connect();
  const StreamId id = open(client());
  pair.write(client(), id, "a question", Fin::yes);
  pair.exchange();
  ASSERT_EQ(server().next_readable(), id);
  std::string question;
  EXPECT_FALSE(pair.read_some(server(), id, question));
  EXPECT_EQ(question, "a question");
  pair.write(server(), id, "an answer", Fin::yes);
  pair.exchange();
  ASSERT_EQ(client().next_readable(), id);
  std::string answer;
  EXPECT_FALSE(pair.read_some(client(), id, answer));
  EXPECT_EQ(answer, "an answer");
  EXPECT_EQ(pair.blocks.freed(), 2) << "acknowledged blocks are let go";
}

/// Sends `text` from one side to the other on one stream, refilled whenever the stream is named writable.
void transfer(Pair& pair, core::QuicConnection& from, core::QuicConnection& to, StreamId id, const std::string& text,
              std::size_t block_size) {
  std::size_t queued = 0;
  base::SendBlock* current = nullptr;
  std::string received;
  bool is_over = false;
  const auto refill = [&] {
    for (;;) {
      if (!current) {
        if (queued == text.size()) return;
        const std::string part = text.substr(queued, block_size);
        queued += part.size();
        current = pair.blocks.make(part, queued == text.size() ? Fin::yes : Fin::no);
      }
      const Offered offered = from.offer(id, *current);
      if (offered.status == Offered::Status::blocked) return;
      ASSERT_EQ(offered.status, Offered::Status::taken) << from.end_reason().message() << to.end_reason().message();
      current->release();
      current = nullptr;
    }
  };
  refill();
  pair.run([&] {
    for (bool is_moving = true; is_moving && !is_over;) {
      is_moving = false;
      while (from.next_writable()) {
        is_moving = true;
        refill();
      }
      while (const auto readable = to.next_readable()) {
        is_moving = true;
        if (*readable == id && !pair.read_some(to, id, received)) is_over = true;
      }
      pair.exchange();
    }
    return is_over;
  });
  EXPECT_EQ(received.size(), text.size());
  EXPECT_TRUE(received == text) << "bytes differ";
}

TEST_F(QuicheConnectionTest, MegabytesPassWithoutCopiesAndEveryBlockIsLetGo) {
  connect();
  const std::string text = pattern(8 * 1024 * 1024);
  transfer(pair, client(), server(), open(client()), text, 100'000);
  transfer(pair, server(), client(), open(server()), text, 4096);
  pair.exchange();
  EXPECT_EQ(pair.blocks.freed(), pair.blocks.made());
  EXPECT_GE(pair.largest_batch, 20u) << "bulk data goes out in large batches (UDP-3)";
}

TEST_F(QuicheConnectionTest, LossOnlyDelays) {
  connect();
  int count = 0;
  pair.arrives = [&count](const Datagram&) { return ++count % 20 != 0; };
  const std::string text = pattern(1024 * 1024);
  transfer(pair, client(), server(), open(client()), text, 50'000);
  EXPECT_GT(client().stats().packets_lost, 0u);
}

TEST_F(QuicheConnectionTest, ResetAndStopCarryTheirCodes) {
  connect();
  const StreamId id = open(client());
  pair.write(client(), id, "abc", Fin::no);
  pair.exchange();
  server().reset(id, AppCode{41});
  server().stop(id, AppCode{42});
  pair.exchange();
  base::SendBlock* const block = pair.blocks.make("more");
  const Offered offered = client().offer(id, *block);
  EXPECT_EQ(offered.status, Offered::Status::stopped);
  EXPECT_EQ(offered.code, AppCode{42});
  block->release();
  std::array<std::byte, 10> room;
  const ReadInto read = client().read_into(id, room);
  EXPECT_EQ(read.status, ReadInto::Status::reset);
  EXPECT_EQ(read.code, AppCode{41});
  EXPECT_EQ(client().read_into(id, room).status, ReadInto::Status::gone);
}

// STR-6: "a shutdown of a stream that has moved no data yet succeeds".
TEST_F(QuicheConnectionTest, AStreamWithoutDataCanBeReset) {
  connect();
  const StreamId id = open(client());
  client().reset(id, AppCode{5});
  pair.exchange();
  ASSERT_EQ(server().next_readable(), id);
  EXPECT_EQ(server().read_into(id, {}).code, AppCode{5});
}

TEST_F(QuicheConnectionTest, AResetOfAParkedStreamIsFoundByAnEmptyRead) {
  connect();
  const StreamId id = open(client());
  pair.write(client(), id, std::string(1000, 'x'), Fin::no);
  pair.exchange();
  ASSERT_EQ(server().next_readable(), id);
  std::array<std::byte, 10> little;
  EXPECT_EQ(server().read_into(id, little).size, 10u);
  EXPECT_EQ(server().next_readable(), std::nullopt) << "named once, until it was drained";
  EXPECT_EQ(server().read_into(id, {}).status, ReadInto::Status::data);
  client().reset(id, AppCode{6});
  pair.exchange();
  EXPECT_EQ(server().read_into(id, {}).status, ReadInto::Status::reset);
}

TEST_F(QuicheConnectionTest, UrgentStreamsGoFirst) {
  connect();
  const StreamId late = open(client());
  const StreamId soon = open(client());
  client().set_priority(soon, 0, false);
  pair.write(client(), late, std::string(3000, 'l'), Fin::no);
  pair.write(client(), soon, std::string(3000, 's'), Fin::no);
  std::vector<Datagram> datagrams = pair.pull(client());
  ASSERT_GE(datagrams.size(), 4u);
  datagrams.resize(2);
  pair.push(server(), std::move(datagrams));
  EXPECT_EQ(server().next_readable(), soon);
  EXPECT_EQ(server().next_readable(), std::nullopt);
}

TEST_F(QuicheConnectionTest, CloseIsToldOnBothSides) {
  connect();
  client().close(core::StreamPort::CloseKind::application, 17, "enough");
  EXPECT_EQ(client().state(), PortState::draining) << "CON-2: seen at once";
  EXPECT_EQ(client().open(bidirectional).status, Opened::Status::failed);
  EXPECT_EQ(client().end_reason(), Code::closed);
  client().close(core::StreamPort::CloseKind::application, 18, "again");
  pair.exchange();
  EXPECT_EQ(server().state(), PortState::draining);
  const Error peer = server().end_reason();
  EXPECT_EQ(peer, Code::peer_closed);
  EXPECT_EQ(peer.wire(), 17u);
  EXPECT_EQ(peer.evidence(), "enough");
  EXPECT_EQ(client().end_reason().wire(), 17u);
  pair.run([this] { return client().state() == PortState::closed && server().state() == PortState::closed; });
  EXPECT_EQ(client().end_reason(), Code::closed);
  EXPECT_EQ(client().next_deadline(), never);
}

TEST_F(QuicheConnectionTest, ATransportCloseTellsItsCode) {
  connect();
  server().close(core::StreamPort::CloseKind::transport, 0x1, "");
  pair.exchange();
  EXPECT_EQ(client().end_reason(), Code::peer_closed);
  EXPECT_EQ(client().end_reason().wire(), 0x1u);
}

TEST_F(QuicheConnectionTest, ACloseDuringTheHandshakeIsARefusal) {
  pair.start();
  pair.push(server(), pair.pull(client()));
  // quiche sends the close as a Handshake packet, for which the client needs the server's first flight.
  pair.push(client(), pair.pull(server()));
  server().close(core::StreamPort::CloseKind::application, 9, "no room");
  pair.exchange();
  // RFC 9000 section 10.2.3: the code and the reason must not leak before the handshake.
  EXPECT_EQ(client().end_reason(), Code::refused);
  EXPECT_EQ(client().end_reason().wire(), 0xcu);
}

TEST_F(QuicheConnectionTest, SilenceEndsInTheIdleTimeout) {
  pair.client_options.transport.idle_timeout = std::chrono::seconds(5);
  connect();
  const Instant start = pair.clock.now();
  pair.arrives = [](const Datagram&) { return false; };
  pair.run([this] { return client().state() == PortState::closed; });
  EXPECT_EQ(client().end_reason(), Code::idle_timeout);
  EXPECT_GE(pair.clock.now() - start, std::chrono::seconds(5));
  EXPECT_LT(pair.clock.now() - start, std::chrono::seconds(6));
}

TEST_F(QuicheConnectionTest, AHandshakeWithoutAnAnswerTimesOut) {
  pair.start();
  pair.arrives = [](const Datagram&) { return false; };
  pair.run([this] { return client().state() == PortState::closed; });
  EXPECT_EQ(client().end_reason(), Code::handshake_timeout);
}

TEST_F(QuicheConnectionTest, KeepAliveOutlivesTheIdleTimeout) {
  pair.client_options.transport.idle_timeout = std::chrono::seconds(5);
  connect();
  for (int i = 0; i < 10; ++i) {
    client().keep_alive();
    pair.run_for(std::chrono::seconds(4));
    ASSERT_EQ(client().state(), PortState::established);
    ASSERT_EQ(server().state(), PortState::established);
  }
}

TEST_F(QuicheConnectionTest, NoDeadlineComesEarly) {
  connect();
  // A deadline told early would fire for nothing, for ever, in virtual time.
  const Instant deadline = client().next_deadline();
  pair.clock.advance_to(deadline);
  client().on_deadline(pair.clock.now());
  EXPECT_NE(client().next_deadline(), deadline);
}

TEST_F(QuicheConnectionTest, BatchesHaveTheShapeOfSegments) {
  connect();
  pair.shapes.clear();
  const StreamId id = open(client());
  pair.write(client(), id, std::string(10'000, 'x'), Fin::yes);
  pair.exchange();
  for (const core::Batch& shape : pair.shapes) {
    EXPECT_GT(shape.segment, 0u);
    EXPECT_LE(shape.segment, 1452u);
    EXPECT_LE(shape.segment, shape.bytes);
    EXPECT_TRUE(shape.local == pair.client_address || shape.local == pair.server_address);
    EXPECT_NE(shape.local, shape.peer);
  }
  EXPECT_GE(pair.largest_batch, 7u);
}

TEST_F(QuicheConnectionTest, SourceIdsAreKnownGivenAndRetired) {
  connect();
  ASSERT_EQ(server().source_ids(), std::vector{connection_id(0x5e)});
  EXPECT_EQ(server().source_ids_left(), 3u);
  const std::array<std::uint8_t, 16> token{1};
  for (std::uint8_t fill = 1; fill <= 3; ++fill) EXPECT_TRUE(server().add_source_id(connection_id(fill), token));
  EXPECT_FALSE(server().add_source_id(connection_id(4), token));
  EXPECT_EQ(server().source_ids_left(), 0u);
  EXPECT_EQ(server().source_ids().size(), 4u);
  EXPECT_EQ(server().next_retired_id().size, 0u);
}

TEST_F(QuicheConnectionTest, StatisticsAreQuiches) {
  connect();
  pair.write(client(), open(client()), std::string(5000, 'x'), Fin::yes);
  pair.exchange();
  const quic::ConnectionStats stats = client().stats();
  EXPECT_GT(stats.bytes_sent, 5000u);
  EXPECT_EQ(stats.bytes_sent, server().stats().bytes_received);
  const std::vector<quic::PathStats> paths = client().path_stats();
  ASSERT_EQ(paths.size(), 1u);
  EXPECT_EQ(paths[0].peer, pair.server_address);
  EXPECT_EQ(paths[0].mtu, 1452u);
  EXPECT_TRUE(paths[0].is_active);
  EXPECT_LE(client().release_time(), pair.clock.now());
}

TEST_F(QuicheConnectionTest, AReservedVersionIsNegotiatedDown) {
  pair.client_options.transport.version = 0x1a2a3a4a;
  pair.start();
  // The endpoint's part: an Initial of an unknown version is answered, not accepted.
  EXPECT_FALSE(pair.stack.is_version_supported(0x1a2a3a4a));
  const std::vector<Datagram> initial = pair.pull(client());
  ASSERT_FALSE(initial.empty());
  const auto id_at = [&](std::size_t at) {
    core::ConnectionId id;
    id.size = std::to_integer<std::uint8_t>(initial[0].bytes[at]);
    std::memcpy(id.bytes.data(), &initial[0].bytes[at + 1], id.size);
    return id;
  };
  const core::ConnectionId dcid = id_at(5);
  const core::ConnectionId scid = id_at(6u + dcid.size);
  Datagram answer{std::vector<std::byte>(100), {.local = pair.client_address, .peer = pair.server_address}};
  std::array<std::byte, 5> short_room;
  EXPECT_EQ(pair.stack.negotiate_version(scid, dcid, short_room), 0u);
  answer.bytes.resize(pair.stack.negotiate_version(scid, dcid, answer.bytes));
  pair.push(client(), {answer});
  pair.connect();
}

TEST_F(QuicheConnectionTest, AVersionThatNobodySharesIsUnsupported) {
  pair.start();
  const std::vector<Datagram> initial = pair.pull(client());
  // RFC 9000 section 17.2.1, from a server that speaks only a version of its own.
  const std::size_t dcid_size = std::to_integer<std::size_t>(initial[0].bytes[5]);
  const std::size_t scid_size = std::to_integer<std::size_t>(initial[0].bytes[6 + dcid_size]);
  const auto begin = initial[0].bytes.begin() + 5;
  const auto middle = begin + 1 + static_cast<std::ptrdiff_t>(dcid_size);
  Datagram answer{{std::byte{0x80}, {}, {}, {}, {}}, {.local = pair.client_address, .peer = pair.server_address}};
  answer.bytes.insert(answer.bytes.end(), middle, middle + 1 + static_cast<std::ptrdiff_t>(scid_size));
  answer.bytes.insert(answer.bytes.end(), begin, middle);
  for (const int byte : {0x7a, 0x7b, 0x7c, 0x7d}) answer.bytes.push_back(static_cast<std::byte>(byte));
  pair.push(client(), {answer});
  EXPECT_EQ(client().state(), PortState::closed);
  EXPECT_EQ(client().end_reason(), Code::version_unsupported);
}

TEST_F(QuicheConnectionTest, RandomBytesAreFilled) {
  std::array<std::uint8_t, 64> bytes{};
  pair.stack.random(bytes);
  EXPECT_TRUE(std::any_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte != 0; }));
}

// ENG-2: "A call from another thread is trapped in all build types."
using QuicheConnectionDeathTest = QuicheConnectionTest;

TEST_F(QuicheConnectionDeathTest, ACallFromAnotherThreadIsTrapped) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  pair.start();
  const auto elsewhere = [](const std::function<void()>& call) { std::thread(call).join(); };
  constexpr const char* words = "does not own it";
  EXPECT_DEATH(elsewhere([this] { client().state(); }), words);
  EXPECT_DEATH(elsewhere([this] { client().capabilities(); }), words);
  EXPECT_DEATH(elsewhere([this] { client().keep_alive(); }), words);
  EXPECT_DEATH(elsewhere([this] { client().next_readable(); }), words);
  EXPECT_DEATH(elsewhere([this] { client().stats(); }), words);
  EXPECT_DEATH(elsewhere([this] { client().streams_left(bidirectional); }), words);
  EXPECT_DEATH(elsewhere([this] { pair.pull(client()); }), words);
  EXPECT_DEATH(elsewhere([this] {
                 (void)pair.client_configuration->connect("a.test", connection_id(1), pair.client_address,
                                                          pair.server_address);
               }),
               words);
}

}  // namespace
}  // namespace riffle::quiche
