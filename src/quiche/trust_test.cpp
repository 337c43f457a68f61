// Certificates, names, pins and protocols: who is believed, and what is said when not (CFG-3, CON-1).
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "quiche/pair_test.hpp"

namespace riffle::quiche {
namespace {

using core::PortState;

struct TrustTest : testing::Test {
  Pair pair;

  /// Runs a handshake that must fail, until both sides know.
  void fail_to_connect() {
    pair.start();
    if (HasFatalFailure()) return;
    pair.run([this] { return over(*pair.client) && over(*pair.server); });
  }
  static bool over(const core::QuicConnection& one) {
    return one.state() == PortState::draining || one.state() == PortState::closed;
  }
  Error client_end() { return pair.client->end_reason(); }
  Error server_end() { return pair.server->end_reason(); }
  Error refused_client() {
    auto made = pair.stack.configure(pair.client_options);
    EXPECT_FALSE(made);
    return made ? Error(Code::internal) : made.error();
  }
  Error refused_server() {
    auto made = pair.stack.configure(pair.server_options);
    EXPECT_FALSE(made);
    return made ? Error(Code::internal) : made.error();
  }
};

TEST_F(TrustTest, AnotherAuthorityIsRejectedAndTheServerHearsIt) {
  pair.client_options.trust.ca_pem = make_self_signed({"riffle.test"})->chain_pem;
  fail_to_connect();
  EXPECT_EQ(client_end(), Code::certificate_rejected);
  EXPECT_TRUE(holds(client_end().evidence(), "riffle.test"));
  EXPECT_TRUE(client_end().has_wire());
  EXPECT_EQ(server_end(), Code::certificate_refused);
  EXPECT_TRUE(holds(server_end().evidence(), "TLS alert"));
  EXPECT_EQ(server_end().wire(), client_end().wire());
}

TEST_F(TrustTest, AnotherNameIsRejected) {
  pair.name = "other.test";
  fail_to_connect();
  EXPECT_EQ(client_end(), Code::certificate_rejected);
  EXPECT_TRUE(holds(client_end().evidence(), "ostname mismatch"));
}

TEST_F(TrustTest, AnAddressIsFoundAmongTheCertificatesAddresses) {
  pair.identity = make_self_signed({"riffle.test", "192.0.2.1", "2001:db8::1"}).value();
  pair.server_options.certificate = pair.identity;
  pair.client_options.trust.ca_pem = pair.identity.chain_pem;
  pair.name = "2001:db8::1";
  pair.start();
  pair.connect();
  EXPECT_EQ(pair.server->info().server_name, "");
}

TEST_F(TrustTest, APinAloneIsEnough) {
  pair.client_options.trust = pinned(pin_of(pair.identity).value());
  pair.name = "whatever.test";
  pair.start();
  pair.connect();
}

TEST_F(TrustTest, AnotherPinIsAMismatchThatSaysThePinItSaw) {
  pair.client_options.trust = pinned(std::string(64, 'a'));
  fail_to_connect();
  EXPECT_EQ(client_end(), Code::pin_mismatch);
  EXPECT_TRUE(holds(client_end().evidence(), pin_of(pair.identity).value()));
  EXPECT_EQ(client_end().wire(), 0x12au);
  EXPECT_EQ(server_end(), Code::certificate_refused);
}

TEST_F(TrustTest, APinWithAnAuthorityNeedsBoth) {
  pair.client_options.trust.pins = {std::string(64, 'a')};
  fail_to_connect();
  EXPECT_EQ(client_end(), Code::pin_mismatch);
}

TEST_F(TrustTest, WithoutVerificationAnythingGoes) {
  pair.client_options.trust = insecure_no_verification();
  pair.name = "whatever.test";
  pair.start();
  pair.connect();
}

TEST_F(TrustTest, ProtocolsThatDoNotMeetAreToldWithWhatWasOffered) {
  pair.client_options.alpn = {"h3", "hq"};
  fail_to_connect();
  EXPECT_EQ(client_end(), Code::alpn_refused);
  EXPECT_EQ(client_end().wire(), 0x178u);
  EXPECT_EQ(client_end().evidence(), "offered: h3, hq");
  EXPECT_EQ(server_end(), Code::alpn_refused);
  EXPECT_EQ(server_end().evidence(), "the peer offered h3, hq; this side speaks riffle");
}

TEST_F(TrustTest, TheServerChoosesItsCertificateByName) {
  const Certificate special = make_self_signed({"special.test"}).value();
  pair.server_options.by_name = {{.name = "special.test", .certificate = special}};
  pair.client_options.trust.ca_pem = special.chain_pem;
  pair.name = "special.test";
  pair.start();
  pair.connect();
  EXPECT_EQ(pair.server->info().server_name, "special.test");
}

TEST_F(TrustTest, AClientWithoutACertificateIsRejectedWhereOneIsAskedFor) {
  pair.server_options.client_trust.ca_pem = make_self_signed({"client"})->chain_pem;
  fail_to_connect();
  EXPECT_EQ(server_end(), Code::certificate_rejected);
  EXPECT_EQ(server_end().evidence(), "the peer showed no certificate");
  EXPECT_EQ(client_end(), Code::certificate_refused);
  EXPECT_TRUE(holds(client_end().evidence(), "certificate required"));
}

TEST_F(TrustTest, AClientsCertificateIsJudgedAndSeen) {
  const Certificate mine = make_self_signed({"client"}).value();
  pair.server_options.client_trust.ca_pem = mine.chain_pem;
  pair.client_options.certificate = mine;
  pair.start();
  pair.connect();
  EXPECT_EQ(pair.server->info().peer_certificates.size(), 1u);
}

TEST_F(TrustTest, AStrangersCertificateIsRejectedByTheServer) {
  pair.server_options.client_trust.ca_pem = make_self_signed({"client"})->chain_pem;
  pair.client_options.certificate = make_self_signed({"stranger"}).value();
  fail_to_connect();
  EXPECT_EQ(server_end(), Code::certificate_rejected);
  EXPECT_TRUE(holds(server_end().evidence(), "stranger"));
  EXPECT_EQ(client_end(), Code::certificate_refused);
}

struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("riffle-trust-test-" + std::to_string(::getpid()));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name) << text;
    return path / name;
  }
};

TEST_F(TrustTest, FilesAreReadAndAKeyLogIsWritten) {
  const Folder folder;
  const std::string chain = folder.write("chain.pem", pair.identity.chain_pem);
  pair.server_options.certificate = from_files(chain, folder.write("key.pem", pair.identity.key_pem));
  pair.client_options.trust = ca_file(chain);
  pair.client_options.transport.key_log_file = folder.path / "keys.log";
  pair.start();
  pair.connect();
  std::ifstream log(folder.path / "keys.log");
  const std::string text((std::istreambuf_iterator<char>(log)), {});
  EXPECT_TRUE(holds(text, "CLIENT_TRAFFIC_SECRET_0 "));
  EXPECT_EQ(pin_of(from_files(chain, "")).value(), pin_of(pair.identity).value());
}

TEST_F(TrustTest, ErrorsNameTheOption) {
  pair.client_options.trust = ca_file("/nowhere/ca.pem");
  EXPECT_EQ(refused_client(), Code::file_unreadable);
  EXPECT_EQ(refused_client().system(), ENOENT);
  EXPECT_TRUE(holds(refused_client().evidence(), "trust.ca_file: /nowhere/ca.pem"));
  pair.client_options.trust = ca_pem("junk");
  EXPECT_EQ(refused_client(), Code::certificate_unusable);
  pair.client_options.trust = {};
  EXPECT_EQ(refused_client(), Code::invalid_argument);
  pair.client_options.trust = pinned("abc");
  EXPECT_TRUE(holds(refused_client().evidence(), "abc"));
  pair.client_options.trust = insecure_no_verification();
  pair.client_options.transport.congestion_control = "vegas";
  EXPECT_TRUE(holds(refused_client().evidence(), "congestion_control: \"vegas\""));
  pair.client_options.transport.congestion_control = "cubic";
  pair.client_options.transport.version = 5;
  EXPECT_TRUE(holds(refused_client().evidence(), "version: 0x5"));

  pair.server_options.certificate = from_pem(pair.identity.chain_pem, make_self_signed({"a.test"})->key_pem);
  EXPECT_EQ(refused_server(), Code::certificate_unusable);
  EXPECT_TRUE(holds(refused_server().evidence(), "does not belong"));
  pair.server_options.certificate = pair.identity;
  pair.server_options.by_name = {{.name = "", .certificate = pair.identity}};
  EXPECT_TRUE(holds(refused_server().evidence(), "by_name"));
}

TEST_F(TrustTest, ACertificateNeedsNamesAndDays) {
  EXPECT_EQ(make_self_signed({}).error(), Code::invalid_argument);
  EXPECT_EQ(make_self_signed({"a.test"}, 0).error(), Code::invalid_argument);
  EXPECT_EQ(make_self_signed({"a.test"}, -3).error().evidence(), "days: -3 is not at least 1");
  EXPECT_EQ(make_self_signed({"a.test"}, 40'000).error(), Code::invalid_argument);
  EXPECT_EQ(pin_of(from_pem("junk", "")).error(), Code::certificate_unusable);
  EXPECT_EQ(pin_of(from_files("/nowhere/chain.pem", "")).error(), Code::file_unreadable);
  EXPECT_EQ(pin_of(pair.identity)->size(), 64u);
}

TEST_F(TrustTest, AConnectionWithoutANameIsRefusedWhereNamesAreChecked) {
  auto configuration = pair.stack.configure(pair.client_options).value();
  auto made = configuration->connect("", connection_id(1), pair.client_address, pair.server_address);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error(), Code::invalid_argument);
  EXPECT_TRUE(holds(made.error().evidence(), "server_name"));
}

}  // namespace
}  // namespace riffle::quiche
