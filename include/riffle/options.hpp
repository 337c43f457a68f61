// Options: plain structs with defaults that are right for a new user, filled by designated initialisers (CFG-5).
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <riffle/address.hpp>
#include <riffle/error.hpp>
#include <riffle/ids.hpp>

namespace riffle {
inline namespace v1 {

class Handler;

/// Purpose: an option that must be given. Leaving it out does not compile.
template <class T>
class required {
 public:
  required() = delete;
  template <class U>
    requires std::constructible_from<T, U&&> && (!std::same_as<std::remove_cvref_t<U>, required>)
  required(U&& value) : value_(std::forward<U>(value)) {}  // NOLINT: implicit on purpose
  /// For lists: `.alpn = {"echo"}`, whatever the words are made of.
  template <class E>
    requires std::constructible_from<typename T::value_type, const E&>
  required(std::initializer_list<E> list) : value_(list.begin(), list.end()) {}  // NOLINT
  const T& get() const noexcept { return value_; }
  operator const T&() const noexcept { return value_; }  // NOLINT

 private:
  T value_;
};

/// How the bytes that arrive on a stream reach the application (STR-3).
struct Delivery {
  enum class Mode : std::uint8_t {
    passive,  ///< the application reads
    active,   ///< data is pushed as it comes
    counted,  ///< `count` deliveries, then passive, with a notice (`on_deliveries_used_up`)
  };
  Mode mode = Mode::passive;
  std::uint32_t count = 0;
  friend bool operator==(const Delivery&, const Delivery&) = default;
};
inline constexpr Delivery passive{Delivery::Mode::passive, 0};
inline constexpr Delivery active{Delivery::Mode::active, 0};
inline constexpr Delivery active_once{Delivery::Mode::counted, 1};
constexpr Delivery active_times(std::uint32_t count) { return {Delivery::Mode::counted, count}; }

/// Credit and budgets of a session's streams, in bytes (design/streams.md; STR-4, STR-7, ENG-10).
struct StreamLimits {
  std::uint32_t receive_list = 256 * 1024;          ///< held for a passive reader, each stream
  std::uint32_t send_credit = 256 * 1024;           ///< accepted ahead of the transport, each stream, at first
  std::uint32_t send_credit_max = 4 * 1024 * 1024;  ///< what the credit may grow to with the measured drain rate
  std::uint64_t session_send_credit = 64ull * 1024 * 1024;  ///< the same for all streams of a session together
  /// Bytes that the session's streams may hold unread, our lists and what is parked in the transport together.
  /// 0: stalled_readers_tolerated * (stream window + receive_list).
  std::uint64_t session_receive_budget = 0;
  /// So many readers may stop without costing any other stream anything; the next one is told as `session_blocked`.
  std::uint32_t stalled_readers_tolerated = 64;
  /// Peer's streams that are open and not yet taken by the application (accept); beyond it they are refused.
  std::uint32_t accept_backlog = 1024;
};

/// A certificate chain with its private key, from PEM files or PEM text.
struct Certificate {
  std::string chain_file, key_file;  ///< or
  std::string chain_pem, key_pem;
  bool empty() const noexcept { return chain_file.empty() && chain_pem.empty(); }
};
Certificate from_files(std::string chain_file, std::string key_file);
Certificate from_pem(std::string chain_pem, std::string key_pem);
/// Makes a P-256 key and a certificate for `names` (DNS names or IP addresses), signed by itself, valid for `days`.
/// The result is PEM text: write it to files of mode 0600 to keep it.
Result<Certificate> make_self_signed(const std::vector<std::string>& names, int days = 365);
/// The pin of a certificate: SHA-256 of its SubjectPublicKeyInfo (RFC 7469 section 2.4), as 64 hex digits.
Result<std::string> pin_of(const Certificate& certificate);

/// Whom to believe. Verification is on; the only way around it is named `insecure_no_verification`.
struct Trust {
  bool system_store = false;
  std::string ca_file, ca_directory, ca_pem;
  /// SPKI SHA-256 as 64 hex digits. Pins alone replace the chain and name checks; with a CA both must hold.
  std::vector<std::string> pins;
  bool insecure = false;
};
Trust system_store();
Trust ca_file(std::string path);
Trust ca_directory(std::string path);
Trust ca_pem(std::string pem);
Trust pinned(std::string spki_sha256_hex);
Trust insecure_no_verification();

/// Who is knocking.
struct Peer {
  Address address;
  Address local;
};

namespace quic {

/// What both ends of QUIC share (CFG-1, CFG-2, CFG-4). Sizes in bytes.
struct Transport {
  std::uint32_t version = 1;                       ///< 1, or a reserved 0x?a?a?a?a to provoke negotiation
  std::chrono::milliseconds idle_timeout{30'000};  ///< 0: none
  std::chrono::milliseconds handshake_timeout{10'000};
  std::chrono::milliseconds keep_alive{0};  ///< 0: off; else a PING after so much silence
  std::uint64_t max_streams_bidi = 1024;    ///< open at once, of the peer's
  std::uint64_t max_streams_uni = 1024;
  std::uint64_t stream_window = 1024 * 1024;  ///< each stream, each direction of opening
  /// 0: max(16 MiB, 2 * (stalled_readers_tolerated + 1) * stream_window), so that stalled readers hurt nobody.
  std::uint64_t connection_window = 0;
  std::uint64_t max_stream_window = 0;       ///< auto-tuning may grow to it; 0: stream_window
  std::uint64_t max_connection_window = 0;   ///< 0: connection_window
  std::uint16_t max_receive_payload = 1472;  ///< of a UDP datagram; at least 1200
  std::uint16_t max_send_payload = 1452;     ///< reached by path-MTU discovery; at least 1200
  bool path_mtu_discovery = true;
  bool disable_active_migration = false;
  bool grease = true;
  std::uint8_t ack_delay_exponent = 3;
  std::chrono::milliseconds max_ack_delay{25};
  std::uint64_t active_connection_id_limit = 4;
  std::string congestion_control = "cubic";  ///< cubic, reno, bbr2
  std::uint32_t initial_window_packets = 0;  ///< 0: quiche's default (10)
  std::string key_log_file;                  ///< NSS key log format, appended
};

/// A client's connection. `address` is "host:port"; the host is also the name that the certificate must bear.
struct Client {
  required<std::string> address;
  Trust trust = riffle::system_store();
  required<std::vector<std::string>> alpn;          ///< in order of preference
  Certificate certificate = {};                     ///< for servers that ask for one
  std::string server_name = {};                     ///< SNI and name check, if it is not the host
  std::optional<Delivery> delivery = std::nullopt;  ///< of new streams; unset: active with a handler, else passive
  StreamLimits limits = {};
  Transport transport = {};
  std::shared_ptr<Handler> handler = nullptr;

  /// Checks every value; the error names the option.
  Result<void> validate() const;
};

struct NamedCertificate {
  std::string name;  ///< "example.org" or "*.example.org"
  Certificate certificate;
};

/// A listener. `address` is "host:port"; port 0 takes a free one; "[::]:0" is dual-stack.
struct Server {
  required<std::string> address;
  required<Certificate> certificate;
  std::vector<NamedCertificate> by_name = {};  ///< chosen by SNI before `certificate`
  Trust client_trust = {};                     ///< given: clients must show a certificate that it accepts
  required<std::vector<std::string>> alpn;
  /// Makes the handler of each session; returning null refuses it. Without it, use Listener::accept.
  std::function<std::shared_ptr<Handler>(const Peer&)> handler = nullptr;
  std::optional<Delivery> delivery = std::nullopt;  ///< of new streams; unset: active with a handler, else passive
  StreamLimits limits = {};
  Transport transport = {};
  std::uint32_t max_sessions = 100'000;  ///< beyond it new ones are refused
  std::uint32_t max_handshakes = 1024;   ///< in progress at once; beyond it new ones are ignored
  std::uint32_t accept_backlog = 256;    ///< sessions waiting for Listener::accept

  Result<void> validate() const;
};

}  // namespace quic

/// Budgets and switches of an engine.
struct EngineOptions {
  std::uint32_t command_queue = 4096;                    ///< connects, listens and opens under way
  std::uint64_t receive_budget = 1024ull * 1024 * 1024;  ///< unread bytes of all sessions together
  std::uint64_t send_budget = 1024ull * 1024 * 1024;     ///< unsent bytes of all sessions together
  std::uint32_t socket_buffer = 4 * 1024 * 1024;         ///< asked of the kernel, each way, bytes
  bool gso = true;                                       ///< UDP_SEGMENT; off: sendmmsg (UDP-5)
  bool gro = true;                                       ///< UDP_GRO; off: recvmmsg
  bool eventfd = true;                                   ///< off: a pipe wakes the loop

  Result<void> validate() const;
};

}  // namespace v1
}  // namespace riffle
