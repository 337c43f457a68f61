// A stream at the far end until its target is connected: header, name, connection.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <riffle/forward.hpp>
#include "net/tcp_socket.hpp"
#include "shell/forward/notice.hpp"
#include "shell/forward/pump.hpp"
#include "shell/forward/wire.hpp"

namespace riffle::forwarding {

/// Purpose: reads the header, has the target looked up, connects to its addresses one after the other, and ends with
/// a socket or a refusal. Threads: the pump's. Lifetime: its owner drops it when it says how it ended.
class Incoming final : public runtime::Pollable,
                       public NoticeTarget,
                       public std::enable_shared_from_this<Incoming>,
                       private Timed {
 public:
  class Owner {
   public:
    virtual bool allows(const std::string& target) const noexcept = 0;
    /// Answers by `on_resolved`, later; false where it cannot.
    virtual bool resolve(Incoming& incoming, const HostPort& name) = 0;
    /// How it ended. The stream and the notice are for the taking.
    virtual void on_connected(Incoming& incoming, net::TcpSocket socket) noexcept = 0;
    virtual void on_refused(Incoming& incoming, forward::Refusal refusal) noexcept = 0;
    /// The stream did not begin with a header, or ended before.
    virtual void on_broken(Incoming& incoming) noexcept = 0;

   protected:
    ~Owner() = default;
  };

  Incoming(Pump& pump, Owner& owner, Stream stream, Ref<Notice> notice, Duration connect_timeout);
  ~Incoming() override;

  /// Nothing is read before: the session has shown its secret.
  void start() noexcept { read_header(); }
  void on_resolved(std::vector<Address> addresses) noexcept;
  void on_notice(std::uint32_t happened) noexcept override;
  void on_ready(bool readable, bool writable) noexcept override;
  const std::string& target() const noexcept { return target_; }
  Stream take_stream() noexcept { return std::move(stream_); }
  Ref<Notice> take_notice() noexcept { return std::move(notice_); }

 private:
  enum class Stage : std::uint8_t { waiting, header, resolving, connecting, decided };

  void on_deadline() noexcept override;
  void read_header() noexcept;
  void on_header() noexcept;
  void connect_next() noexcept;
  void stop_connecting() noexcept;
  void refuse(forward::Refusal refusal) noexcept;

  Pump& pump_;
  Owner& owner_;
  Stream stream_;
  Ref<Notice> notice_;
  Duration connect_timeout_;
  wire::HeaderReader header_;
  std::string target_;
  std::vector<Address> addresses_;
  std::size_t next_address_ = 0;
  std::optional<net::TcpSocket> connecting_;
  Stage stage_ = Stage::waiting;
};

}  // namespace riffle::forwarding
