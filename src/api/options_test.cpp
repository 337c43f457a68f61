// Every option out of its range gives a sentence that names it (CFG-1, CFG-5).
#include <riffle/options.hpp>

#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <riffle/engine.hpp>
#include <riffle/handler.hpp>

#include "api/loopback_test.hpp"

namespace riffle::test {
namespace {

// Leaving a required option out does not compile. Each concept has its counterpart below, so that it cannot be false
// for another reason.
template <class C>
concept WithoutAddress = requires { C{.alpn = {"test"}}; };
template <class C>
concept WithoutAlpn = requires { C{.address = "localhost:1"}; };
template <class C>
concept WithBoth = requires { C{.address = "localhost:1", .alpn = {"test"}}; };
static_assert(WithBoth<quic::Client>);
static_assert(!WithoutAddress<quic::Client>);
static_assert(!WithoutAlpn<quic::Client>);

template <class S>
concept ServerWithoutAddress = requires(Certificate c) { S{.certificate = c, .alpn = {"test"}}; };
template <class S>
concept ServerWithoutCertificate = requires { S{.address = ":0", .alpn = {"test"}}; };
template <class S>
concept ServerWithoutAlpn = requires(Certificate c) { S{.address = ":0", .certificate = c}; };
template <class S>
concept ServerWithAll = requires(Certificate c) { S{.address = ":0", .certificate = c, .alpn = {"test"}}; };
static_assert(ServerWithAll<quic::Server>);
static_assert(!ServerWithoutAddress<quic::Server>);
static_assert(!ServerWithoutCertificate<quic::Server>);
static_assert(!ServerWithoutAlpn<quic::Server>);

quic::Client good_client() { return {.address = "localhost:443", .alpn = {"test"}}; }

template <class Options>
struct Row {
  const char* named;  ///< what the sentence must name
  std::function<void(Options&)> spoil;
};

template <class Options>
void expect_named(const Options& good, const std::vector<Row<Options>>& rows) {
  EXPECT_TRUE(good.validate());
  for (const Row<Options>& row : rows) {
    Options options = good;
    row.spoil(options);
    const auto valid = options.validate();
    ASSERT_FALSE(valid) << row.named;
    EXPECT_EQ(valid.error().code(), Code::invalid_argument) << row.named;
    EXPECT_NE(valid.error().evidence().find(row.named), std::string::npos)
        << row.named << ": " << valid.error().message();
  }
}

/// What both kinds of options have in `transport` and `limits`.
template <class O>
std::vector<Row<O>> shared_rows() {
  constexpr std::uint64_t too_much = std::uint64_t{1} << 62;
  return {
      {"transport.idle_timeout", [](O& o) { o.transport.idle_timeout = -1ms; }},
      {"transport.handshake_timeout", [](O& o) { o.transport.handshake_timeout = 0ms; }},
      {"transport.keep_alive", [](O& o) { o.transport.keep_alive = -1ms; }},
      {"transport.keep_alive", [](O& o) { o.transport.keep_alive = o.transport.idle_timeout; }},
      {"transport.max_streams_bidi", [](O& o) { o.transport.max_streams_bidi = (1ull << 60) + 1; }},
      {"transport.max_streams_uni", [](O& o) { o.transport.max_streams_uni = (1ull << 60) + 1; }},
      {"transport.stream_window", [](O& o) { o.transport.stream_window = 0; }},
      {"transport.stream_window", [](O& o) { o.transport.stream_window = too_much; }},
      {"transport.connection_window", [](O& o) { o.transport.connection_window = too_much; }},
      {"transport.max_stream_window", [](O& o) { o.transport.max_stream_window = too_much; }},
      {"transport.max_connection_window", [](O& o) { o.transport.max_connection_window = too_much; }},
      {"transport.max_stream_window", [](O& o) { o.transport.max_stream_window = o.transport.stream_window - 1; }},
      {"transport.max_connection_window",
       [](O& o) {
         o.transport.connection_window = 1ull << 30;
         o.transport.max_connection_window = 1ull << 20;
       }},
      {"transport.connection_window", [](O& o) { o.transport.connection_window = 1ull << 20; }},
      {"transport.max_receive_payload", [](O& o) { o.transport.max_receive_payload = 1199; }},
      {"transport.max_receive_payload", [](O& o) { o.transport.max_receive_payload = 65528; }},
      {"transport.max_send_payload", [](O& o) { o.transport.max_send_payload = 1199; }},
      {"transport.ack_delay_exponent", [](O& o) { o.transport.ack_delay_exponent = 21; }},
      {"transport.max_ack_delay", [](O& o) { o.transport.max_ack_delay = 16384ms; }},
      {"transport.max_ack_delay", [](O& o) { o.transport.max_ack_delay = -1ms; }},
      {"transport.active_connection_id_limit", [](O& o) { o.transport.active_connection_id_limit = 1; }},
      {"transport.congestion_control", [](O& o) { o.transport.congestion_control = "vegas"; }},
      {"transport.version", [](O& o) { o.transport.version = 2; }},
      {"limits.receive_list", [](O& o) { o.limits.receive_list = 4095; }},
      {"limits.send_credit", [](O& o) { o.limits.send_credit = 4095; }},
      {"limits.send_credit_max", [](O& o) { o.limits.send_credit_max = o.limits.send_credit - 1; }},
      {"limits.session_send_credit", [](O& o) { o.limits.session_send_credit = o.limits.send_credit - 1; }},
      {"limits.session_receive_budget", [](O& o) { o.limits.session_receive_budget = 1; }},
      {"limits.accept_backlog", [](O& o) { o.limits.accept_backlog = 0; }},
      {"alpn", [](O& o) { o.alpn = std::vector<std::string>{}; }},
      {"alpn", [](O& o) { o.alpn = std::vector<std::string>{""}; }},
      {"alpn", [](O& o) { o.alpn = std::vector<std::string>{std::string(256, 'x')}; }},
      {"alpn", [](O& o) { o.alpn = std::vector<std::string>(300, std::string(255, 'x')); }},
      {"delivery", [](O& o) { o.delivery = active; }},
      {"address", [](O& o) { o.address = "no port"; }},
  };
}

TEST(ClientOptions, EveryOneOutOfRangeIsNamed) {
  using O = quic::Client;
  std::vector<Row<O>> rows = shared_rows<O>();
  const std::vector<Row<O>> own{
      {"address", [](O& o) { o.address = ":443"; }},
      {"address", [](O& o) { o.address = "localhost:0"; }},
      {"trust", [](O& o) { o.trust = pinned("abc"); }},
      {"trust", [](O& o) { o.trust = pinned(std::string(64, 'g')); }},
      {"certificate", [](O& o) { o.certificate.chain_pem = "chain without a key"; }},
      {"certificate", [](O& o) { o.certificate = from_files("chain.pem", ""); }},
  };
  rows.insert(rows.end(), own.begin(), own.end());
  expect_named(good_client(), rows);
}

TEST(ServerOptions, EveryOneOutOfRangeIsNamed) {
  using O = quic::Server;
  std::vector<Row<O>> rows = shared_rows<O>();
  const std::vector<Row<O>> own{
      {"certificate", [](O& o) { o.certificate = Certificate{}; }},
      {"certificate", [](O& o) { o.certificate = from_pem("chain", ""); }},
      {"by_name", [](O& o) { o.by_name = {{.name = "", .certificate = identity()}}; }},
      {"by_name", [](O& o) { o.by_name = {{.name = "a.test", .certificate = {}}}; }},
      {"client_trust", [](O& o) { o.client_trust = pinned("0"); }},
      {"max_sessions", [](O& o) { o.max_sessions = 0; }},
      {"max_handshakes", [](O& o) { o.max_handshakes = 0; }},
      {"accept_backlog", [](O& o) { o.accept_backlog = 0; }},
      {"transport.version", [](O& o) { o.transport.version = 0x0a0a0a0a; }},
  };
  rows.insert(rows.end(), own.begin(), own.end());
  expect_named(server_options(), rows);
}

TEST(EngineOptions, EveryOneOutOfRangeIsNamed) {
  using O = EngineOptions;
  expect_named<O>({}, {
                          {"command_queue", [](O& o) { o.command_queue = 0; }},
                          {"receive_budget", [](O& o) { o.receive_budget = 65535; }},
                          {"send_budget", [](O& o) { o.send_budget = 65535; }},
                          {"socket_buffer", [](O& o) { o.socket_buffer = 65535; }},
                      });
  const auto engine = Engine::start({.command_queue = 0});
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code(), Code::invalid_argument);
}

TEST(ClientOptions, AReservedVersionAndEveryCongestionControlAreGood) {
  quic::Client options = good_client();
  for (const char* name : {"cubic", "reno", "bbr2", "bbr"}) {
    options.transport.congestion_control = name;
    EXPECT_TRUE(options.validate()) << name;
  }
  options.transport.version = 0x1a2a3a4a;
  EXPECT_TRUE(options.validate());
}

TEST_F(Loopback, ABadOptionGivesAClosedSessionAndNoListener) {
  // CFG-5: constructors do not fail; `connect` never does, its session tells.
  quic::Client options = good_client();
  options.transport.ack_delay_exponent = 99;
  const Session session = client.connect(options);
  EXPECT_EQ(session.state(), SessionState::closed);
  const auto reason = session.close_reason();
  ASSERT_TRUE(reason);
  EXPECT_EQ(reason->error.code(), Code::invalid_argument);
  EXPECT_EQ(session.wait_connected(0s).error().code(), Code::invalid_argument);
  EXPECT_EQ(session.wait_closed(0s)->error.code(), Code::invalid_argument);

  quic::Server bad = server_options("example.org:0");
  const auto listener = server.listen(bad);
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().code(), Code::invalid_argument);
  EXPECT_NE(listener.error().evidence().find("address"), std::string::npos);
}

}  // namespace
}  // namespace riffle::test
