#include "quiche/quiche_stack.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "base/thread_token.hpp"
#include "quiche/bridge_values.hpp"
#include "quiche/quiche_connection.hpp"

namespace riffle::quiche {
namespace {

struct FreeConfig {
  void operator()(rqb_config* config) const noexcept { rqb_config_free(config); }
};

/// The bridge's options with the lists that they point at; the texts stay the caller's.
struct Options {
  rqb_options raw{};
  std::vector<rqb_bytes> alpn;
  std::vector<rqb_bytes> pins;
  std::vector<rqb_certificate> certificates;
};

void set_transport(Options& out, const quic::Transport& in, const StreamLimits& limits) {
  rqb_options& raw = out.raw;
  raw.version = in.version;
  raw.path_mtu_discovery = in.path_mtu_discovery ? 1 : 0;
  raw.disable_active_migration = in.disable_active_migration ? 1 : 0;
  raw.grease = in.grease ? 1 : 0;
  raw.ack_delay_exponent = in.ack_delay_exponent;
  raw.initial_window_packets = in.initial_window_packets;
  raw.idle_timeout_ms = static_cast<std::uint64_t>(in.idle_timeout.count());
  raw.max_ack_delay_ms = static_cast<std::uint64_t>(in.max_ack_delay.count());
  raw.max_streams_bidi = in.max_streams_bidi;
  raw.max_streams_uni = in.max_streams_uni;
  raw.stream_window = in.stream_window;
  // The default is stated in options.hpp: readers that stop must not use up the connection's window (STR-4).
  constexpr std::uint64_t least = 16ull * 1024 * 1024;
  raw.connection_window =
      in.connection_window != 0
          ? in.connection_window
          : std::max(least, 2 * (std::uint64_t{limits.stalled_readers_tolerated} + 1) * in.stream_window);
  raw.max_stream_window = std::max(in.max_stream_window, in.stream_window);
  raw.max_connection_window = std::max(in.max_connection_window, raw.connection_window);
  raw.max_receive_payload = in.max_receive_payload;
  raw.max_send_payload = in.max_send_payload;
  raw.active_connection_id_limit = in.active_connection_id_limit;
  raw.congestion_control = to_bridge(in.congestion_control);
  raw.key_log_file = to_bridge(in.key_log_file);
}

bool is_given(const Trust& trust) {
  return trust.insecure || trust.system_store || !trust.ca_file.empty() || !trust.ca_directory.empty() ||
         !trust.ca_pem.empty() || !trust.pins.empty();
}

void set_trust(Options& out, const Trust& in) {
  rqb_options& raw = out.raw;
  raw.trust_given = is_given(in) ? 1 : 0;
  raw.insecure = in.insecure ? 1 : 0;
  raw.system_store = in.system_store ? 1 : 0;
  raw.ca_file = to_bridge(in.ca_file);
  raw.ca_directory = to_bridge(in.ca_directory);
  raw.ca_pem = to_bridge(in.ca_pem);
  for (const std::string& pin : in.pins) out.pins.push_back(to_bridge(pin));
}

void add_certificate(Options& out, std::string_view name, const Certificate& in) {
  out.certificates.push_back({.name = to_bridge(name),
                              .chain_file = to_bridge(in.chain_file),
                              .key_file = to_bridge(in.key_file),
                              .chain_pem = to_bridge(in.chain_pem),
                              .key_pem = to_bridge(in.key_pem)});
}

class Configuration final : public core::QuicConfiguration {
 public:
  Configuration(rqb_config* config, std::string offered_alpn)
      : config_(config), offered_alpn_(std::make_shared<const std::string>(std::move(offered_alpn))) {}

  Result<std::unique_ptr<core::QuicConnection>> connect(const std::string& server_name, const core::ConnectionId& scid,
                                                        const Address& local, const Address& peer) override {
    owner_.bind_if_free();
    owner_.check();
    const rqb_connection_id id = to_bridge(scid);
    const rqb_address here = to_bridge(local);
    const rqb_address there = to_bridge(peer);
    return wrap(rqb_connect(config_.get(), to_bridge(server_name), &id, &here, &there));
  }

  Result<std::unique_ptr<core::QuicConnection>> accept(const core::ConnectionId& scid,
                                                       const core::ConnectionId* original_dcid, const Address& local,
                                                       const Address& peer) override {
    owner_.bind_if_free();
    owner_.check();
    const rqb_connection_id id = to_bridge(scid);
    const rqb_connection_id original = original_dcid ? to_bridge(*original_dcid) : rqb_connection_id{};
    const rqb_address here = to_bridge(local);
    const rqb_address there = to_bridge(peer);
    return wrap(rqb_accept(config_.get(), &id, original_dcid ? &original : nullptr, &here, &there));
  }

 private:
  Result<std::unique_ptr<core::QuicConnection>> wrap(rqb_connection* connection) {
    if (!connection) return std::unexpected(last_error());
    return std::make_unique<QuicheConnection>(connection, offered_alpn_);
  }

  // Made by the thread that listens or connects, used by its loop.
  base::OwnedByThread owner_ = base::OwnedByThread::by_first_user();
  std::unique_ptr<rqb_config, FreeConfig> config_;
  std::shared_ptr<const std::string> offered_alpn_;
};

Result<std::unique_ptr<core::QuicConfiguration>> finish(Options& options, const std::vector<std::string>& alpn) {
  std::string offered;
  for (const std::string& name : alpn) {
    options.alpn.push_back(to_bridge(name));
    offered += (offered.empty() ? "" : ", ") + name;
  }
  options.raw.alpn = options.alpn.data();
  options.raw.alpn_count = options.alpn.size();
  options.raw.pins = options.pins.data();
  options.raw.pin_count = options.pins.size();
  options.raw.certificates = options.certificates.data();
  options.raw.certificate_count = options.certificates.size();
  rqb_config* const config = rqb_config_new(&options.raw);
  if (!config) return std::unexpected(last_error());
  return std::make_unique<Configuration>(config, std::move(offered));
}

}  // namespace

QuicheStack::QuicheStack() noexcept { start_bridge(); }

Result<std::unique_ptr<core::QuicConfiguration>> QuicheStack::configure(const quic::Client& in) {
  Options options;
  set_transport(options, in.transport, in.limits);
  set_trust(options, in.trust);
  if (!in.certificate.empty()) add_certificate(options, {}, in.certificate);
  return finish(options, in.alpn.get());
}

Result<std::unique_ptr<core::QuicConfiguration>> QuicheStack::configure(const quic::Server& in) {
  Options options;
  options.raw.is_server = 1;
  set_transport(options, in.transport, in.limits);
  set_trust(options, in.client_trust);
  add_certificate(options, {}, in.certificate.get());
  for (const quic::NamedCertificate& named : in.by_name) {
    if (named.name.empty()) return fail(Code::invalid_argument, "by_name: a certificate without a name");
    add_certificate(options, named.name, named.certificate);
  }
  return finish(options, in.alpn.get());
}

std::size_t QuicheStack::negotiate_version(const core::ConnectionId& scid, const core::ConnectionId& dcid,
                                           std::span<std::byte> out) {
  const rqb_connection_id source = to_bridge(scid);
  const rqb_connection_id destination = to_bridge(dcid);
  std::size_t written = 0;
  const int32_t code =
      rqb_negotiate_version(&source, &destination, reinterpret_cast<std::uint8_t*>(out.data()), out.size(), &written);
  return code == RQB_OK ? written : 0;
}

bool QuicheStack::is_version_supported(std::uint32_t version) const noexcept {
  return rqb_is_version_supported(version) != 0;
}

void QuicheStack::random(std::span<std::uint8_t> out) noexcept {
  RIFFLE_CHECK(rqb_random(out.data(), out.size()) == RQB_OK, "the random generator failed");
}

}  // namespace riffle::quiche
