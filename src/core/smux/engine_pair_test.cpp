// Two engines joined by a pipe that cuts the bytes as it likes.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <iostream>
#include <map>

#include "core/smux/engine.hpp"
#include "core/smux/test_support.hpp"

namespace riffle::core::smux {
namespace {

using namespace test;

/// One end with its application: what it still has to write, and what it has read, for each stream.
class End {
 public:
  explicit End(const Options& options) : engine(options, start) {}

  struct Outgoing {
    std::string bytes;
    std::size_t offered = 0;
    bool fin = true;
    bool is_done = false;
  };

  void queue(StreamId id, std::string bytes, bool fin = true) { out[id] = {.bytes = std::move(bytes), .fin = fin}; }

  /// Offers blocks of random sizes until the engine says blocked.
  void write_some(StreamId id, std::mt19937& random) {
    const auto found = out.find(id);
    if (found == out.end()) return;
    Outgoing& to = found->second;
    while (!to.is_done) {
      const std::size_t size = std::min<std::size_t>(to.bytes.size() - to.offered, 1 + random() % 9000);
      const bool is_last = to.offered + size == to.bytes.size();
      base::SendBlock& block = blocks.make(std::string_view(to.bytes).substr(to.offered, size), is_last && to.fin);
      const Offered offered = engine.offer(id, block);
      block.release();
      to.offered += offered.size;
      if (offered.status != Offered::Status::taken) {
        ASSERT_EQ(offered.status, Offered::Status::blocked);
        return;
      }
      to.is_done = is_last;
    }
  }

  /// Reads what is readable, in pieces of random sizes, less the streams that are not to be read.
  void read_all(std::mt19937& random) {
    while (const auto id = engine.next_readable()) {
      if (std::find(unread.begin(), unread.end(), *id) != unread.end()) continue;
      for (;;) {
        const Read piece = read(engine, *id, 1 + random() % 20'000);
        if (piece.status != ReadInto::Status::data) break;
        in[*id] += piece.bytes;
        if (piece.fin) {
          ended.push_back(*id);
          break;
        }
      }
    }
  }

  Blocks blocks;
  Engine engine;
  std::map<StreamId, Outgoing> out;
  std::map<StreamId, std::string> in;
  std::vector<StreamId> unread;
  std::vector<StreamId> ended;
};

class Pair {
 public:
  Pair(const Options& client_side, const Options& server_side) : client(client_side), server(server_side) {
    const std::uint32_t seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    random.seed(seed);
  }

  /// Moves bytes one way through a buffer of random size, in chunks of random sizes.
  bool move(End& from, End& to) {
    Raw buffer(1 + random() % 40'000);
    const Batch batch = from.engine.poll_output(buffer, start);
    std::span<std::byte> bytes = std::span(buffer).first(batch.bytes);
    while (!bytes.empty()) {
      const std::size_t size = std::min<std::size_t>(bytes.size(), 1 + random() % 5000);
      to.engine.on_input(bytes.first(size), {}, start);
      bytes = bytes.subspan(size);
    }
    return batch.bytes != 0;
  }

  /// Until nothing moves any more.
  void run() {
    bool is_moving = true;
    while (is_moving) {
      for (End* end : {&client, &server}) {
        for (const auto& [id, to] : end->out)
          if (to.offered == 0) end->write_some(id, random);
        while (const auto id = end->engine.next_writable()) end->write_some(*id, random);
      }
      is_moving = move(client, server);
      is_moving = move(server, client) || is_moving;
      client.read_all(random);
      server.read_all(random);
      is_moving = is_moving || client.engine.buffered() + server.engine.buffered() > held_back();
      ASSERT_EQ(client.engine.state(), PortState::established) << client.engine.end_reason().evidence();
      ASSERT_EQ(server.engine.state(), PortState::established) << server.engine.end_reason().evidence();
    }
  }
  std::size_t held_back() const {
    return client.unread.empty() && server.unread.empty() ? 0 : client.engine.buffered() + server.engine.buffered();
  }
  std::string noise(std::size_t size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
  }

  End client;
  End server;
  std::mt19937 random;
};

/// No hold: the pair's clock stands still.
Options quick(Role role) {
  Options options;
  options.role = role;
  options.accept_hold = Duration::zero();
  return options;
}

// MUX-3, MUX-5: byte-exact both ways, half-closed at the end, nothing left behind.
TEST(SmuxEnginePair, ManyStreamsCarryTheirBytesExactlyBothWays) {
  for (int round = 0; round < 5; ++round) {
    Options client_side = quick(Role::client);
    Options server_side = quick(Role::server);
    client_side.window = client_side.first_window = 3000;  // below what the peer assumes
    server_side.window = 1 << 20;
    server_side.first_window = 16 * 1024;
    client_side.peer_window = server_side.peer_window = 16 * 1024;
    client_side.send_queue = 20'000;
    Pair pair(client_side, server_side);
    std::map<StreamId, std::string> up;
    std::map<StreamId, std::string> down;
    for (int i = 0; i < 20; ++i) {
      const bool is_clients = i % 2 == 0;
      const StreamId id = open((is_clients ? pair.client : pair.server).engine);
      up[id] = pair.noise(pair.random() % 200'000);
      down[id] = pair.noise(pair.random() % 200'000);
      is_clients ? pair.client.queue(id, up[id]) : pair.server.queue(id, down[id]);
    }
    pair.run();  // the openers' bytes first, then the answers
    for (const auto& [id, bytes] : up)
      raw(id) % 2 == 1 ? pair.server.queue(id, down[id]) : pair.client.queue(id, bytes);
    pair.run();
    for (const auto& [id, bytes] : up) EXPECT_TRUE(pair.server.in[id] == bytes) << "stream " << raw(id);
    for (const auto& [id, bytes] : down) EXPECT_TRUE(pair.client.in[id] == bytes) << "stream " << raw(id);
    EXPECT_EQ(pair.client.ended.size(), 20u);
    EXPECT_EQ(pair.server.ended.size(), 20u);
    for (const End* end : {&pair.client, &pair.server}) {
      EXPECT_EQ(end->engine.open_streams(), 0u);
      EXPECT_EQ(end->engine.buffered(), 0u);
      EXPECT_EQ(end->blocks.made(), end->blocks.released());
    }
  }
}

TEST(SmuxEnginePair, ByteByByteChunksChangeNothing) {
  Blocks blocks;
  Engine client(quick(Role::client), start);
  Engine server(quick(Role::server), start);
  const StreamId id = open(client);
  blocks.send(client, id, "request", true);
  for (const std::byte byte : drain(client, start, 1)) feed(server, {byte});
  EXPECT_EQ(read(server, id).bytes, "request");
  blocks.send(server, id, "reply", true);
  for (const std::byte byte : drain(server, start, 1)) feed(client, {byte});
  EXPECT_EQ(read(client, id).bytes, "reply");
  EXPECT_EQ(client.open_streams(), 0u);
  EXPECT_EQ(server.open_streams(), 0u);
}

TEST(SmuxEnginePair, HalfCloseWorksInBothOrders) {
  for (const bool opener_first : {true, false}) {
    Pair pair(quick(Role::client), quick(Role::server));
    const StreamId id = open(pair.client.engine);
    pair.run();
    End& first = opener_first ? pair.client : pair.server;
    End& second = opener_first ? pair.server : pair.client;
    first.queue(id, "first and done");
    pair.run();
    EXPECT_EQ(second.in[id], "first and done");
    EXPECT_EQ(second.ended.size(), 1u);
    EXPECT_EQ(first.engine.open_streams(), 1u);
    second.queue(id, pair.noise(700'000));
    pair.run();
    EXPECT_TRUE(first.in[id] == second.out[id].bytes);
    EXPECT_EQ(pair.client.engine.open_streams(), 0u);
    EXPECT_EQ(pair.server.engine.open_streams(), 0u);
  }
}

// MUX-4: "fair between streams by bytes". Streams of every size of write and with different amounts queued.
TEST(SmuxEnginePair, BusyStreamsShareTheCarrierFairlyByBytes) {
  Blocks blocks;
  Options options = quick(Role::client);
  options.send_queue = 1 << 20;
  options.peer_window = 1 << 30;
  Engine engine(options, start);
  constexpr std::size_t streams = 50;
  std::map<std::uint32_t, double> sent;
  for (std::size_t i = 0; i < streams; ++i) {
    const StreamId id = open(engine);
    sent[static_cast<std::uint32_t>(raw(id))] = 0;
    const std::size_t size = i % 2 == 0 ? 1'000'000 : 20'000;
    for (std::size_t total = 0; total + size <= 1'000'000; total += size)
      blocks.send(engine, id, std::string(size, 'x'));
  }
  // 10 MB of 50 MB, through odd buffers so that turns are cut.
  Decoder decoder;
  Raw buffer(10'007);
  for (std::size_t total = 0; total < 10'000'000;) {
    const Batch batch = engine.poll_output(buffer, start);
    ASSERT_NE(batch.bytes, 0u);
    total += batch.bytes;
    std::span<const std::byte> rest = std::span(buffer).first(batch.bytes);
    for (Frame found; (found = decoder.next(rest)).kind != Frame::Kind::none;)
      if (found.kind == Frame::Kind::data) sent[found.stream] += static_cast<double>(found.data.size());
  }
  // Jain's index: (sum x)^2 / (n * sum x^2), 1 when all are equal.
  double sum = 0;
  double squares = 0;
  for (const auto& [id, bytes] : sent) {
    sum += bytes;
    squares += bytes * bytes;
  }
  const double jain = sum * sum / (static_cast<double>(streams) * squares);
  std::cout << "Jain's index over " << streams << " streams: " << jain << '\n';
  EXPECT_GT(jain, 0.99);
}

TEST(SmuxEnginePair, ASmallMessageWaitsForAtMostOneTurnOfABulkStream) {
  Blocks blocks;
  Options options = quick(Role::client);
  options.send_queue = 1 << 20;
  options.peer_window = 1 << 30;
  options.quantum = 4096;
  Engine engine(options, start);
  blocks.send(engine, open(engine), std::string(1'000'000, 'x'));
  Raw buffer(65536);
  engine.poll_output(buffer, start);
  const StreamId quick_one = open(engine);
  blocks.send(engine, quick_one, "now");
  const Batch batch = engine.poll_output(buffer, start);
  Decoder decoder;
  std::span<const std::byte> rest = std::span(buffer).first(batch.bytes);
  std::size_t before = 0;
  for (Frame found; (found = decoder.next(rest)).kind != Frame::Kind::none;) {
    if (found.kind != Frame::Kind::data) continue;
    if (found.stream == raw(quick_one)) break;
    before += found.data.size();
  }
  EXPECT_LE(before, 4096u);
}

// "A slow reader must not starve the others" (smux 18, 69).
TEST(SmuxEnginePair, AnUnreadStreamHoldsItsWindowAndStopsNobody) {
  Pair pair(quick(Role::client), quick(Role::server));
  const StreamId stalled = open(pair.client.engine);
  const StreamId lively = open(pair.client.engine);
  pair.server.unread.push_back(stalled);
  pair.client.queue(stalled, pair.noise(1'000'000));
  pair.client.queue(lively, pair.noise(1'000'000));
  pair.run();
  EXPECT_TRUE(pair.server.in[lively] == pair.client.out[lively].bytes);
  EXPECT_EQ(pair.server.engine.buffered(), 256u * 1024);
  // Read late, and all is there.
  pair.server.unread.clear();
  while (pair.server.in[stalled].size() < 1'000'000) {
    const Read piece = read(pair.server.engine, stalled);
    pair.server.in[stalled] += piece.bytes;
    if (piece.status == ReadInto::Status::nothing) pair.run();
  }
  EXPECT_TRUE(pair.server.in[stalled] == pair.client.out[stalled].bytes);
}

// MUX-6: "10,000 unread streams stop nobody, and memory stays under a session budget of 256 MiB".
TEST(SmuxEnginePair, TenThousandUnreadStreamsStayWithinTheBudget) {
  Blocks blocks;
  Options client_side = quick(Role::client);
  Options server_side = quick(Role::server);
  client_side.peer_window = server_side.first_window = 16 * 1024;
  Engine client(client_side, start);
  Engine server(server_side, start);
  const std::string bytes(17 * 1024, 'x');
  Raw buffer(65536);
  for (int i = 0; i < 10'000; ++i) {
    const StreamId id = open(client);
    base::SendBlock& block = blocks.make(bytes);
    ASSERT_EQ(client.offer(id, block).status, Offered::Status::taken);
    block.release();
    const Batch batch = client.poll_output(buffer, start);
    server.on_input(std::span(buffer).first(batch.bytes), {}, start);
    if (i % 100 == 0) feed(client, drain(server));
  }
  feed(server, drain(client));
  ASSERT_EQ(server.state(), PortState::established) << server.end_reason().evidence();
  EXPECT_EQ(server.buffered(), 10'000u * 16 * 1024);
  const StreamId last = open(client);
  blocks.send(client, last, "alive");
  feed(server, drain(client));
  EXPECT_EQ(read(server, last).bytes, "alive");
}

// "consumed is the total the application has read, modulo 2^32"
TEST(SmuxEnginePair, FiveGibibytesPassTheWrapOfTheCounters) {
  Options client_side = quick(Role::client);
  Options server_side = quick(Role::server);
  client_side.send_queue = server_side.window = server_side.first_window = 64u << 20;
  server_side.receive_budget = 256u << 20;
  client_side.peer_window = 64u << 20;
  Engine client(client_side, start);
  Engine server(server_side, start);
  const StreamId id = open(client);
  server.on_deadline(start);
  feed(server, drain(client));
  feed(client, drain(server));
  server.stop(id, AppCode{});  // counted and thrown away: only the arithmetic is asked for
  const Bytes bytes = Bytes::adopt(std::string(32u << 20, 'x'));
  std::uint64_t total = 0;
  std::uint64_t carried = 0;
  Raw buffer(1 << 20);
  base::ReleasedBlocks released;
  while (total < (5ull << 30)) {
    const Bytes copy = bytes;
    base::SendBlock* block = base::SendBlock::make(copy, false);
    block->released = &released;
    ASSERT_EQ(client.offer(id, *block).status, Offered::Status::taken);
    for (Batch batch; (batch = client.poll_output(buffer, start)).bytes != 0;) {
      carried += batch.bytes;
      server.on_input(std::span(buffer).first(batch.bytes), {}, start);
      feed(client, drain(server));
    }
    ASSERT_EQ(block->references(), 1u) << "window or books stuck at " << total;
    base::SendBlock::destroy(block);
    ASSERT_EQ(server.state(), PortState::established) << server.end_reason().evidence();
    total += bytes.size();
  }
  EXPECT_GT(carried, total);
}

}  // namespace
}  // namespace riffle::core::smux
