#include "tests/session/families.hpp"

#include <algorithm>

#include "core/smux/engine.hpp"
#include "quiche/quiche_stack.hpp"

namespace riffle::test {
namespace {

Ports fake_ports(FakeWindows client, FakeWindows server) {
  auto one = std::make_unique<FakePort>(Role::client, client, server);
  auto other = std::make_unique<FakePort>(Role::server, server, client);
  FakePort::join(*one, *other);
  return {.client = std::move(one), .server = std::move(other)};
}

std::unique_ptr<core::smux::Engine> engine(Role role, FakeWindows ours, FakeWindows theirs, Instant now) {
  core::smux::Options options;
  options.role = role;
  options.window = static_cast<std::uint32_t>(ours.stream);
  options.first_window = static_cast<std::uint32_t>(ours.stream);
  options.peer_window = static_cast<std::uint32_t>(std::min<std::uint64_t>(theirs.stream, core::smux::unasked_window));
  options.max_streams = static_cast<std::uint32_t>(std::min(ours.streams_bidi, theirs.streams_bidi));
  return std::make_unique<core::smux::Engine>(options, now);
}

struct Quiche {
  quiche::QuicheStack stack;
  std::unique_ptr<core::QuicConfiguration> client, server;
};

quic::Transport transport(FakeWindows grants) {
  quic::Transport options;
  options.stream_window = grants.stream;
  options.connection_window = grants.connection;
  options.max_streams_bidi = grants.streams_bidi;
  options.max_streams_uni = grants.streams_uni;
  return options;
}

core::ConnectionId connection_id(std::uint8_t fill) {
  core::ConnectionId id;
  id.size = 16;
  std::fill_n(id.bytes.begin(), 16, fill);
  return id;
}

Ports quiche_ports(FakeWindows client, FakeWindows server) {
  static const Certificate identity = make_self_signed({"riffle.test"}).value();
  auto both = std::make_shared<Quiche>();
  Trust trust;
  trust.ca_pem = identity.chain_pem;
  both->client =
      both->stack
          .configure(quic::Client{
              .address = "riffle.test:443", .trust = trust, .alpn = {"riffle"}, .transport = transport(client)})
          .value();
  both->server =
      both->stack
          .configure(quic::Server{
              .address = ":443", .certificate = identity, .alpn = {"riffle"}, .transport = transport(server)})
          .value();
  const Address here = Address::loopback_v4(40001);
  const Address there = Address::loopback_v4(443);
  Ports ports;
  ports.client = both->client->connect("riffle.test", connection_id(0xc1), here, there).value();
  ports.server = both->server->accept(connection_id(0x5e), nullptr, there, here).value();
  ports.keep = std::move(both);
  return ports;
}

}  // namespace

std::string to_string(Family family) {
  switch (family) {
    case Family::fake:
      return "Fake";
    case Family::smux:
      return "Smux";
    case Family::quiche:
      return "Quiche";
  }
  return {};
}

Ports make_ports(Family family, FakeWindows client, FakeWindows server, Instant now) {
  switch (family) {
    case Family::fake:
      return fake_ports(client, server);
    case Family::smux:
      return {.client = engine(Role::client, client, server, now), .server = engine(Role::server, server, client, now)};
    case Family::quiche:
      return quiche_ports(client, server);
  }
  return {};
}

}  // namespace riffle::test
