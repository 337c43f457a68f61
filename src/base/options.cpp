// The checks of every option, each with a sentence that names it (CFG-1, CFG-5), and the short ways to spell some.
#include <riffle/options.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace riffle {
inline namespace v1 {
namespace {

Result<void> bad(const char* option, const std::string& why) {
  return fail(Code::invalid_argument, std::string(option) + " " + why);
}

/// RFC 9000 section 16: a variable-length integer holds at most 2^62 - 1.
constexpr std::uint64_t largest_varint = (std::uint64_t{1} << 62) - 1;

Result<void> check_alpn(const std::vector<std::string>& alpn) {
  if (alpn.empty()) return bad("alpn", "must name at least one protocol");
  std::size_t whole = 0;
  for (const std::string& name : alpn) {
    // RFC 7301 section 3.1: "opaque ProtocolName<1..2^8-1>", all of them in 2^16-1 bytes.
    if (name.empty() || name.size() > 255)
      return bad("alpn", "names must have 1 to 255 bytes, not " + std::to_string(name.size()));
    whole += name.size() + 1;
  }
  if (whole > 65535) return bad("alpn", "is too long as a whole");
  return {};
}

Result<void> check_sizes(const quic::Transport& t) {
  if (t.max_streams_bidi > (std::uint64_t{1} << 60)) return bad("transport.max_streams_bidi", "must be at most 2^60");
  if (t.max_streams_uni > (std::uint64_t{1} << 60)) return bad("transport.max_streams_uni", "must be at most 2^60");
  if (t.stream_window == 0) return bad("transport.stream_window", "must not be 0: nothing could be received");
  for (const auto& [window, option] : {std::pair{t.stream_window, "transport.stream_window"},
                                       {t.connection_window, "transport.connection_window"},
                                       {t.max_stream_window, "transport.max_stream_window"},
                                       {t.max_connection_window, "transport.max_connection_window"}}) {
    if (window > largest_varint) return bad(option, "must be at most 2^62 - 1");
  }
  if (t.max_stream_window != 0 && t.max_stream_window < t.stream_window) {
    return bad("transport.max_stream_window", "must not be below stream_window");
  }
  if (t.max_connection_window != 0 && t.max_connection_window < t.connection_window) {
    return bad("transport.max_connection_window", "must not be below connection_window");
  }
  // RFC 9000 section 18.2: "Values below 1200 are invalid."
  if (t.max_receive_payload < 1200) return bad("transport.max_receive_payload", "must be at least 1200");
  if (t.max_send_payload < 1200) return bad("transport.max_send_payload", "must be at least 1200");
  if (t.max_receive_payload > 65527) return bad("transport.max_receive_payload", "must be at most 65527");
  return {};
}

Result<void> check_transport(const quic::Transport& t) {
  const bool is_reserved = (t.version & 0x0f0f0f0fu) == 0x0a0a0a0au;  // RFC 9000 section 15
  if (t.version != 1 && !is_reserved) return bad("transport.version", "must be 1, or a reserved 0x?a?a?a?a");
  if (t.idle_timeout.count() < 0) return bad("transport.idle_timeout", "must not be negative");
  if (t.handshake_timeout.count() <= 0) return bad("transport.handshake_timeout", "must be above 0");
  if (t.keep_alive.count() < 0) return bad("transport.keep_alive", "must not be negative");
  if (t.keep_alive.count() > 0 && t.idle_timeout.count() > 0 && t.keep_alive >= t.idle_timeout) {
    return bad("transport.keep_alive", "must be below idle_timeout, or the connection ends first");
  }
  if (auto sizes = check_sizes(t); !sizes) return sizes;
  // RFC 9000 section 18.2: "Values above 20 are invalid", "Values of 2^14 or greater are invalid", "MUST be at least
  // 2".
  if (t.ack_delay_exponent > 20) return bad("transport.ack_delay_exponent", "must be at most 20");
  if (t.max_ack_delay.count() < 0 || t.max_ack_delay.count() >= 16384)
    return bad("transport.max_ack_delay", "must be 0 to 16383 ms");
  if (t.active_connection_id_limit < 2) return bad("transport.active_connection_id_limit", "must be at least 2");
  const std::string& name = t.congestion_control;
  if (name != "cubic" && name != "reno" && name != "bbr2" && name != "bbr" && name != "bbr2_gcongestion") {
    return bad("transport.congestion_control", "must be cubic, reno or bbr2, not '" + name + "'");
  }
  return {};
}

Result<void> check_limits(const StreamLimits& limits, const quic::Transport& transport) {
  if (limits.receive_list < 4096) return bad("limits.receive_list", "must be at least 4096");
  if (limits.send_credit < 4096) return bad("limits.send_credit", "must be at least 4096");
  if (limits.send_credit_max < limits.send_credit)
    return bad("limits.send_credit_max", "must not be below send_credit");
  if (limits.session_send_credit < limits.send_credit)
    return bad("limits.session_send_credit", "must not be below send_credit");
  if (limits.accept_backlog == 0) return bad("limits.accept_backlog", "must be at least 1");
  // Unread bytes hold the connection's window too (facts: one stalled reader of 64 froze the others at 4 MiB), and
  // quiche moves MAX_DATA only below half of it.
  const std::uint64_t needed = 2 * (std::uint64_t{limits.stalled_readers_tolerated} + 1) * transport.stream_window;
  if (transport.connection_window != 0 && transport.connection_window < needed) {
    return bad("transport.connection_window",
               "must be at least 2 * (stalled_readers_tolerated + 1) * stream_window = " + std::to_string(needed) +
                   ", or stalled readers would stop the others");
  }
  const std::uint64_t held =
      std::uint64_t{limits.stalled_readers_tolerated} * (transport.stream_window + limits.receive_list);
  if (limits.session_receive_budget != 0 && limits.session_receive_budget < held) {
    return bad("limits.session_receive_budget",
               "must be at least stalled_readers_tolerated * (stream_window + "
               "receive_list) = " +
                   std::to_string(held));
  }
  return {};
}

Result<void> check_trust(const Trust& trust, const char* option) {
  for (const std::string& pin : trust.pins) {
    const bool is_hex = std::all_of(pin.begin(), pin.end(), [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    });
    if (pin.size() != 64 || !is_hex) return bad(option, "pins are SPKI SHA-256 as 64 hex digits, not '" + pin + "'");
  }
  return {};
}

Result<void> check_certificate(const Certificate& certificate, const char* option) {
  if (certificate.empty()) return bad(option, "is needed: from_files, from_pem or make_self_signed");
  if (certificate.chain_file.empty() ? certificate.key_pem.empty() : certificate.key_file.empty()) {
    return bad(option, "has a chain but no private key");
  }
  return {};
}

}  // namespace

Certificate from_files(std::string chain_file, std::string key_file) {
  return {.chain_file = std::move(chain_file), .key_file = std::move(key_file), .chain_pem = {}, .key_pem = {}};
}
Certificate from_pem(std::string chain_pem, std::string key_pem) {
  return {.chain_file = {}, .key_file = {}, .chain_pem = std::move(chain_pem), .key_pem = std::move(key_pem)};
}

Trust system_store() {
  Trust trust;
  trust.system_store = true;
  return trust;
}
Trust ca_file(std::string path) {
  Trust trust;
  trust.ca_file = std::move(path);
  return trust;
}
Trust ca_directory(std::string path) {
  Trust trust;
  trust.ca_directory = std::move(path);
  return trust;
}
Trust ca_pem(std::string pem) {
  Trust trust;
  trust.ca_pem = std::move(pem);
  return trust;
}
Trust pinned(std::string spki_sha256_hex) {
  Trust trust;
  trust.pins.push_back(std::move(spki_sha256_hex));
  return trust;
}
Trust insecure_no_verification() {
  Trust trust;
  trust.insecure = true;
  return trust;
}

namespace quic {

Result<void> Client::validate() const {
  if (auto target = HostPort::parse(address.get()); !target)
    return bad("address", "is no host:port: " + target.error().evidence());
  if (HostPort::parse(address.get())->host.empty()) return bad("address", "has no host in '" + address.get() + "'");
  if (HostPort::parse(address.get())->port == 0) return bad("address", "has port 0 in '" + address.get() + "'");
  if (auto ok = check_alpn(alpn.get()); !ok) return ok;
  if (auto ok = check_trust(trust, "trust"); !ok) return ok;
  if (!certificate.empty()) {
    if (auto ok = check_certificate(certificate, "certificate"); !ok) return ok;
  }
  if (delivery && delivery->mode != Delivery::Mode::passive && handler == nullptr) {
    return bad("delivery", "can be active only with a handler to deliver to");
  }
  if (auto ok = check_limits(limits, transport); !ok) return ok;
  return check_transport(transport);
}

Result<void> Server::validate() const {
  if (auto target = HostPort::parse(address.get()); !target)
    return bad("address", "is no host:port: " + target.error().evidence());
  if (auto ok = check_certificate(certificate.get(), "certificate"); !ok) return ok;
  for (const NamedCertificate& named : by_name) {
    if (named.name.empty()) return bad("by_name", "needs a name for each certificate");
    if (auto ok = check_certificate(named.certificate, "by_name"); !ok) return ok;
  }
  if (auto ok = check_alpn(alpn.get()); !ok) return ok;
  if (auto ok = check_trust(client_trust, "client_trust"); !ok) return ok;
  if (delivery && delivery->mode != Delivery::Mode::passive && handler == nullptr) {
    return bad("delivery", "can be active only with a handler to deliver to");
  }
  if (max_sessions == 0) return bad("max_sessions", "must be at least 1");
  if (max_handshakes == 0) return bad("max_handshakes", "must be at least 1");
  if (accept_backlog == 0) return bad("accept_backlog", "must be at least 1");
  if (transport.version != 1) return bad("transport.version", "must be 1 for a server");
  if (auto ok = check_limits(limits, transport); !ok) return ok;
  return check_transport(transport);
}

}  // namespace quic

Result<void> EngineOptions::validate() const {
  if (command_queue == 0) return bad("command_queue", "must be at least 1");
  if (receive_budget < 65536) return bad("receive_budget", "must be at least 65536");
  if (send_budget < 65536) return bad("send_budget", "must be at least 65536");
  if (socket_buffer < 65536) return bad("socket_buffer", "must be at least 65536");
  return {};
}

}  // namespace v1
}  // namespace riffle
