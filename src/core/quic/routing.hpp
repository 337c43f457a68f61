// Which session a datagram belongs to, and what becomes of one that belongs to none (SRV-1).
#pragma once

#include <cstdint>
#include <cstring>
#include <unordered_map>

#include "core/quic/packet.hpp"

namespace riffle::core {

/// What to do with a datagram whose connection id nobody has.
enum class Arriving : std::uint8_t {
  accept,             ///< a new connection
  refuse,             ///< one too many: say so (CONNECTION_REFUSED, RFC 9000 section 20.1)
  negotiate_version,  ///< of a version that we do not speak
  ignore,
};

struct ListenerLoad {
  std::uint64_t sessions = 0;
  std::uint64_t max_sessions = 0;
  std::uint64_t handshakes = 0;
  std::uint64_t max_handshakes = 0;
};

/// The decision, before any state is spent.
Arriving decide(const PacketHeader& header, std::size_t datagram_size, bool version_is_known,
                const ListenerLoad& load) noexcept;

/// Purpose: sessions by the connection ids that lead to them. T is the shell's session.
/// The ids are ours and random, but for the one that a client has made up for its first flight; `salt` keeps a client
/// from choosing ids that collide.
template <class T>
class RoutingTable {
 public:
  explicit RoutingTable(std::uint64_t salt) : routes_(16, Hash{salt}) {}
  T* find(const ConnectionId& id) const noexcept {
    const auto found = routes_.find(id);
    return found != routes_.end() ? found->second : nullptr;
  }
  void add(const ConnectionId& id, T& target) { routes_.insert_or_assign(id, &target); }
  void remove(const ConnectionId& id) noexcept { routes_.erase(id); }
  std::size_t size() const noexcept { return routes_.size(); }

 private:
  struct Hash {
    std::uint64_t salt;
    std::size_t operator()(const ConnectionId& id) const noexcept {
      std::uint64_t words[3] = {};
      std::memcpy(words, id.bytes.data(), id.bytes.size());
      std::uint64_t mixed = salt ^ id.size;
      for (const std::uint64_t word : words) mixed = (mixed ^ word) * 0x9E3779B97F4A7C15ull, mixed ^= mixed >> 29;
      return static_cast<std::size_t>(mixed);
    }
  };
  std::unordered_map<ConnectionId, T*, Hash> routes_;
};

}  // namespace riffle::core
