// A fin that is sent alone, and whose packet is lost, under quiche's habit of forgetting it (bridge/src/lone_fins.rs).
#include <algorithm>
#include <map>

#include "quiche/pair_test.hpp"
#include "quiche/quiche_connection.hpp"

namespace riffle::quiche {
namespace {

using core::ReadInto;
using namespace std::chrono_literals;

struct LoneFinTest : testing::Test {
  Pair pair;
  core::QuicConnection& client() { return *pair.client; }
  core::QuicConnection& server() { return *pair.server; }

  void connect() {
    pair.start();
    if (!HasFatalFailure()) pair.connect();
    pair.exchange();
  }

  /// A stream of `from`'s, whose first byte has been acknowledged and read.
  StreamId begin(core::QuicConnection& from, core::QuicConnection& to) {
    const core::Opened opened = from.open(Direction::bidirectional);
    EXPECT_EQ(opened.status, core::Opened::Status::opened);
    pair.write(from, opened.id, "q", Fin::no);
    pair.exchange();
    EXPECT_EQ(to.next_readable(), opened.id);
    std::string question;
    EXPECT_TRUE(pair.read_some(to, opened.id, question));
    EXPECT_EQ(question, "q");
    return opened.id;
  }

  /// The client's lone fin, in a packet that is lost.
  void lose_fin(StreamId id) {
    pair.write(client(), id, "", Fin::yes);
    EXPECT_EQ(pair.pull(client()).size(), 1u);
  }

  void bring(core::QuicConnection& from, core::QuicConnection& to) { pair.push(to, pair.pull(from)); }

  /// Reads whatever is named on one side.
  struct Heard {
    std::string text;
    bool is_over = false;
  };
  void hear(core::QuicConnection& at, std::map<StreamId, Heard>& heard) {
    while (const auto id = at.next_readable()) {
      Heard& one = heard[*id];
      EXPECT_FALSE(one.is_over) << "named after its end";
      if (!pair.read_some(at, *id, one.text)) one.is_over = true;
    }
  }
};

// STR-2: the end is heard, whatever is lost.
TEST_F(LoneFinTest, IsHeardThoughItsPacketIsLostAndTheAnswerHasEnded) {
  connect();
  for (const bool is_ours : {true, false}) {
    const StreamId id = is_ours ? begin(client(), server()) : begin(server(), client());
    if (!is_ours) {
      pair.write(client(), id, "r", Fin::no);
      pair.exchange();
      std::string early;
      EXPECT_EQ(server().next_readable(), id);
      EXPECT_TRUE(pair.read_some(server(), id, early));
    }
    lose_fin(id);
    pair.write(server(), id, "answer", Fin::yes);
    bring(server(), client());
    std::map<StreamId, Heard> at_client;
    std::map<StreamId, Heard> at_server;
    hear(client(), at_client);
    EXPECT_EQ(at_client[id].text, "answe") << "what is before the end is not delayed";
    pair.run([&] {
      hear(client(), at_client);
      hear(server(), at_server);
      return at_client[id].is_over && at_server[id].is_over;
    });
    EXPECT_EQ(at_client[id].text, "answer");
    EXPECT_EQ(at_server[id].text, "");
  }
}

TEST_F(LoneFinTest, CostsNoTimeWhenItIsAcknowledged) {
  connect();
  const StreamId id = begin(client(), server());
  const Instant before = pair.clock.now();
  pair.write(client(), id, "", Fin::yes);
  std::vector<Datagram> fin = pair.pull(client());
  pair.write(server(), id, "answer", Fin::yes);
  bring(server(), client());  // has crossed the fin
  std::map<StreamId, Heard> heard;
  hear(client(), heard);
  EXPECT_EQ(heard[id].text, "answe");
  pair.push(server(), std::move(fin));
  pair.exchange();
  EXPECT_LE(client().next_deadline(), pair.clock.now()) << "an idle loop must be woken for it";
  client().on_deadline(pair.clock.now());
  EXPECT_GT(client().next_deadline(), pair.clock.now()) << "once";
  hear(client(), heard);
  EXPECT_TRUE(heard[id].is_over);
  EXPECT_EQ(heard[id].text, "answer");
  EXPECT_EQ(pair.clock.now(), before);
}

TEST_F(LoneFinTest, LetsBytesBeforeTheEndPass) {
  connect();
  const StreamId id = begin(client(), server());
  lose_fin(id);
  std::map<StreamId, Heard> heard;
  for (const std::string text : {"abc", "defgh", "i", "jk"}) {
    pair.write(server(), id, text, Fin::no);
    bring(server(), client());
    hear(client(), heard);
  }
  EXPECT_EQ(heard[id].text, "abcdefghij");
  // A read that is filled, and one that only looks.
  pair.write(server(), id, "lmnop", Fin::no);
  bring(server(), client());
  EXPECT_EQ(client().next_readable(), id);
  std::array<std::byte, 3> room;
  EXPECT_EQ(client().read_into(id, room).size, 3u);
  EXPECT_EQ(client().read_into(id, {}).status, ReadInto::Status::data);
  EXPECT_EQ(client().next_readable(), std::nullopt) << "it is not drained";
  EXPECT_EQ(client().read_into(id, room).size, 2u);
  EXPECT_EQ(client().read_into(id, {}).status, ReadInto::Status::nothing);
  EXPECT_EQ(client().read_into(id, room).status, ReadInto::Status::nothing);
}

TEST_F(LoneFinTest, IsWaitedForNoLongerThanItsHoldOnABusyConnection) {
  connect();
  const StreamId id = begin(client(), server());
  pair.write(client(), id, "", Fin::yes);
  pair.write(server(), id, "answer", Fin::yes);
  bring(server(), client());
  std::map<StreamId, Heard> heard;
  hear(client(), heard);
  const Instant start = pair.clock.now();
  // New packets are under way whenever old ones are acknowledged.
  const StreamId other = client().open(Direction::bidirectional).id;
  while (!heard[id].is_over && pair.clock.now() < start + 10s) {
    pair.write(client(), other, "x", Fin::no);
    std::vector<Datagram> late = pair.pull(client());
    pair.clock.advance_to(std::min(client().next_deadline(), pair.clock.now() + 5ms));
    pair.push(server(), std::move(late));
    pair.write(client(), other, "y", Fin::no);
    late = pair.pull(client());
    bring(server(), client());
    if (client().next_deadline() <= pair.clock.now()) client().on_deadline(pair.clock.now());
    hear(client(), heard);
    pair.push(server(), std::move(late));
  }
  EXPECT_EQ(heard[id].text, "answer");
  EXPECT_GE(pair.clock.now() - start, 10ms);
  EXPECT_LE(pair.clock.now() - start, 1s);
}

TEST_F(LoneFinTest, EndsItsHoldByADeadlineOfItsOwn) {
  connect();
  const StreamId id = begin(client(), server());
  pair.write(client(), id, "", Fin::yes);
  const Instant start = pair.clock.now();
  bring(client(), server());
  pair.write(server(), id, "answer", Fin::yes);
  bring(server(), client());  // with the acknowledgement, so that quiche has no timer but the one for idleness
  std::map<StreamId, Heard> heard;
  hear(client(), heard);
  EXPECT_FALSE(heard[id].is_over) << "nobody has asked yet whether there is something to send";
  const Instant deadline = client().next_deadline();
  EXPECT_GE(deadline, start + 10ms);
  EXPECT_LE(deadline, start + 1s);
  pair.clock.advance_to(deadline);
  client().on_deadline(deadline);
  hear(client(), heard);
  EXPECT_TRUE(heard[id].is_over);
  EXPECT_EQ(heard[id].text, "answer");
  EXPECT_GT(client().next_deadline(), start + 1s);
}

TEST_F(LoneFinTest, DoesNotDelayAReset) {
  connect();
  const StreamId id = begin(client(), server());
  lose_fin(id);
  pair.write(server(), id, "answer", Fin::no);
  bring(server(), client());
  std::map<StreamId, Heard> heard;
  hear(client(), heard);
  server().reset(id, AppCode{7});
  bring(server(), client());
  EXPECT_EQ(client().next_readable(), id);
  std::array<std::byte, 10> room;
  const ReadInto read = client().read_into(id, room);
  EXPECT_EQ(read.status, ReadInto::Status::reset);
  EXPECT_EQ(read.code, AppCode{7});
}

TEST_F(LoneFinTest, HoldsNothingBackFromAConnectionThatHasEnded) {
  connect();
  const StreamId id = begin(client(), server());
  lose_fin(id);
  pair.write(server(), id, "answer", Fin::yes);
  bring(server(), client());
  std::map<StreamId, Heard> heard;
  hear(client(), heard);
  server().close(core::StreamPort::CloseKind::application, 3, "over");
  bring(server(), client());
  hear(client(), heard);
  EXPECT_TRUE(heard[id].is_over);
  EXPECT_EQ(heard[id].text, "answer");
}

TEST_F(LoneFinTest, IsHeardThoughWeStopReading) {
  pair.server_options.transport.max_streams_bidi = 1;
  connect();
  const StreamId id = begin(client(), server());
  lose_fin(id);
  pair.write(server(), id, "answer", Fin::yes);
  bring(server(), client());
  client().stop(id, AppCode{5});
  EXPECT_EQ(client().next_readable(), std::nullopt);
  std::map<StreamId, Heard> heard;
  pair.run([&] {
    hear(server(), heard);
    return heard[id].is_over;
  });
  pair.run_for(10s);
  EXPECT_EQ(client().streams_left(Direction::bidirectional), 1u) << "the peer's side is over";
}

// ENG-10: many at once, with every third datagram of the client's lost.
TEST_F(LoneFinTest, TwoHundredCloseAtOnce) {
  pair.server_options.transport.max_streams_bidi = 200;
  connect();
  std::vector<StreamId> ids;
  while (ids.size() < 200) ids.push_back(begin(client(), server()));
  int sent = 0;
  pair.arrives = [&](const Datagram& datagram) {
    return datagram.arrival.peer != pair.client_address || ++sent % 3 != 0;
  };
  for (const StreamId id : ids) {
    pair.write(client(), id, "", Fin::yes);
    pair.write(server(), id, "answer", Fin::yes);
  }
  std::map<StreamId, Heard> at_client;
  std::map<StreamId, Heard> at_server;
  const auto are_over = [&](std::map<StreamId, Heard>& heard) {
    return std::ranges::all_of(ids, [&](StreamId id) { return heard[id].is_over; });
  };
  pair.run([&] {
    hear(client(), at_client);
    hear(server(), at_server);
    return are_over(at_client) && are_over(at_server);
  });
  for (const StreamId id : ids) EXPECT_EQ(at_client[id].text, "answer");
  pair.arrives = [](const Datagram&) { return true; };
  pair.run_for(10s);
  std::array<std::byte, 10> room;
  for (const StreamId id : ids) {
    EXPECT_EQ(client().read_into(id, room).status, ReadInto::Status::gone);
    EXPECT_EQ(server().read_into(id, room).status, ReadInto::Status::gone);
  }
}

}  // namespace
}  // namespace riffle::quiche
