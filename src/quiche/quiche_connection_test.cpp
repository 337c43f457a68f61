// Two connections in memory: handshake, streams, ends.
#include "quiche/quiche_connection.hpp"

#include <algorithm>
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

}  // namespace
}  // namespace riffle::quiche
