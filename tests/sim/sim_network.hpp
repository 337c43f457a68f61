// A network that never existed: links between two hosts, with every way in which UDP may go wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <queue>
#include <span>
#include <vector>

#include <riffle/address.hpp>
#include "base/instant.hpp"
#include "random.hpp"
#include "trace.hpp"

namespace riffle::sim {

/// While `from <= now < until`, nothing gets through.
struct Partition {
  Instant from;
  Instant until;
};

/// One direction between the hosts. Probabilities are for each datagram; sizes in bytes of UDP payload.
struct LinkOptions {
  Duration latency = std::chrono::milliseconds(10);
  Duration jitter{0};               ///< added at random, in order
  std::uint64_t rate = 12'500'000;  ///< bytes a second
  std::size_t queue = 256 * 1024;   ///< what waits for its turn on the link; beyond it datagrams are dropped
  std::size_t mtu = 1472;
  bool mtu_is_told = true;  ///< EMSGSIZE for what is larger; false: it vanishes on the way
  double loss = 0;
  double reorder = 0;  ///< leaves the line and arrives up to `reorder_by` later, behind its successors
  Duration reorder_by = std::chrono::milliseconds(20);
  double duplicate = 0;
  double corrupt = 0;  ///< one to three bits are flipped
  std::vector<Partition> partitions;
};

struct Datagram {
  Address from;
  Address to;
  std::vector<std::byte> bytes;
};

/// What a bound socket is to the network.
class Receiver {
 public:
  /// False: its buffer is full, the datagram is lost.
  virtual bool on_arrival(Datagram datagram) noexcept = 0;

 protected:
  ~Receiver() = default;
};

/// What happened to the datagrams of a run.
struct NetworkCounts {
  std::uint64_t sent = 0;
  std::uint64_t delivered = 0;
  std::uint64_t lost = 0;
  std::uint64_t cut = 0;  ///< by a partition, or because a host is gone
  std::uint64_t reordered = 0;
  std::uint64_t duplicated = 0;
  std::uint64_t corrupted = 0;
  std::uint64_t queue_full = 0;
  std::uint64_t too_long = 0;
  std::uint64_t buffer_full = 0;
  std::uint64_t nobody = 0;
};

/// Purpose: carries datagrams in virtual time. Hosts are told apart by their IP address.
/// Contract: what is sent at one instant arrives in the same order and at the same instants for the same seed.
class SimNetwork {
 public:
  SimNetwork(std::uint64_t seed, Trace& trace) noexcept : random_(seed), trace_(trace) {}

  void set_link(const Address& from, const Address& to, LinkOptions options);
  /// From now on nothing leaves the host or reaches it.
  void vanish(const Address& host);
  /// Binds `wanted` (port 0: a free one) to `receiver`; family `none` when the port is taken.
  Address bind(const Address& wanted, Receiver& receiver);
  void unbind(const Address& bound) noexcept { bound_.erase(bound); }
  std::size_t bound() const noexcept { return bound_.size(); }

  /// False: longer than the path's MTU, and the path says so.
  bool send(const Address& from, const Address& to, std::span<const std::byte> bytes, Instant now);
  /// Hands over everything that has arrived by `now`.
  void deliver(Instant now);
  /// When the host last got a datagram that was neither damaged nor a second copy.
  Instant last_arrival(const Address& host) const;
  Instant next_arrival() const noexcept { return flying_.empty() ? never : flying_.top().at; }
  const NetworkCounts& counts() const noexcept { return counts_; }

 private:
  struct Link {
    LinkOptions options;
    Instant busy_until{};
    Instant last_arrival{};
  };
  struct Flying {
    Instant at;
    std::uint64_t sequence;
    std::uint32_t slot;  ///< in slots_: the heap moves its entries about
    bool is_good;        ///< the first intact copy
    friend bool operator<(const Flying& a, const Flying& b) noexcept {
      return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
    }
  };

  static Address host_of(Address address) noexcept {
    address.port = 0;
    return address;
  }
  Link& link(const Address& from, const Address& to);
  bool is_cut(const Link& link, const Address& from, const Address& to, Instant now) const;
  void fly(const Address& from, const Address& to, std::span<const std::byte> bytes, Instant at, bool is_good);
  void drop(std::uint64_t& counter, const char* why, std::size_t size, Instant now);

  Random random_;
  Trace& trace_;
  std::map<std::pair<Address, Address>, Link> links_;
  std::vector<Address> vanished_;
  std::map<Address, Instant> last_arrivals_;
  std::map<Address, Receiver*> bound_;
  std::priority_queue<Flying> flying_;
  std::vector<Datagram> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::uint64_t sequence_ = 0;
  std::uint16_t next_port_ = 40'000;
  NetworkCounts counts_;
};

}  // namespace riffle::sim
