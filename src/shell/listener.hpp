// A listener: one socket, the sessions behind it, and who may come in (SRV-1, SRV-5).
#pragma once

#include <array>
#include <deque>
#include <memory>

#include <riffle/engine.hpp>
#include <riffle/options.hpp>
#include "core/quic/routing.hpp"
#include "meet/listener_meet.hpp"
#include "shell/loop_context.hpp"
#include "shell/session_driver.hpp"
#include "shell/udp_endpoint.hpp"

namespace riffle::shell {

/// Where a listener's new sessions live.
class SessionHome {
 public:
  virtual SessionDriver& add_session(SessionDriver::Parts parts, SessionOwner& owner) = 0;
  /// One of them is over: it goes as soon as its transport has nothing left to do.
  virtual void note_session_over() = 0;

 protected:
  ~SessionHome() = default;
};

/// Threads: the loop's. Lifetime: until it is closed and its last session is gone, for they share the socket.
class ListenerDriver final : public DatagramSink, public SessionOwner {
 public:
  ListenerDriver(LoopContext& context, SessionHome& home, quic::Server options,
                 std::unique_ptr<core::QuicConfiguration> configuration, meet::Held<meet::ListenerMeet> shared);
  ~ListenerDriver();

  Result<void> begin(std::unique_ptr<net::DatagramPort> port);
  void on_attention(std::uint32_t bits);
  /// Attention to a listener that is gone: nobody accepts there any more.
  static void settle_late(meet::ListenerMeet& shared);
  void close();
  bool is_closed() const noexcept { return shared_->is_closed.load(); }
  bool is_spent() const noexcept { return is_closed() && drivers_ == 0; }
  /// A session behind it is about to be destroyed.
  void on_destroyed(SessionDriver& driver);
  bool owns(const SessionDriver& driver) const noexcept { return endpoint_ && driver.is_on(*endpoint_); }
  net::DatagramPort* port() noexcept { return endpoint_ ? &endpoint_->port() : nullptr; }

 private:
  void on_datagram(std::span<std::byte> datagram, const core::Arrival& arrival, Instant now) override;
  void on_socket_error(const UdpEndpoint& endpoint, int system, Instant now) override;
  void on_session_connected(SessionDriver& driver, Instant now) override;
  void on_session_over(SessionDriver& driver, Instant now) override;

  SessionDriver* accept(const core::PacketHeader& header, std::span<std::byte> datagram, const core::Arrival& arrival,
                        Instant now);
  void refuse(const core::ConnectionId& first, std::span<std::byte> datagram, const core::Arrival& arrival,
              Instant now);
  bool was_refused(const core::ConnectionId& first) const noexcept;
  void negotiate_version(const core::PacketHeader& header, const core::Arrival& arrival);
  void hand_out();
  void answer_stats(meet::Asking& asking);
  static void finish(meet::ListenerMeet& shared, meet::Asking& asking);

  struct Route {
    core::ConnectionId own;
    core::ConnectionId first;  ///< the client's first id for us, until the handshake is done
    bool is_handshaking = true;
  };

  LoopContext& context_;
  SessionHome& home_;
  quic::Server options_;
  core::SessionOptions session_options_;
  std::unique_ptr<core::QuicConfiguration> configuration_;
  meet::Held<meet::ListenerMeet> shared_;
  std::unique_ptr<UdpEndpoint> endpoint_;
  core::RoutingTable<SessionDriver> routes_;
  std::unordered_map<const SessionDriver*, Route> drivers_routes_;
  std::uint64_t drivers_ = 0;
  std::uint64_t handshakes_ = 0;
  /// The first ids of clients that were refused last. A ClientHello takes two datagrams and more: one client, one
  /// answer.
  std::array<core::ConnectionId, 64> refused_{};
  std::size_t next_refused_ = 0;
  std::deque<Session> waiting_;  // connected, not yet accepted
  meet::Asking* askings_ = nullptr;
};

}  // namespace riffle::shell
