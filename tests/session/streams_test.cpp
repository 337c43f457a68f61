// Streams of both kinds and directions, with data that is checked byte by byte (STR-1, STR-2, STR-6, COR-4).
#include "tests/session/suite.hpp"

namespace riffle::test {
namespace {

class Streams : public SessionSuite {};
RIFFLE_OVER_ALL_TRANSPORTS(Streams);

/// Sends `data` in `piece` sized writes and reads it at the other end; both by plain calls.
void transfer(Rig& rig, const AppStream& from, const AppStream& to, const std::string& data, std::size_t piece,
              bool fin_alone) {
  std::size_t done = 0;
  bool finished = false;
  std::string got;
  bool at_end = false;
  const bool all = rig.run([&] {
    while (done < data.size()) {
      const std::size_t size = std::min(piece, data.size() - done);
      const bool last = done + size == data.size();
      if (!from.write(Bytes::copy(std::string_view(data).substr(done, size)), last && !fin_alone)) break;
      done += size;
      finished = last && !fin_alone;
    }
    if (done == data.size() && !finished) finished = from.finish();
    if (to) at_end = to.drain(got) || at_end;
    return at_end;
  });
  EXPECT_TRUE(all) << got.size() << " of " << data.size() << " bytes came";
  EXPECT_TRUE(got == data) << "other bytes came than were sent";
}

AppStream accept(Rig& rig, Host& side) {
  Ask<Ref<meet::StreamMeet>> asking(meet::Question::accept_stream);
  asking.post(side.meet());
  EXPECT_TRUE(rig.run([&] { return asking.is_answered(); }));
  EXPECT_TRUE(asking.is_success());
  return asking.value() ? AppStream(std::exchange(*asking.value(), {})) : AppStream();
}

// STR-1, STR-2: bidirectional, from nothing to several MiB, each way.
TEST_P(Streams, CarryAnySizeByteExactBothWays) {
  Rig rig(family());
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{65'537}, std::size_t{3} << 20}) {
    SCOPED_TRACE(size);
    AppStream ours = rig.client.open();
    const std::string there = random_bytes(size, size);
    const std::string back = random_bytes(size + 1, size + 7);
    EXPECT_TRUE(ours.write("?"));
    AppStream theirs = accept(rig, rig.server);
    EXPECT_TRUE(rig.run([&] { return theirs.read(1).text == "?"; }));
    transfer(rig, ours, theirs, there, 100'000, size % 2 == 0);
    transfer(rig, theirs, ours, back, 70'000, size % 2 == 1);
    EXPECT_TRUE(rig.run([&] { return ours.is_finished() && theirs.is_finished(); }));
    EXPECT_EQ(ours.meet().counters.sent.load(), size + 1);
    EXPECT_EQ(ours.meet().counters.received.load(), back.size());
    EXPECT_TRUE(ours.meet().counters.fin_sent.load());
    EXPECT_TRUE(ours.meet().counters.fin_received.load());
  }
  EXPECT_EQ(rig.client.session().stats().streams_opened, 5u);
  EXPECT_EQ(rig.server.session().stats().streams_accepted, 5u);
  EXPECT_EQ(rig.client.session().stats().streams_open, 0u);
}

// STR-1: streams of one way, from either side; smux has none and says so.
TEST_P(Streams, OfOneWayCarryDataOrAreUnsupported) {
  Rig rig(family());
  for (const bool from_client : {true, false}) {
    Host& from = from_client ? rig.client : rig.server;
    Host& to = from_client ? rig.server : rig.client;
    AppStream ours = from.open(unidirectional);
    if (!rig.has(core::Capability::unidirectional)) {
      Ask<> opened(meet::Question::stream_open);
      opened.post(ours.meet());
      ASSERT_TRUE(rig.run([&] { return opened.is_answered(); }));
      EXPECT_EQ(opened.error()->code(), Code::unsupported);
      EXPECT_EQ(ours.write_state(), meet::WriteState::refused);
      EXPECT_EQ(from.session().open(unidirectional, rig.clock.now()).error().code(), Code::unsupported);
      continue;
    }
    const std::string data = random_bytes(500'000, 5);
    EXPECT_TRUE(ours.write(data.substr(0, 1)));
    AppStream theirs = accept(rig, to);
    EXPECT_EQ(theirs.meet().direction, unidirectional);
    EXPECT_FALSE(theirs.write("back")) << "one way only";
    EXPECT_TRUE(ours.read().fin) << "there is nothing to read";
    EXPECT_TRUE(rig.run([&] { return !theirs.read(1).text.empty(); }));
    transfer(rig, ours, theirs, data.substr(1), 30'000, true);
    EXPECT_TRUE(rig.run([&] { return ours.is_finished() && theirs.is_finished(); }));
  }
}

// COR-4, RFC 9000 section 2.1: client 0, 4, 8…, 2, 6…; server 1, 5… and 3, 7…. smux: odd and even.
TEST_P(Streams, AreNumberedAsTheirTransportDoesIt) {
  Rig rig(family());
  std::vector<AppStream> streams;
  for (int i = 0; i < 2; ++i) {
    for (Host* side : {&rig.client, &rig.server}) {
      streams.push_back(side->open());
      if (rig.has(core::Capability::unidirectional)) streams.push_back(side->open(unidirectional));
    }
  }
  rig.settle();
  std::vector<std::uint64_t> ids;
  for (const AppStream& stream : streams) ids.push_back(raw(stream.id()));
  if (rig.family == Family::smux) {
    EXPECT_EQ(ids, (std::vector<std::uint64_t>{3, 2, 5, 4}));
  } else {
    EXPECT_EQ(ids, (std::vector<std::uint64_t>{0, 2, 1, 3, 4, 6, 5, 7}));
  }
}

// STR-2: many small writes arrive as one stream of bytes, and in order.
TEST_P(Streams, GatherSmallWritesInOrder) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  std::string sent, got;
  for (int i = 0; i < 5000; ++i) {
    const std::string piece = random_bytes(static_cast<std::size_t>(i % 97), static_cast<std::uint64_t>(i));
    ASSERT_TRUE(ours.write(piece));
    sent += piece;
    if (i % 611 == 0) rig.settle();
  }
  ASSERT_TRUE(ours.finish());
  EXPECT_TRUE(rig.run([&] { return theirs.drain(got); }));
  EXPECT_TRUE(got == sent);
}

// STR-2, ENG-4: large buffers are moved in, and given back when the peer has them.
TEST_P(Streams, GiveLentBytesBackOnce) {
  Lender lender;
  {
    Rig rig(family());
    auto [ours, theirs] = rig.stream_pair();
    std::string sent, got;
    for (int i = 0; i < 20; ++i) {
      const std::string piece = random_bytes(20'000, static_cast<std::uint64_t>(i));
      sent += piece;
      EXPECT_TRUE(rig.run([&] {
        theirs.drain(got);
        return ours.write(lender.lend(piece), i == 19) || (--lender.made, --lender.released, false);
      }));
    }
    EXPECT_TRUE(rig.run([&] { return theirs.drain(got) && lender.released == lender.made; }));
    EXPECT_EQ(lender.made, 20);
    EXPECT_TRUE(got == sent);
  }
  EXPECT_EQ(lender.made, lender.released);
}

// STR-2: the same buffer may be written to many streams.
TEST_P(Streams, ShareOneBuffer) {
  Lender lender;
  Rig rig(family());
  const std::string data = random_bytes(50'000, 3);
  std::vector<AppStream> streams;
  {
    const Bytes bytes = lender.lend(data);
    for (int i = 0; i < 8; ++i) {
      streams.push_back(rig.client.open());
      EXPECT_TRUE(streams.back().write(bytes, true));
    }
  }
  for (int i = 0; i < 8; ++i) {
    AppStream theirs = accept(rig, rig.server);
    std::string got;
    EXPECT_TRUE(rig.run([&] { return theirs.drain(got); }));
    EXPECT_TRUE(got == data);
  }
  EXPECT_TRUE(rig.run([&] { return lender.released == 1; }));
}

// STR-2: writes as much as there is credit for, and says how much.
TEST_P(Streams, WriteSomeTakesWhatFits) {
  RigOptions options;
  options.client.limits.send_credit = options.client.limits.send_credit_max = 10'000;
  Rig rig(family(), options);
  auto [ours, theirs] = rig.stream_pair();
  const std::string data = random_bytes(25'000, 8);
  EXPECT_EQ(ours.write_some(data), 10'000u);
  EXPECT_EQ(ours.write_some(data), 0u);
  std::size_t done = 10'000;
  std::string got;
  EXPECT_TRUE(rig.run([&] {
    done += ours.write_some(std::string_view(data).substr(done));
    theirs.drain(got);
    return got.size() == data.size();
  }));
  EXPECT_TRUE(got == data);
}

// STR-2: a read takes at most what was asked for; copying and lending agree.
TEST_P(Streams, ReadAtMostWhatWasAskedFor) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  const std::string data = random_bytes(9'000, 4);
  EXPECT_TRUE(ours.write(data, true));
  std::string got;
  bool at_end = false;
  EXPECT_TRUE(rig.run([&] {
    for (std::size_t turn = 0; !at_end; ++turn) {
      const Got part = turn % 2 == 0 ? theirs.read(7) : theirs.read_into(13);
      EXPECT_LE(part.text.size(), 13u);
      got += part.text;
      at_end = part.fin;
      if (part.text.empty()) break;
    }
    return at_end;
  }));
  EXPECT_TRUE(got == data);
  EXPECT_TRUE(theirs.read().fin) << "and the end stays";
}

// STR-1: beyond the peer's limit an open waits, and opens when the limit moves.
TEST_P(Streams, WaitForStreamCredit) {
  RigOptions options;
  options.server.grants.streams_bidi = 2;
  Rig rig(family(), options);
  auto [one, one_there] = rig.stream_pair();
  auto [two, two_there] = rig.stream_pair();
  AppStream three = rig.client.open();
  Ask<> opened(meet::Question::stream_open);
  opened.post(three.meet());
  EXPECT_TRUE(three.write("early"));
  rig.run_for(1s);
  EXPECT_FALSE(opened.is_answered());
  EXPECT_FALSE(three.is_open());
  EXPECT_EQ(rig.client.meet().open_credit[0].load(), 0);
  std::string rest;
  one.finish();
  one_there.finish();
  EXPECT_TRUE(rig.run([&] {
    one.drain(rest);
    one_there.drain(rest);
    return opened.is_answered();
  }));
  EXPECT_TRUE(opened.is_success());
  AppStream there = accept(rig, rig.server);
  EXPECT_TRUE(rig.run([&] { return there.read().text == "early"; }));
}

// STR-1: or it fails at once, as the caller asks; the handler's open always does.
TEST_P(Streams, FailAtOnceWithoutStreamCredit) {
  RigOptions options;
  options.server.grants.streams_bidi = 1;
  Rig rig(family(), options);
  auto [one, there] = rig.stream_pair();
  AppStream two = rig.client.open(bidirectional, true);
  Ask<> opened(meet::Question::stream_open);
  opened.post(two.meet());
  rig.settle();
  ASSERT_TRUE(opened.is_answered());
  EXPECT_EQ(opened.error()->code(), Code::would_block);
  EXPECT_EQ(two.write_state(), meet::WriteState::refused);
  EXPECT_TRUE(two.read().is(Code::would_block));
  EXPECT_EQ(rig.client.session().open(bidirectional, rig.clock.now()).error().code(), Code::would_block);
  // A question that comes after the refusal has the same answer.
  Ask<> late(meet::Question::stream_open);
  late.post(two.meet());
  rig.settle();
  EXPECT_EQ(late.error()->code(), Code::would_block);
}

// STR-1: a stream may be written to before the handshake is done.
TEST_P(Streams, OpenBeforeTheHandshakeAndSendAfterIt) {
  RigOptions options;
  options.is_connected = false;
  Rig rig(family(), options);
  rig.client.begin(rig.clock.now());
  rig.server.begin(rig.clock.now());
  AppStream ours = rig.client.open();
  EXPECT_TRUE(ours.write("before", true));
  rig.settle();
  EXPECT_FALSE(ours.is_open());
  EXPECT_EQ(rig.client.session().open(bidirectional, rig.clock.now()).error().code(), Code::would_block);
  rig.client.adopt(rig.clock.now());
  rig.server.adopt(rig.clock.now());
  AppStream theirs = accept(rig, rig.server);
  std::string got;
  EXPECT_TRUE(rig.run([&] { return theirs.drain(got); }));
  EXPECT_EQ(got, "before");
}

// STR-6: those with something to read, and those with room to write.
TEST_P(Streams, AreListedByWhatTheyAreReadyFor) {
  RigOptions options;
  options.client.limits.send_credit = options.client.limits.send_credit_max = 1000;
  Rig rig(family(), options);
  auto [one, one_there] = rig.stream_pair();
  auto [two, two_there] = rig.stream_pair();
  EXPECT_TRUE(one_there.write("data"));
  rig.run_for(100ms);
  rig.server.is_dead = true;
  EXPECT_TRUE(two.write(random_bytes(4'000'000, 1)));
  rig.run_for(100ms);
  Ask<std::vector<StreamId>> readable(meet::Question::readable_streams), writable(meet::Question::writable_streams);
  readable.post(rig.client.meet());
  writable.post(rig.client.meet());
  rig.settle();
  ASSERT_TRUE(readable.is_success() && writable.is_success());
  EXPECT_EQ(*readable.value(), std::vector<StreamId>{one.id()});
  EXPECT_EQ(*writable.value(), std::vector<StreamId>{one.id()});
  const SessionStats stats = rig.client.session().stats();
  EXPECT_EQ(stats.receive_buffered, 4u);
  EXPECT_EQ(stats.send_buffered + rig.client.session().stats().bytes_sent, 4'000'002u);
}

// STR-6: priority reaches the transport, from either side of the API.
TEST_P(Streams, PassTheirPriorityOn) {
  Rig rig(family());
  auto [ours, theirs] = rig.stream_pair();
  ours.set_priority(3, true);
  rig.settle();
  rig.client.session().set_priority(ours.id(), 200, false);
  rig.client.session().set_priority(StreamId{4444}, 1, false);
  if (rig.family == Family::fake) {
    EXPECT_EQ(rig.fake(rig.client).priorities,
              (std::vector<std::pair<StreamId, int>>{{ours.id(), 7}, {ours.id(), 400}}));
  }
  EXPECT_EQ(rig.has(core::Capability::priority), rig.family != Family::smux);
  std::string got;
  EXPECT_TRUE(ours.write("on"));
  EXPECT_TRUE(rig.run([&] {
    theirs.drain(got);
    return got == "on";
  }));
}

// A hundred streams at once, each with data of its own, both ways.
TEST_P(Streams, AHundredAtOnceKeepTheirBytesApart) {
  Rig rig(family());
  struct One {
    AppStream ours;
    std::string data, back;
    bool done = false;
  };
  std::vector<One> all(100);
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].ours = rig.client.open();
    all[i].data = random_bytes(1000 + i * 377, i);
    ASSERT_TRUE(all[i].ours.write(all[i].data, true));
  }
  // The server sends everything back.
  std::vector<AppStream> there;
  std::vector<std::string> at_server(all.size());
  std::vector<bool> echoed(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) there.push_back(accept(rig, rig.server));
  EXPECT_TRUE(rig.run([&] {
    bool is_all = true;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!echoed[i] && there[i].drain(at_server[i])) echoed[i] = there[i].write(at_server[i], true);
      if (!all[i].done) all[i].done = all[i].ours.drain(all[i].back);
      is_all = is_all && all[i].done;
    }
    return is_all;
  }));
  for (const One& one : all) EXPECT_TRUE(one.data == one.back);
}

}  // namespace
}  // namespace riffle::test
