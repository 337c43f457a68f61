// Forwarding: TCP connections of other programs carried over a session, a stream each.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <riffle/engine.hpp>
#include <riffle/error.hpp>
#include <riffle/session.hpp>

namespace riffle {
inline namespace v1 {
namespace forward {

/// A secret that both ends share, presented by the client on its first stream (CLI-2).
using Secret = std::array<std::uint8_t, 16>;

/// Counters of one end; read from any thread.
struct Stats {
  std::uint64_t connections = 0;         ///< forwarded so far
  std::uint64_t active = 0;
  std::uint64_t failed = 0;              ///< refused, or the target could not be reached
  std::uint64_t bytes_to_session = 0;    ///< read from sockets
  std::uint64_t bytes_to_sockets = 0;    ///< written to sockets
};

/// The far end: takes streams in and connects them to targets.
/// On the wire (ALPN `riffle/1`): the client's first stream carries the secret; each further stream begins with a u16
/// length (big-endian) and "host:port"; one status byte answers (0 connected, else a Refusal); then bytes, half-close
/// kept on both sides.
struct ServerOptions {
  Secret secret{};
  std::vector<std::string> allow;        ///< "host:port" as the client must write it; nothing else is connected to
  std::function<void(const std::string& line)> log;  ///< one line a change; may be called from any thread
};

enum class Refusal : std::uint8_t { none = 0, not_allowed = 1, unresolvable = 2, unreachable = 3, busy = 4 };

/// Purpose: serves forwarding on an engine. Set `handler()` as the listener's factory.
class Server {
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
  explicit Server(std::shared_ptr<Impl> impl) noexcept;
  std::shared_ptr<Impl> impl_;
};

/// One listening address here and its target there.
struct Forward {
  std::string listen;                    ///< "addr:port", port 0 takes a free one
  std::string target;                    ///< "host:port" as the server resolves it
};

struct ClientOptions {
  Secret secret{};
  std::vector<Forward> forwards;
  std::function<void(const std::string& line)> log;
};

/// Purpose: the near end: listens on TCP and carries each connection over `session`.
/// Lifetime: forwards while it exists and the session lives. Bytes are lost only when the session is.
class Client {
 public:
  /// `session` must have been connected with ALPN `riffle/1`.
  static Result<Client> start(const Engine& engine, Session session, ClientOptions options);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();
  /// Where each forward listens, in the order of the options.
  std::vector<Address> listening() const;
  Stats stats() const noexcept;

 private:
  struct Impl;
  explicit Client(std::shared_ptr<Impl> impl) noexcept;
  std::shared_ptr<Impl> impl_;
};

}  // namespace forward
}  // namespace v1
}  // namespace riffle
