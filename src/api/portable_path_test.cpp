// The switches of UDP-5, and the batches that they switch (UDP-1, UDP-3).
#include <atomic>
#include <cstdio>
#include <thread>

#include "api/loopback_test.hpp"

namespace riffle::test {
namespace {

struct Switches {
  const char* name;
  EngineOptions options;
};

class PortablePath : public testing::TestWithParam<Switches> {};

/// The peer's whole stream against the pattern, and back again.
TEST_P(PortablePath, AnEchoOfMebibytesIsExact) {
  const Engine server = Engine::start(GetParam().options).value();
  const Engine client = Engine::start(GetParam().options).value();
  const Listener listener = server.listen(echo_options()).value();
  const Session session = client.connect(client_options(listener));
  ASSERT_TRUE(session.wait_connected(patience));
  const std::string text = pattern(6 * 1024 * 1024);
  EXPECT_TRUE(echo(session, text) == text);

  const UdpStats sent = session.stats(patience)->udp;
  if (!GetParam().options.gso) {
    // A receiver without GRO sees no batches; sendmmsg still carries many datagrams a call.
    EXPECT_GT(sent.sent.calls, 0u);
  }
  EXPECT_EQ(sent.send_failures, 0u);
  EXPECT_GT(sent.sent.datagrams, text.size() / 1500);
  EXPECT_GT(sent.received.datagrams, text.size() / 1500);
}

INSTANTIATE_TEST_SUITE_P(Udp5, PortablePath,
                         testing::Values(Switches{"Defaults", {}}, Switches{"WithoutGso", {.gso = false}},
                                         Switches{"WithoutGro", {.gro = false}},
                                         Switches{"WithoutEventfd", {.eventfd = false}},
                                         Switches{"WithoutAnyOfThem", {.gso = false, .gro = false, .eventfd = false}}),
                         [](const auto& each) { return each.param.name; });

/// Sends as credit allows, until told to end.
class Flood : public Handler {
 public:
  void on_connected(Context& c) override { send(c, c.open(unidirectional).value()); }
  void on_writable(Context& c, StreamId id) override { send(c, id); }

 private:
  void send(Context& c, StreamId id) {
    static const Bytes block = Bytes::adopt(pattern(64 * 1024));
    while (left_ > 0 && c.writable_bytes(id) > 0) {
      --left_;
      c.write(id, block, left_ == 0);
    }
  }
  int left_ = 3200;  // 200 MiB
};

TEST_F(Loopback, ABulkTransferCarriesTwentyDatagramsACall) {
  // UDP-3: "at least 20 datagrams per system call on the sending and on the receiving side of the data (ACKs apart)".
  const auto script = std::make_shared<Script>();
  std::size_t got = 0;
  script->data = [&](Context&, StreamId, Bytes bytes, bool is_last) {
    got += bytes.size();
    if (is_last) script->notes.add("all");
  };
  quic::Server options = server_options();
  options.handler = [&](const Peer&) { return script; };
  const Listener listener = listen(options);
  quic::Client sending = client_options(listener);
  sending.handler = std::make_shared<Flood>();
  const Session session = connect(sending);
  ASSERT_TRUE(script->notes.wait_for("all"));
  EXPECT_EQ(got, 3200u * 64 * 1024);
  const UdpStats near = session.stats(patience)->udp;
  const UdpStats far = listener.udp_stats(patience).value();
  std::printf("sent %.1f datagrams a call, received %.1f; kernel drops %llu\n", near.sent.datagrams_per_call(),
              far.received.datagrams_per_call(), static_cast<unsigned long long>(far.kernel_drops));
  EXPECT_GE(near.sent.datagrams_per_call(), 20);
  EXPECT_GE(far.received.datagrams_per_call(), 20);
}

}  // namespace
}  // namespace riffle::test
