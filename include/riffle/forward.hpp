// Forwarding: TCP connections of other programs carried over a session, a stream each.
//
// On the wire (ALPN `riffle/1`): the client's first bidirectional stream carries the 16-byte secret and a fin; the
// server answers one byte 0 and a fin, or closes the session with an application code and a sentence. Each further
// stream begins with a u16 length (big-endian) and "host:port", with payload right behind if there is any; one status
// byte answers (0 connected, else a Refusal); then bytes, half-close kept on both sides. A connection that was reset
// resets its stream, and the other way round.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <riffle/engine.hpp>
#include <riffle/error.hpp>
#include <riffle/session.hpp>

namespace riffle {
inline namespace v1 {
namespace forward {

/// The protocol's name for `alpn` of both ends.
inline constexpr std::string_view alpn = "riffle/1";

/// A secret that both ends share, presented by the client on its first stream (CLI-2). Nothing is forwarded before.
using Secret = std::array<std::uint8_t, 16>;

/// Counters of one end; read from any thread.
struct Stats {
  std::uint64_t connections = 0;       ///< forwarded so far
  std::uint64_t active = 0;            ///< being forwarded now
  std::uint64_t failed = 0;            ///< refused, or the target could not be reached
  std::uint64_t bytes_to_session = 0;  ///< read from sockets
  std::uint64_t bytes_to_sockets = 0;  ///< written to sockets
};

/// Why the server did not connect a stream.
enum class Refusal : std::uint8_t { none = 0, not_allowed = 1, unresolvable = 2, unreachable = 3, busy = 4 };
/// "the server does not allow that target", and so on.
std::string_view to_string(Refusal refusal) noexcept;

/// Application codes of this protocol, on streams and on the session.
inline constexpr AppCode connection_reset{1};  ///< the TCP connection behind the stream was reset, or failed
inline constexpr AppCode wrong_secret{2};      ///< the session's client presented no secret, or another one
inline constexpr AppCode bad_header{3};        ///< the stream did not begin with a target

/// The far end: takes streams in and connects them to targets.
struct ServerOptions {
  Secret secret{};
  std::vector<std::string> allow;          ///< "host:port" as the client must write it; nothing else is connected
  std::uint32_t max_connections = 16'384;  ///< of all sessions together; beyond it `busy`
  std::chrono::milliseconds secret_timeout{10'000};   ///< how long a session may take to present the secret
  std::chrono::milliseconds connect_timeout{10'000};  ///< for one connection to a target, all its addresses together
  std::function<void(const std::string& line)> log =
      nullptr;  ///< one line a change; called on a thread of the server's

  Result<void> validate() const;
};

/// Purpose: serves forwarding: give `handler()` to the listener, whose ALPN is `forward::alpn`.
/// Threads: any. It moves the bytes on one thread of its own and resolves names on another.
/// Lifetime: destroying it resets the connections; sessions that come later are refused.
class [[nodiscard]] Server {
 public:
  static Result<Server> make(ServerOptions options);
  Server(Server&&) noexcept;
  Server& operator=(Server&&) noexcept;
  ~Server();
  /// The factory for quic::Server::handler.
  std::function<std::shared_ptr<Handler>(const Peer&)> handler() const;
  Stats stats() const noexcept;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// One listening address here and its target there.
struct Forward {
  std::string listen;  ///< "addr:port", numeric; port 0 takes a free one
  std::string target;  ///< "host:port" as the server allows and resolves it
};

struct ClientOptions {
  Secret secret{};
  std::vector<Forward> forwards;
  std::chrono::milliseconds start_timeout{15'000};  ///< for connecting and presenting the secret together
  std::function<void(const std::string& line)> log =
      nullptr;  ///< one line a refusal; called on the client's own thread

  Result<void> validate() const;
};

/// Purpose: the near end: listens on TCP and carries each connection over one session of its own.
/// Threads: any; it moves the bytes on one thread of its own.
/// Lifetime: forwards while it exists and the session lives; destroying it closes the session with code 0 and resets
/// the connections that are still open.
class [[nodiscard]] Client {
 public:
  /// Connects (`connection.alpn` is set to `forward::alpn`, `connection.handler` to its own), presents the secret and
  /// listens. Waits, so not for a loop thread. A wrong secret is `refused`.
  static Result<Client> start(const Engine& engine, quic::Client connection, ClientOptions options);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();
  /// Where each forward listens, in the order of the options.
  const std::vector<Address>& listening() const noexcept;
  /// The session underneath: to wait for its end, to close it, for its statistics.
  Session session() const;
  Stats stats() const noexcept;

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forward
}  // namespace v1
}  // namespace riffle
