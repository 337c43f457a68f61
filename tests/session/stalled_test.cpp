// Readers that stop: they cost their own stream and nothing else, as many as were promised; more is told (STR-4,
// ENG-10; design/streams.md, "Flow control that keeps its promise").
#include "tests/session/suite.hpp"

namespace riffle::test {
namespace {

class Stalled : public SessionSuite {
 protected:
  static constexpr std::uint32_t tolerated = 16;
  static RigOptions options() {
    RigOptions options;
    options.server.grants.stream = 64 * 1024;
    // A receiver raises MAX_DATA when less than half of the window is left: what the stalled hold must be less.
    options.server.grants.connection = 2 * (tolerated + 1) * options.server.grants.stream;
    options.server.limits.receive_list = 32 * 1024;
    options.server.limits.stalled_readers_tolerated = tolerated;
    options.client.limits.send_credit = options.client.limits.send_credit_max = 256 * 1024;
    return options;
  }
  struct Pair {
    AppStream ours, theirs;
    std::size_t sent = 0, got = 0;
  };
  static std::vector<Pair> pairs(Rig& rig, std::size_t count) {
    std::vector<Pair> all;
    for (std::size_t i = 0; i < count; ++i) {
      auto [ours, theirs] = rig.stream_pair();
      all.push_back({std::move(ours), std::move(theirs)});
    }
    return all;
  }
  /// Writes to every stream and reads all but the first `stalled`; until each of those has moved `goal` bytes.
  static bool move(Rig& rig, std::vector<Pair>& all, std::size_t stalled, std::size_t goal) {
    const std::string piece = random_bytes(10'000, 1);
    return rig.run([&] {
      bool done = true;
      for (std::size_t i = 0; i < all.size(); ++i) {
        while (all[i].sent < goal && all[i].ours.write(piece)) all[i].sent += piece.size();
        if (i < stalled) continue;
        std::string bytes;
        all[i].theirs.drain(bytes);
        all[i].got += bytes.size();
        done = done && all[i].got >= goal;
      }
      return done;
    });
  }
};
RIFFLE_OVER_ALL_TRANSPORTS(Stalled);

// STR-4, RD-5 to RD-7: a list that is full parks its stream; the reader's progress refills it. No byte is lost.
TEST_P(Stalled, AReaderParksAndGoesOn) {
  RigOptions options = Stalled::options();
  Rig rig(family(), options);
  auto [ours, theirs] = rig.stream_pair();
  const std::string data = random_bytes(3'000'000, 17);
  std::size_t done = 0;
  const auto write = [&, &to = ours] {
    while (done < data.size() && to.write(std::string_view(data).substr(done, 50'000))) done += 50'000;
  };
  std::string got;
  for (int round = 0; got.size() < data.size(); ++round) {
    ASSERT_LT(round, 5000);
    write();
    rig.run_for(1ms);
    EXPECT_LE(theirs.meet().reading.held_bytes(), 32u * 1024);
    if (round < 20) {
      // Nobody reads: the stream holds what its list and its window allow, and no more.
      EXPECT_LE(rig.server.session().stats().bytes_received, 32u * 1024 + 1);
      continue;
    }
    const std::size_t want = static_cast<std::size_t>(round) % 7 * 5000;
    if (want != 0) got += theirs.read(want).text;
  }
  EXPECT_TRUE(got == data);
  EXPECT_EQ(rig.server.session().stats().streams_parked, 0u);
}

// STR-4: K stalled readers hurt nobody.
TEST_P(Stalled, AsManyAsPromisedHurtNobody) {
  Rig rig(family(), options());
  std::vector<Pair> all = pairs(rig, 64);
  EXPECT_TRUE(move(rig, all, tolerated, 500'000));
  rig.run_for(5s);
  EXPECT_EQ(rig.server.count(Kind::blocked), 0u);
  EXPECT_EQ(rig.server.session().stats().streams_parked, tolerated);
  EXPECT_EQ(rig.server.session().stats().streams_stopped_for_budget, 0u);
  // They go on when somebody reads them.
  EXPECT_TRUE(move(rig, all, 0, 500'000));
  EXPECT_EQ(rig.server.session().stats().streams_parked, 0u);
}

// STR-4, ENG-10: K + 1 are told, and the one that is parked longest is stopped; the others go on.
TEST_P(Stalled, OneMoreThanPromisedIsToldAndTheLongestParkedIsStopped) {
  Rig rig(family(), options());
  std::vector<Pair> all = pairs(rig, 32);
  // The last of the stalled is parked first.
  EXPECT_TRUE(all[tolerated].ours.write(random_bytes(200'000, 2)));
  rig.run_for(100ms);
  EXPECT_TRUE(move(rig, all, tolerated + 1, 300'000));
  rig.run_for(3s);
  ASSERT_TRUE(rig.server.first(Kind::blocked));
  EXPECT_EQ(rig.server.first(Kind::blocked)->number, tolerated + 1);
  EXPECT_EQ(rig.server.count(Kind::blocked), 1u);
  EXPECT_EQ(rig.server.session().stats().session_blocked_events, 1u);
  EXPECT_EQ(rig.server.session().stats().streams_stopped_for_budget, 1u);
  std::string rest;
  all[tolerated].theirs.drain(rest);
  EXPECT_TRUE(all[tolerated].theirs.read().is(Code::budget_exhausted));
  if (rig.has(core::Capability::reset_codes)) {
    EXPECT_TRUE(rig.run([&] { return all[tolerated].ours.write_state() == meet::WriteState::stopped; }));
  }
  EXPECT_EQ(all[0].theirs.meet().reading.end(), meet::ReadEnd::open) << "only the longest parked";
}

// Readers that are behind have not stalled: more than K of them may be parked at any moment.
TEST_P(Stalled, BeingBehindIsNotStalling) {
  RigOptions options = Stalled::options();
  options.server.grants.connection *= 4;
  Rig rig(family(), options);
  std::vector<Pair> all = pairs(rig, 24);
  std::uint64_t most = 0;
  for (int round = 0; round < 40; ++round) {
    for (Pair& pair : all) {
      pair.ours.write(random_bytes(100'000, 1));
      for (int i = 0; i < 3; ++i) pair.got += pair.theirs.read(10'000).text.size();
    }
    rig.run_for(100ms);
    most = std::max(most, rig.server.session().stats().streams_parked);
  }
  EXPECT_GT(most, tolerated);
  EXPECT_EQ(rig.server.count(Kind::blocked), 0u);
}

// ENG-10: a larger budget stops nobody, but tells.
TEST_P(Stalled, ALargerBudgetTellsAndStopsNobody) {
  RigOptions options = Stalled::options();
  options.server.limits.session_receive_budget = 1 << 30;
  options.server.grants.connection *= 2;
  Rig rig(family(), options);
  std::vector<Pair> all = pairs(rig, 24);
  EXPECT_TRUE(move(rig, all, tolerated + 4, 200'000));
  rig.run_for(3s);
  EXPECT_GE(rig.server.count(Kind::blocked), 1u);
  EXPECT_EQ(rig.server.session().stats().streams_stopped_for_budget, 0u);
  EXPECT_EQ(rig.server.session().stats().streams_parked, tolerated + 4);
  EXPECT_TRUE(move(rig, all, 0, 200'000));
  // Told again when it comes again.
  const std::size_t told = rig.server.count(Kind::blocked);
  rig.run_for(3s);
  EXPECT_TRUE(move(rig, all, tolerated + 4, 400'000));
  rig.run_for(3s);
  EXPECT_GT(rig.server.count(Kind::blocked), told);
}

// ENG-10: so many streams may wait for `accept`; the next one is refused, and those before it are not.
TEST_P(Stalled, AFullBacklogRefusesTheNextStream) {
  RigOptions options;
  options.server.limits.accept_backlog = 3;
  options.server.limits.stalled_readers_tolerated = 1;
  Rig rig(family(), options);
  std::vector<AppStream> ours;
  for (int i = 0; i < 5; ++i) {
    ours.push_back(rig.client.open());
    EXPECT_TRUE(ours.back().write("request " + std::to_string(i)));
  }
  rig.run_for(200ms);
  EXPECT_EQ(rig.server.session().stats().streams_refused, 2u);
  EXPECT_EQ(rig.server.count(Kind::blocked), 0u) << "who waits for accept with a few bytes is no stalled reader";
  for (int i = 0; i < 3; ++i) {
    Ask<Ref<meet::StreamMeet>> accept(meet::Question::accept_stream);
    accept.post(rig.server.meet());
    rig.settle();
    ASSERT_TRUE(accept.is_success());
    AppStream theirs(std::exchange(*accept.value(), {}));
    EXPECT_EQ(theirs.read().text, "request " + std::to_string(i));
  }
  for (int i = 3; i < 5; ++i) {
    const Got got = ours[static_cast<std::size_t>(i)].read();
    EXPECT_TRUE(got.is(Code::stream_reset) || got.fin);
  }
}

// A stream that ends while it waits for accept is still handed out, with its end.
TEST_P(Stalled, AStreamThatEndsInTheBacklogIsHandedOut) {
  Rig rig(family());
  const Direction way = rig.has(core::Capability::unidirectional) ? unidirectional : bidirectional;
  AppStream reset = rig.client.open(way), whole = rig.client.open(way);
  EXPECT_TRUE(reset.write("x"));
  EXPECT_TRUE(whole.write("all of it", true));
  rig.run_for(100ms);
  reset.shutdown(Side::writing, 31);
  rig.run_for(100ms);
  std::vector<AppStream> theirs;
  for (int i = 0; i < 2; ++i) {
    Ask<Ref<meet::StreamMeet>> accept(meet::Question::accept_stream);
    accept.post(rig.server.meet());
    rig.settle();
    ASSERT_TRUE(accept.is_success());
    theirs.emplace_back(std::exchange(*accept.value(), {}));
  }
  EXPECT_EQ(theirs[0].read().text, "x");
  const Got end = theirs[0].read();
  EXPECT_TRUE(rig.has(core::Capability::reset_codes) ? end.is(Code::stream_reset) : end.fin);
  std::string got;
  EXPECT_TRUE(theirs[1].drain(got));
  EXPECT_EQ(got, "all of it");
}

// ENG-10: the engine's receive budget bounds the lists of all streams; each still gets enough to be drained by.
TEST_P(Stalled, TheReceiveBudgetOfTheEngineBoundsAllLists) {
  RigOptions options;
  options.server.receive_budget = 100'000;
  options.server.limits.receive_list = 64 * 1024;
  Rig rig(family(), options);
  std::vector<Pair> all = pairs(rig, 10);
  std::vector<std::string> data, got(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    data.push_back(random_bytes(150'000, i));
    EXPECT_TRUE(all[i].ours.write(data[i], true));
  }
  rig.run_for(500ms);
  EXPECT_LE(rig.server.stock.receive_held, 100'000 + 10 * 4096u);
  EXPECT_GE(rig.server.stock.receive_held, 100'000u);
  std::uint64_t held = 0;
  for (Pair& pair : all) held += pair.theirs.meet().reading.held_bytes();
  EXPECT_EQ(held, rig.server.stock.receive_held);
  EXPECT_EQ(held, rig.server.session().stats().receive_buffered);
  // One reader after the other: a stream that the budget stopped goes on when it is read, whatever the others do.
  for (std::size_t i = all.size(); i-- > 0;) {
    EXPECT_TRUE(rig.run([&] { return all[i].theirs.drain(got[i]); })) << i;
    EXPECT_TRUE(got[i] == data[i]);
  }
}

// ENG-10: the engine's send budget bounds what its sessions have accepted and not yet sent.
TEST_P(Stalled, TheSendBudgetOfTheEngineHoldsWritersBack) {
  RigOptions options;
  options.client.send_budget = 200'000;
  options.client.limits.send_credit = options.client.limits.send_credit_max = 1'000'000;
  Rig rig(family(), options);
  std::vector<Pair> all = pairs(rig, 4);
  std::vector<std::string> got(all.size());
  rig.server.is_dead = true;
  std::size_t accepted = 0;
  const std::string piece = random_bytes(50'000, 4);
  for (int round = 0; round < 200; ++round) {
    for (Pair& pair : all) {
      if (pair.ours.write(piece)) {
        pair.sent += piece.size();
        accepted += piece.size();
      }
    }
    rig.settle();
  }
  // One write of each stream may be on its way when the budget is met.
  EXPECT_LE(rig.client.stock.send_held, 200'000 + 4 * piece.size());
  EXPECT_EQ(rig.client.session().stats().send_buffered, rig.client.stock.send_held);
  Ask<> writable(meet::Question::stream_writable);
  writable.post(all[0].ours.meet());
  rig.settle();
  EXPECT_FALSE(writable.is_answered());
  rig.server.is_dead = false;
  EXPECT_TRUE(rig.run([&] {
    std::size_t total = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i].theirs.drain(got[i]);
      total += got[i].size();
    }
    return total == accepted && writable.is_answered();
  }));
  EXPECT_TRUE(writable.is_success());
  EXPECT_TRUE(all[1].ours.write(piece)) << "the credit has come back";
}

// ENG-10: a session with nothing queued gets a little credit, however full the engine is of others' bytes.
TEST_P(Stalled, AFullSendBudgetOfOthersLeavesALittle) {
  RigOptions options;
  options.client.send_budget = 10'000;
  Rig rig(family(), options);
  auto [ours, theirs] = rig.stream_pair();
  rig.client.stock.send_held += 1'000'000;  // another session of this loop
  std::string got;
  std::size_t sent = 0;
  EXPECT_TRUE(rig.run([&] {
    if (sent < 1'000'000 && ours.write(std::string(5000, 'x'))) sent += 5000;
    theirs.drain(got);
    return got.size() == 1'000'000;
  }));
  EXPECT_LE(rig.client.meet().credit.left(), 64 * 1024);
  rig.client.stock.send_held -= 1'000'000;
  EXPECT_TRUE(ours.write("x"));
  rig.run_for(100ms);
  EXPECT_EQ(rig.client.meet().credit.left(), rig.client.meet().credit.limit()) << "all of it comes back";
}

}  // namespace
}  // namespace riffle::test
