// Random switches of mode, parks, fins, resets and handle drops against a model of the bytes (STR-3). A seed is printed
// with every failure; RIFFLE_SEED runs one alone.
#include <cstdlib>
#include <random>

#include "tests/session/suite.hpp"

namespace riffle::test {
namespace {

class Model : public SessionSuite {};
RIFFLE_OVER_ALL_TRANSPORTS(Model);

/// One stream that a client writes and a server's handler or handle takes, in whatever mode it is in.
struct Flow {
  AppStream ours, theirs;
  std::string data;
  std::size_t sent = 0;
  bool finished = false, is_reset = false;
  std::string got;
  bool has_end = false;
};

class Walk {
 public:
  Walk(Family family, std::uint64_t seed) : random_(seed), rig_(family, options(random_)) {
    rig_.server.on_event = [this](const Event& event) {
      if (event.kind != Kind::opened) return;
      Flow& flow = flow_of(event.stream);
      if (pick(2) == 0) flow.theirs = rig_.server.share(event.stream);
    };
    rig_.server.on_data = [this](StreamId id, const Bytes& bytes, bool end) {
      Flow& flow = flow_of(id);
      flow.got += bytes.view();
      EXPECT_FALSE(flow.has_end) << "bytes behind the end";
      flow.has_end = flow.has_end || end;
      if (pick(4) == 0) rig_.server.session().set_delivery(id, mode(), rig_.server.now());
      if (pick(10) == 0 && !flow.theirs) flow.theirs = rig_.server.share(id);
    };
    flows_.resize(4);
    for (Flow& flow : flows_) {
      flow.data = random_bytes(pick(300'000), random_());
      flow.ours = rig_.client.open();
      flow.ours.write("");
    }
    rig_.settle();
  }

  void go() {
    for (int step = 0; step < 400; ++step) {
      for (Flow& flow : flows_) act(flow);
      rig_.run_for(std::chrono::microseconds(pick(3000)));
    }
    // Let everything that may end come to its end: all active, all written.
    for (Flow& flow : flows_) {
      flow.theirs.drop();
      if (!flow.is_reset) {
        EXPECT_TRUE(rig_.run([&] {
          deliver_all();
          return write(flow, 100'000) || flow.sent == flow.data.size();
        }));
      }
    }
    for (Flow& flow : flows_) {
      if (flow.is_reset) continue;
      EXPECT_TRUE(rig_.run([&] {
        deliver_all();
        while (flow.sent < flow.data.size() && write(flow, 50'000)) {
        }
        if (flow.sent == flow.data.size() && !flow.finished) flow.finished = flow.ours.finish();
        return flow.has_end;
      })) << flow.got.size()
          << " of " << flow.data.size();
    }
    for (Flow& flow : flows_) {
      EXPECT_TRUE(flow.got == flow.data.substr(0, flow.got.size())) << "bytes lost, doubled or out of order";
      if (!flow.is_reset) {
        EXPECT_EQ(flow.got.size(), flow.data.size());
      }
    }
  }

 private:
  static RigOptions options(std::mt19937_64& random) {
    RigOptions options;
    options.server.has_handler = true;
    options.server.limits.receive_list = static_cast<std::uint32_t>(1000 + random() % 60'000);
    options.server.grants.stream = 4096 + random() % 100'000;
    options.server.delivery = random() % 2 == 0 ? active : passive;
    return options;
  }
  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  Delivery mode() {
    switch (pick(4)) {
      case 0:
        return active;
      case 1:
        return passive;
      case 2:
        return active_once;
      default:
        return active_times(1 + static_cast<std::uint32_t>(pick(5)));
    }
  }
  Flow& flow_of(StreamId id) {
    for (Flow& flow : flows_) {
      if (flow.ours && flow.ours.is_open() && flow.ours.id() == id) return flow;
    }
    ADD_FAILURE() << "a stream that nobody opened";
    return flows_[0];
  }
  bool write(Flow& flow, std::size_t most) {
    const std::size_t size = std::min<std::size_t>(pick(most) + 1, flow.data.size() - flow.sent);
    if (size == 0 || !flow.ours.write(std::string_view(flow.data).substr(flow.sent, size))) return false;
    flow.sent += size;
    return true;
  }
  void read(Flow& flow) {
    const Got got = pick(2) == 0 ? flow.theirs.read(1 + pick(20'000)) : flow.theirs.read_into(1 + pick(20'000));
    flow.got += got.text;
    if (got.fin) flow.has_end = true;
  }
  void deliver_all() {
    for (Flow& flow : flows_) {
      if (flow.ours && flow.ours.is_open())
        rig_.server.session().set_delivery(flow.ours.id(), active, rig_.clock.now());
    }
  }
  void act(Flow& flow) {
    const StreamId id = flow.ours.is_open() ? flow.ours.id() : StreamId{~0ull};
    switch (pick(12)) {
      case 0:
      case 1:
      case 2:
        write(flow, 20'000);
        break;
      case 3:
      case 4:
        if (flow.theirs) read(flow);
        break;
      case 5:
        if (flow.theirs) flow.theirs.set_delivery(mode());
        break;
      case 6:
        rig_.server.session().set_delivery(id, mode(), rig_.clock.now());
        break;
      case 7:
        if (flow.theirs) break;
        if (auto got = rig_.server.session().read(id, 1 + pick(10'000), rig_.clock.now())) {
          flow.got += got->data.view();
          flow.has_end = flow.has_end || got->fin || got->status == Read::Status::end_of_stream;
        }
        break;
      case 8:
        flow.theirs.drop();
        break;
      case 9:
        if (pick(100) == 0 && flow.sent != 0) {
          flow.ours.shutdown(Side::writing, 1);
          flow.is_reset = true;
        }
        break;
      case 10:
        if (flow.sent == flow.data.size() && !flow.finished && pick(4) == 0) flow.finished = flow.ours.finish();
        break;
      default:
        break;
    }
  }

  std::mt19937_64 random_;
  std::vector<Flow> flows_;
  Rig rig_;
};

TEST_P(Model, RandomSwitchesLoseNothing) {
  const char* const chosen = std::getenv("RIFFLE_SEED");
  const std::uint64_t first = chosen != nullptr ? std::strtoull(chosen, nullptr, 10) : 1;
  const std::uint64_t count = chosen != nullptr ? 1 : 60;
  for (std::uint64_t seed = first; seed < first + count && !HasFailure(); ++seed) {
    SCOPED_TRACE("RIFFLE_SEED=" + std::to_string(seed));
    Walk(family(), seed).go();
  }
}

}  // namespace
}  // namespace riffle::test
