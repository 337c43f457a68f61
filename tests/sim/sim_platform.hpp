// The simulator's kernel for one host: its poller, its sockets, a resolver of numbers, quiche.
#pragma once

#include <map>
#include <memory>

#include "quiche/quiche_stack.hpp"
#include "shell/platform.hpp"
#include "sim_socket.hpp"

namespace riffle::sim {

class SimPlatform;

/// Level-triggered, and never waits: whoever drives the engine asks `has_work` first.
/// Lifetime: outlives its platform, for handles may still wake it.
class SimPoller final : public runtime::Poller {
 public:
  explicit SimPoller(SimPlatform& platform) noexcept : platform_(&platform) {}
  Result<void> add(int handle, runtime::Pollable& owner, bool readable, bool writable) override;
  void change(int handle, runtime::Pollable& owner, bool readable, bool writable) noexcept override;
  void remove(int handle) noexcept override;
  std::span<const runtime::Ready> wait(Instant deadline, Instant now) noexcept override;
  void wake() noexcept override { is_woken_ = true; }
  int fd() const noexcept override { return -1; }

  bool has_work() const noexcept;
  /// When a socket will be ready by the passing of time alone.
  Instant next_change() const noexcept;

 private:
  struct Interest {
    runtime::Pollable* owner;
    bool readable;
    bool writable;
  };
  SimPlatform* platform_;
  std::map<int, Interest> interests_;
  std::vector<runtime::Ready> ready_;
  std::vector<int> ready_handles_;
  bool is_woken_ = false;
};

/// Threads: the simulation's.
class SimPlatform final : public shell::Platform {
 public:
  SimPlatform(SimNetwork& network, VirtualClock& clock, Trace& trace, Random& random, const Address& host,
              const SystemFaults& faults) noexcept
      : faults_(faults), host_(host), world_{network, clock, trace, random, faults_, {}} {}

  Result<std::unique_ptr<runtime::Poller>> make_poller(const EngineOptions& options) override;
  Result<std::unique_ptr<net::DatagramPort>> open_udp(const Address& local, std::optional<Address> peer,
                                                      const net::DatagramOptions& options) override;
  void resolve(const HostPort& target, Resolved answer) override;
  core::QuicStack& quic() override { return quic_; }

  /// The next `count` sockets cannot be opened: EMFILE.
  void refuse_opens(int count) noexcept { refused_opens_ = count; }
  const SimPoller& poller() const noexcept { return *poller_; }
  const Address& host() const noexcept { return host_; }
  const std::string& broken_contract() const noexcept { return world_.broken_contract; }

 private:
  friend class SimPoller;
  SystemFaults faults_;
  Address host_;
  SocketWorld world_;
  quiche::QuicheStack quic_;
  SimPoller* poller_ = nullptr;
  std::map<int, SimSocket*> sockets_;
  int next_handle_ = 3;
  int refused_opens_ = 0;
};

}  // namespace riffle::sim
