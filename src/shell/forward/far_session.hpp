// One session at the far end: its secret first, then its streams.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include <riffle/forward.hpp>
#include "net/resolver.hpp"
#include "shell/forward/incoming.hpp"
#include "shell/forward/notice.hpp"
#include "shell/forward/pump.hpp"
#include "shell/forward/relay.hpp"

namespace riffle::forwarding {

/// What all sessions of one server share.
struct Far {
  forward::ServerOptions options;
  std::unordered_set<std::string> allowed;
  Counters counters;
  std::uint64_t connecting = 0;  ///< streams whose target is not connected yet
  std::unique_ptr<Pump> pump;
  std::unique_ptr<net::Resolver> resolver;

  void log(const std::string& line) const {
    if (options.log) options.log(line);
  }
};

/// Purpose: waits for the secret, a bounded time; starts no stream before; owns what its streams became.
/// Threads: the pump's.
class FarSession final : private NoticeTarget, private Timed, public Incoming::Owner, public Relay::Owner {
 public:
  FarSession(Far& far, std::shared_ptr<SessionLink> link);
  FarSession(const FarSession&) = delete;
  FarSession& operator=(const FarSession&) = delete;
  ~FarSession() override;

  void on_stream_opened(Notice& notice);
  /// Resets what is there; the session has ended, or shall.
  void abandon() noexcept;
  SessionLink& link() noexcept { return *link_; }

 private:
  void on_notice(std::uint32_t happened) noexcept override;
  void on_deadline() noexcept override;
  bool allows(const std::string& target) const noexcept override { return far_.allowed.contains(target); }
  bool resolve(Incoming& incoming, const HostPort& name) override;
  void on_connected(Incoming& incoming, net::TcpSocket socket) noexcept override;
  void on_refused(Incoming& incoming, forward::Refusal refusal) noexcept override;
  void on_broken(Incoming& incoming) noexcept override;
  void on_over(Relay& relay, forward::Refusal refusal) noexcept override;

  void read_secret() noexcept;
  void on_secret() noexcept;
  void drop(Incoming& incoming) noexcept;
  void turn_away(const char* why) noexcept;

  Far& far_;
  std::shared_ptr<SessionLink> link_;
  Ref<Notice> secret_notice_;
  Stream secret_stream_;
  std::array<std::byte, std::tuple_size_v<forward::Secret> + 1> presented_{};  // one more, to see that there is none
  std::size_t presented_size_ = 0;
  bool is_authorized_ = false;
  std::unordered_map<Incoming*, std::shared_ptr<Incoming>> incoming_;
  std::unordered_map<Relay*, std::shared_ptr<Relay>> relays_;
};

}  // namespace riffle::forwarding
