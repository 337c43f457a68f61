// What a session tells of itself: info, statistics, key log, and what keeps it alive (CON-3, CON-5, CFG-4, ENG-6).
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <regex>
#include <set>

#include "api/loopback_test.hpp"

namespace riffle::test {
namespace {

/// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = testing::TempDir() + "riffle_XXXXXX";
    path_ = ::mkdtemp(name.data()) != nullptr ? name : "";
    EXPECT_FALSE(path_.empty());
  }
  ~Folder() {
    for (const std::string& file : files_) ::unlink(file.c_str());
    ::rmdir(path_.c_str());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name, const std::string& text = {}) {
    const std::string path = path_ + "/" + name;
    files_.insert(path);
    if (!text.empty()) std::ofstream(path, std::ios::binary) << text;
    return path;
  }

 private:
  std::string path_;
  std::set<std::string> files_;
};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_F(ConnectedPair, InfoTellsBothEndsOfTheSameConnection) {
  const SessionInfo ours = near.info(patience).value();
  const SessionInfo theirs = far.info(patience).value();
  EXPECT_EQ(ours.local, theirs.peer);
  EXPECT_EQ(ours.peer, theirs.local);
  EXPECT_EQ(ours.peer, listener.address());
  EXPECT_EQ(ours.role, Role::client);
  EXPECT_EQ(theirs.role, Role::server);
  EXPECT_EQ(ours.state, SessionState::connected);
  EXPECT_EQ(theirs.state, SessionState::connected);
  EXPECT_EQ(ours.alpn, "test");
  EXPECT_EQ(theirs.alpn, "test");
  EXPECT_EQ(ours.server_name, "127.0.0.1");
  EXPECT_FALSE(ours.is_resumed);
  EXPECT_FALSE(ours.trace_id.empty());
  ASSERT_EQ(ours.peer_certificates.size(), 1u);
  EXPECT_EQ(ours.peer_certificates[0].substr(0, 1), "\x30") << "DER begins with a SEQUENCE";
  EXPECT_TRUE(theirs.peer_certificates.empty());
  ASSERT_FALSE(ours.connection_ids.empty());
  for (const std::string& id : theirs.connection_ids)
    EXPECT_TRUE(std::regex_match(id, std::regex("[0-9a-f]{32}"))) << id;
}

TEST_F(ConnectedPair, TheStateIsReadableWhileItChanges) {
  // ENG-6
  EXPECT_EQ(near.state(), SessionState::connected);
  EXPECT_EQ(client.state(), EngineState::running);
  EXPECT_EQ(client.active_sessions(), 1u);
  ASSERT_TRUE(near.close());
  EXPECT_TRUE(far.wait_closed(patience));
  EXPECT_EQ(far.state(), SessionState::closed);
  EXPECT_EQ(far.info(patience).error().code() == Code::internal, false);
}

TEST_F(Loopback, StatisticsMoveWithTheBytes) {
  const Listener listener = listen(echo_options());
  const Session session = connect(client_options(listener));
  const FullStats before = session.stats(patience).value();
  const std::string text = pattern(1'000'000);
  ASSERT_TRUE(echo(session, text) == text);
  const FullStats after = session.stats(patience).value();

  EXPECT_EQ(after.session.streams_opened, before.session.streams_opened + 1);
  EXPECT_EQ(after.session.bytes_sent - before.session.bytes_sent, text.size());
  EXPECT_EQ(after.session.bytes_received - before.session.bytes_received, text.size());
  EXPECT_EQ(after.session.send_buffered, 0u);
  EXPECT_EQ(after.session.receive_buffered, 0u);
  EXPECT_GT(after.quic.packets_sent, before.quic.packets_sent + 300);
  EXPECT_GT(after.quic.packets_received, before.quic.packets_received + 300);
  EXPECT_GT(after.quic.bytes_sent, before.quic.bytes_sent + text.size());
  EXPECT_GT(after.quic.bytes_received, before.quic.bytes_received + text.size());
  EXPECT_GT(after.quic.bytes_acknowledged, before.quic.bytes_acknowledged);
  EXPECT_EQ(after.quic.paths, 1u);
  ASSERT_EQ(after.paths.size(), 1u);
  const quic::PathStats& path = after.paths[0];
  EXPECT_TRUE(path.is_active);
  EXPECT_EQ(path.peer, listener.address());
  EXPECT_GT(path.rtt.count(), 0);
  EXPECT_GT(path.min_rtt.count(), 0);
  EXPECT_LE(path.min_rtt, path.max_rtt);
  EXPECT_GT(path.congestion_window, 10'000u);
  EXPECT_GE(path.mtu, 1200u);
  EXPECT_GT(path.delivery_rate, 0u);
  EXPECT_GT(path.bytes_sent, text.size());
  EXPECT_GT(after.udp.sent.bytes, before.udp.sent.bytes + text.size());
  EXPECT_GT(after.udp.received.bytes, before.udp.received.bytes + text.size());
}

TEST_F(Loopback, AStreamCountsItsBytes) {
  // COR-4
  const Listener listener = listen(echo_options());
  const Session session = connect(client_options(listener));
  const Stream stream = session.open().value();
  ASSERT_TRUE(stream.write("0123456789", fin, patience));
  EXPECT_EQ(stream.read_to_end(100, patience)->size(), 10u);
  const StreamStats stats = stream.stats();
  EXPECT_EQ(stats.bytes_sent, 10u);
  EXPECT_EQ(stats.bytes_received, 10u);
  EXPECT_EQ(stats.bytes_consumed, 10u);
  EXPECT_EQ(stats.receive_buffered, 0u);
  EXPECT_EQ(stats.send_buffered, 0u);
  EXPECT_TRUE(stats.fin_sent);
  EXPECT_TRUE(stats.fin_received);
  EXPECT_GT(stats.first_activity.time_since_epoch().count(), 0);
  EXPECT_LE(stats.first_activity, stats.last_activity);
}

TEST_F(Loopback, TheKeyLogHasTheSecretsOfTls13) {
  // CFG-4; the NSS key log format: label, client random, secret, in hex.
  Folder folder;
  const std::string path = folder.file("keys.log");
  const Listener listener = listen(echo_options());
  quic::Client options = client_options(listener);
  options.transport.key_log_file = path;
  EXPECT_EQ(echo(connect(options), "secret"), "secret");
  const std::string log = read_file(path);
  for (const char* label : {"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                            "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"}) {
    EXPECT_TRUE(std::regex_search(log, std::regex("(^|\n)" + std::string(label) + " [0-9a-f]{64} [0-9a-f]{64,96}\n")))
        << label << "\n"
        << log;
  }
  // It is appended to, by a second configuration too.
  options.transport.grease = false;
  EXPECT_EQ(echo(connect(options), "secret"), "secret");
  const std::string longer = read_file(path);
  EXPECT_GT(longer.size(), log.size());
  EXPECT_EQ(longer.substr(0, log.size()), log);
}

TEST_F(Loopback, AKeyLogThatCannotBeWrittenIsNamed) {
  const Listener listener = listen(echo_options());
  quic::Client options = client_options(listener);
  options.transport.key_log_file = "/no/such/folder/keys.log";
  const Error error = connect_error(options);
  EXPECT_EQ(error.code(), Code::file_unreadable) << error.message();
  EXPECT_NE(error.evidence().find("/no/such/folder/keys.log"), std::string::npos) << error.message();
  quic::Server serving = echo_options();
  serving.transport.key_log_file = "/no/such/folder/keys.log";
  EXPECT_EQ(server.listen(serving).error().code(), Code::file_unreadable);
}

TEST_F(Loopback, SilenceEndsASessionAfterItsIdleTimeout) {
  // CFG-1; RFC 9000 section 10.1.
  const Listener listener = listen(server_options());
  quic::Client options = client_options(listener);
  options.transport.idle_timeout = 200ms;
  const auto begin = std::chrono::steady_clock::now();
  const Session session = connect(options);
  const auto reason = session.wait_closed(patience);
  ASSERT_TRUE(reason);
  EXPECT_EQ(reason->by, CloseReason::By::transport);
  EXPECT_EQ(reason->error.code(), Code::idle_timeout) << reason->error.message();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 200ms);
}

TEST_F(Loopback, AKeepAliveKeepsASilentSessionPastItsIdleTimeout) {
  // CFG-4. One session measures the time for the other: it dies of silence, three times over.
  const Listener listener = listen(server_options());
  quic::Client silent = client_options(listener);
  silent.transport.idle_timeout = 1000ms;
  quic::Client kept = silent;
  kept.transport.keep_alive = 100ms;
  const Session lively = connect(kept);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(connect(silent).wait_closed(patience)->error.code(), Code::idle_timeout);
  }
  EXPECT_TRUE(lively.is_connected());
}

TEST_F(Loopback, AServersKeepAliveWorksToo) {
  quic::Server options = server_options();
  options.transport.idle_timeout = 1000ms;
  quic::Server kept = options;
  kept.transport.keep_alive = 100ms;
  const Listener silent = listen(options);
  const Listener lively = listen(kept);
  const Session survivor = connect(client_options(lively));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(connect(client_options(silent)).wait_closed(patience)->error.code(), Code::idle_timeout);
  }
  EXPECT_TRUE(survivor.is_connected());
}

TEST_F(Loopback, CertificatesAndAuthoritiesMayComeFromFiles) {
  // CFG-3
  Folder folder;
  const std::string chain = folder.file("chain.pem", identity().chain_pem);
  const std::string key = folder.file("key.pem", identity().key_pem);
  quic::Server options = echo_options();
  options.certificate = from_files(chain, key);
  const Listener listener = listen(options);
  quic::Client by_file = client_options(listener);
  by_file.trust = ca_file(chain);
  EXPECT_EQ(echo(connect(by_file), "file"), "file");
  quic::Client by_memory = client_options(listener);
  by_memory.trust = ca_pem(identity().chain_pem);
  EXPECT_EQ(echo(connect(by_memory), "memory"), "memory");
  quic::Client by_pin = client_options(listener);
  by_pin.trust = pinned(pin_of(from_files(chain, key)).value());
  EXPECT_EQ(echo(connect(by_pin), "pin"), "pin");
  quic::Client blind = client_options(listener);
  blind.trust = insecure_no_verification();
  EXPECT_EQ(echo(connect(blind), "blind"), "blind");
}

TEST_F(Loopback, FilesThatAreMissingAndKeysThatDoNotFitAreNamed) {
  quic::Server options = server_options();
  options.certificate = from_files("/no/such/chain.pem", "/no/such/key.pem");
  const auto missing = server.listen(options);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Code::file_unreadable) << missing.error().message();
  EXPECT_NE(missing.error().evidence().find("/no/such/"), std::string::npos);
  options.certificate = from_pem(identity().chain_pem, make_self_signed({"other.test"})->key_pem);
  EXPECT_EQ(server.listen(options).error().code(), Code::certificate_unusable);
  options.certificate = from_pem("no PEM", "at all");
  EXPECT_EQ(server.listen(options).error().code(), Code::certificate_unusable);
}

TEST_F(Loopback, TheServerNameChoosesTheCertificate) {
  // CFG-3 (SNI), with a wildcard.
  const Certificate one = make_self_signed({"one.test"}).value();
  const Certificate many = make_self_signed({"*.many.test"}).value();
  quic::Server options = echo_options();
  options.by_name = {{.name = "one.test", .certificate = one}, {.name = "*.many.test", .certificate = many}};
  const Listener listener = listen(options);
  struct Row {
    const char* name;
    const Certificate& expected;
  };
  for (const Row& row : {Row{"one.test", one}, {"a.many.test", many}, {"elsewhere.test", identity()}}) {
    quic::Client by_name = client_options(listener);
    by_name.server_name = row.name;
    by_name.trust = pinned(pin_of(row.expected).value());
    const Session session = connect(by_name);
    EXPECT_EQ(session.info(patience)->server_name, row.name);
  }
}

TEST_F(Loopback, BothEndsMayShowCertificates) {
  // CFG-3 (mTLS)
  const Certificate mine = make_self_signed({"client.test"}).value();
  quic::Server options = server_options();
  options.client_trust = ca_pem(mine.chain_pem);
  const Listener listener = listen(options);
  quic::Client with = client_options(listener);
  with.certificate = mine;
  const Session near = connect(with);
  const Session far = listener.accept(patience).value();
  EXPECT_EQ(far.info(patience)->peer_certificates.size(), 1u);
  EXPECT_NE(far.info(patience)->peer_certificates, near.info(patience)->peer_certificates);

  quic::Client stranger = client_options(listener);
  stranger.certificate = make_self_signed({"stranger.test"}).value();
  EXPECT_EQ(client.connect(stranger).wait_closed(patience)->error.code(), Code::certificate_refused);
}

}  // namespace
}  // namespace riffle::test
