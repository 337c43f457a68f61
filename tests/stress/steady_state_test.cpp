// What a steady state costs: malloc and lock calls, counted by caller. None comes from our C++ per packet or write;
// quiche's own are printed (ENG-3; facts/performance.md).
#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>

#include "tests/stress/call_counts.hpp"
#include "tests/stress/rig.hpp"

namespace riffle::stress {
namespace {

/// A window over which calls are counted, and what moved in it.
struct Window {
  Counts counts;
  std::string sites;
  std::uint64_t units = 0;  ///< packets or writes
};

void print(const char* what, const char* unit, const Window& window) {
  const auto per = [&](std::uint64_t calls) { return static_cast<double>(calls) / static_cast<double>(window.units); };
  std::printf(
      "%s, %llu %s: allocations ours %llu, quiche %.3f each, others %llu; locks ours %llu, quiche %.3f each, others "
      "%llu\n",
      what, static_cast<unsigned long long>(window.units), unit,
      static_cast<unsigned long long>(window.counts.allocations.ours), per(window.counts.allocations.quiche),
      static_cast<unsigned long long>(window.counts.allocations.others),
      static_cast<unsigned long long>(window.counts.locks.ours), per(window.counts.locks.quiche),
      static_cast<unsigned long long>(window.counts.locks.others));
}

/// Three times the work may cost no more than a few calls more: none is for each packet or write.
void expect_flat(const Window& one, const Window& three) {
  EXPECT_GE(three.units, 2 * one.units);
  constexpr std::uint64_t few = 32;
  EXPECT_LE(three.counts.allocations.ours, one.counts.allocations.ours + few) << three.sites;
  EXPECT_LE(three.counts.locks.ours, one.counts.locks.ours + few) << three.sites;
  EXPECT_LE(three.counts.allocations.ours, three.units / 100) << three.sites;
  EXPECT_LE(three.counts.locks.ours, three.units / 100) << three.sites;
}

TEST(SteadyState, TheCountersSeeEveryKindOfCall) {
  std::mutex mutex;
  start_counting();
  for (int i = 0; i < 3; ++i) {
    const auto one = std::make_unique<std::uint64_t>(1);
    const std::string two(100, static_cast<char>('a' + *one));  // in libstdc++
    const std::lock_guard hold(mutex);
    void* volatile three = std::malloc(two.size());  // or the compiler leaves both calls out
    std::free(three);
  }
  const Counts counts = stop_counting();
  EXPECT_GE(counts.allocations.ours, 9u);
  EXPECT_EQ(counts.locks.ours, 3u);
  EXPECT_NE(sites_of_ours(), "");
}

/// Sends one shared block for as long as credit lasts, without end.
class Flood : public Handler {
 public:
  void on_connected(Context& c) override { send(c, c.open(unidirectional).value()); }
  void on_writable(Context& c, StreamId id) override { send(c, id); }

 private:
  void send(Context& c, StreamId id) {
    while (c.writable_bytes(id) > 0) c.write(id, block_);
  }
  const Bytes block_ = Bytes::adopt(std::string(64 * 1024, 'x'));
};

class Sink : public Handler {
 public:
  explicit Sink(std::atomic<std::uint64_t>& got) : got_(got) {}
  void on_stream_data(Context&, StreamId, Bytes bytes, bool) override {
    got_.fetch_add(bytes.size());
    got_.notify_one();
  }

 private:
  std::atomic<std::uint64_t>& got_;
};

/// The counters' windows are cut while the transfer goes on.
class Bulk {
 public:
  Bulk() {
    quic::Server options = echo_options();
    options.handler = [this](const Peer&) { return std::make_shared<Sink>(got_); };
    listener_ = server_.listen(options).value();
    quic::Client sending = client_options(listener_);
    sending.handler = std::make_shared<Flood>();
    session_ = client_.connect(sending);
    EXPECT_TRUE(session_.wait_connected(patience));
  }
  /// Waits until so much more has arrived.
  void pass(std::uint64_t bytes) {
    const std::uint64_t until = got_.load() + bytes;
    for (std::uint64_t now = got_.load(); now < until; now = got_.load()) got_.wait(now);
  }
  Window measure(std::uint64_t bytes) {
    const std::uint64_t before = packets();
    start_counting();
    pass(bytes);
    Window window{.counts = stop_counting(), .sites = sites_of_ours()};
    window.units = packets() - before;
    return window;
  }

 private:
  std::uint64_t packets() const { return session_.stats(patience)->quic.packets_sent; }

  std::atomic<std::uint64_t> got_{0};
  Engine server_ = Engine::start().value();
  Engine client_ = Engine::start().value();
  Listener listener_;
  Session session_;
};

TEST(SteadyState, ABulkTransferCostsOurCodeNoAllocationAndNoLockAPacket) {
  Bulk bulk;
  bulk.pass(256u << 20);  // pools, windows and vectors have their size
  const Window one = bulk.measure(64u << 20);
  const Window three = bulk.measure(192u << 20);
  print("bulk", "packets", one);
  print("bulk", "packets", three);
  expect_flat(one, three);
}

/// One small write and its answer, again and again.
void ping(const Stream& stream, int times) {
  std::array<std::byte, 64> question{};
  std::array<std::byte, 64> answer{};
  for (int i = 0; i < times; ++i) {
    const auto written = stream.try_write(question);
    ASSERT_TRUE(written && *written == WriteStatus::accepted);
    for (std::size_t got = 0; got < answer.size();) {
      const auto read = stream.read_into(std::span(answer).subspan(got), patience);
      ASSERT_TRUE(read) << read.error().message();
      got += read->size;
    }
  }
}

TEST(SteadyState, SmallWritesOfAnotherThreadCostOurCodeNoAllocationAndNoLock) {
  const Engine server = Engine::start().value();
  const Engine client = Engine::start().value();
  const Listener listener = server.listen(echo_options()).value();
  const Session session = client.connect(client_options(listener));
  const Stream stream = session.open().value();
  const auto measure = [&](int times) {
    start_counting();
    ping(stream, times);
    return Window{.counts = stop_counting(), .sites = sites_of_ours(), .units = static_cast<std::uint64_t>(times)};
  };
  ping(stream, 3000);
  const Window one = measure(2000);
  const Window three = measure(6000);
  print("echo", "writes", one);
  print("echo", "writes", three);
  expect_flat(one, three);
}

}  // namespace
}  // namespace riffle::stress
