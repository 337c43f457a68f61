// Drives one session: feeds its core, carries its actions out, runs its handler.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <riffle/handler.hpp>
#include <riffle/options.hpp>
#include <riffle/session.hpp>
#include "core/quic/quic_port.hpp"
#include "core/session/session.hpp"
#include "shell/loop_context.hpp"
#include "shell/udp_endpoint.hpp"

namespace riffle::shell {

/// Who is told what becomes of a driver (the engine, and its listener).
class SessionOwner {
 public:
  virtual void on_session_connected(class SessionDriver& driver, Instant now) = 0;
  virtual void on_session_over(class SessionDriver& driver, Instant now) = 0;

 protected:
  ~SessionOwner() = default;
};

/// Purpose: see above. A client may try several addresses at once (Happy Eyeballs, RFC 8305); the first transport whose
/// handshake is done becomes the session's.
/// Threads: the loop's. Lifetime: owned by the engine; may be destroyed once `is_spent`.
class SessionDriver final : public runtime::Machine, private DatagramSink {
 public:
  struct Parts {
    meet::Held<meet::SessionMeet> shared;
    std::shared_ptr<Handler> handler;
    core::SessionOptions session;
    std::shared_ptr<core::QuicConfiguration> configuration;
    std::chrono::nanoseconds keep_alive{0};
    std::string server_name;
  };
  SessionDriver(LoopContext& context, SessionOwner& owner, Parts parts);
  ~SessionDriver() override;

  /// A client's addresses, in the order in which they are to be tried.
  void connect(std::vector<Address> addresses, Instant now);
  void fail(Error why, Instant now);
  /// A server's connection, on its listener's socket.
  void serve(std::unique_ptr<core::QuicConnection> connection, UdpEndpoint& endpoint, Instant now);
  /// One datagram of a server's connection.
  void on_routed_datagram(std::span<std::byte> datagram, const core::Arrival& arrival, Instant now);
  void on_attention(meet::Attendee& attendee, std::uint32_t bits, Instant now);
  void close(core::StreamPort::CloseKind kind, std::uint64_t code, std::string_view reason, Error why);

  // Machine.
  void on_deadline(Instant now) override;
  void run_actions(Instant now) override;
  bool transmit(Instant now) override;
  Instant next_deadline() const noexcept override;
  bool has_work() const noexcept override { return session_.is_dirty() || !session_.actions.empty(); }

  core::Session& session() noexcept { return session_; }
  meet::SessionMeet& shared() noexcept { return *parts_.shared; }
  core::QuicConnection* connection() noexcept { return connection_; }
  Handler* handler() noexcept { return parts_.handler.get(); }
  LoopContext& context() noexcept { return context_; }
  Instant now() const noexcept { return context_.loop.now(); }
  /// The session is over and its transport has nothing left to do.
  bool is_spent() const noexcept;
  /// The peer has been told of the end as far as it ever will be.
  bool has_said_goodbye() const noexcept;
  bool is_on(const UdpEndpoint& endpoint) const noexcept { return endpoint_ == &endpoint; }
  /// The transport goes; its blocks are on the released list afterwards.
  void drop_transport() noexcept;

 private:
  /// One address that a client tries.
  struct Attempt {
    Address peer;
    std::unique_ptr<UdpEndpoint> endpoint;
    std::unique_ptr<core::QuicConnection> connection;
    bool has_failed = false;
  };

  void on_datagram(std::span<std::byte> datagram, const core::Arrival& arrival, Instant now) override;
  void on_socket_error(const UdpEndpoint& endpoint, int system, Instant now) override;
  void next_attempt(Instant now);
  Result<void> begin_attempt(const Address& peer);
  void check_attempts(Instant now);
  void adopt(std::size_t winner, Instant now);
  bool transmit_from(core::StreamPort* port, UdpEndpoint& endpoint, Instant now);
  void run(const core::Action& action, Instant now);
  void deliver(StreamId id, Instant now);
  void reply(meet::Asking& asking);
  void answer_questions();
  SessionInfo info() const;
  FullStats stats() const;
  template <class F>
  void call(F&& callback);
  void on_handler_fault(const char* what);
  void note_activity(Instant now) noexcept;

  LoopContext& context_;
  SessionOwner& owner_;
  Parts parts_;
  core::Session session_;

  std::vector<Address> addresses_;  // not yet tried, the next one last
  std::vector<Attempt> attempts_;
  Error last_failure_{Code::unreachable};
  Instant next_attempt_at_ = never;
  std::unique_ptr<core::QuicConnection> owned_connection_;
  std::unique_ptr<UdpEndpoint> owned_endpoint_;
  core::QuicConnection* connection_ = nullptr;
  UdpEndpoint* endpoint_ = nullptr;
  Address peer_;
  Instant keep_alive_at_ = never;
  bool told_over_ = false;
  bool sent_close_ = false;
};

}  // namespace riffle::shell
