// A listener and a client that connects to it, as two programs over the public API would have it.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include <riffle/riffle.hpp>
#include "simulation.hpp"
#include "watched.hpp"

namespace riffle::sim {

/// The options that a scenario may want other than usual; both ends get them.
struct PairOptions {
  quic::Transport transport;
  StreamLimits limits;
  Delivery delivery = active;
};

/// Purpose: starts both ends, and checks how they end.
/// Contract: call `finish` last; it proves that nothing is left of the sessions.
class Pair {
 public:
  using MakeHandler = std::function<std::shared_ptr<Handler>()>;
  /// The session with the conditions' timeouts in it.
  static PairOptions usual(const Simulation& simulation);
  Pair(Simulation& simulation, const PairOptions& options, std::shared_ptr<Handler> client, MakeHandler server);
  /// The engines go with it: what its handlers stand on may go next.
  ~Pair();
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  Watched& client() noexcept { return *client_; }
  const Session& session() const noexcept { return session_; }
  const Listener& listener() const noexcept { return listener_; }
  /// The server's end of the client's session; null until it is connected. A duplicate of the client's first datagram
  /// may make further ones that never come to be connected.
  Watched* server() noexcept;
  bool is_connected() { return client().is_connected() && server() != nullptr; }
  bool are_all_closed() const noexcept;

  /// Waits for the end of both ends after one of them closed with `code` and `reason`, and checks what each was told.
  void expect_close(Host by, AppCode code, std::string_view reason);
  /// Waits for the end of both ends by silence.
  void expect_silence();
  /// True when the conditions allow that the connection was lost to a partition, and it was: both ends know by then.
  bool was_cut_off();
  /// No session, no socket is left; the engines stop.
  void finish();

 private:
  void expect_reason(const Watched& end, bool right);
  bool wait_for_ends(Duration limit);

  Simulation& simulation_;
  std::shared_ptr<Watched> client_;
  std::vector<std::shared_ptr<Watched>> servers_;
  Listener listener_;
  Session session_;
};

}  // namespace riffle::sim
