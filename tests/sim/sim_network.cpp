#include "sim_network.hpp"

#include <algorithm>
#include <utility>

namespace riffle::sim {

void SimNetwork::set_link(const Address& from, const Address& to, LinkOptions options) {
  links_[{host_of(from), host_of(to)}].options = std::move(options);
}

void SimNetwork::vanish(const Address& host) { vanished_.push_back(host_of(host)); }

Address SimNetwork::bind(const Address& wanted, Receiver& receiver) {
  Address address = wanted;
  while (address.port == 0 || (wanted.port == 0 && bound_.contains(address))) address.port = next_port_++;
  return bound_.emplace(address, &receiver).second ? address : Address{};
}

SimNetwork::Link& SimNetwork::link(const Address& from, const Address& to) {
  return links_[{host_of(from), host_of(to)}];
}

bool SimNetwork::is_cut(const Link& link, const Address& from, const Address& to, Instant now) const {
  const auto is_gone = [&](const Address& end) {
    return std::ranges::find(vanished_, host_of(end)) != vanished_.end();
  };
  if (is_gone(from) || is_gone(to)) return true;
  return std::ranges::any_of(link.options.partitions,
                             [now](const Partition& cut) { return cut.from <= now && now < cut.until; });
}

void SimNetwork::drop(std::uint64_t& counter, const char* why, std::size_t size, Instant now) {
  ++counter;
  trace_.note(now, "network", why, size);
}

bool SimNetwork::send(const Address& from, const Address& to, std::span<const std::byte> bytes, Instant now) {
  Link& line = link(from, to);
  const LinkOptions& options = line.options;
  trace_.note(now, "network", "sent", from.port, to.port, bytes.size());
  ++counts_.sent;
  if (bytes.size() > options.mtu) {
    drop(counts_.too_long, "too long", bytes.size(), now);
    return !options.mtu_is_told;
  }
  if (is_cut(line, from, to, now)) return drop(counts_.cut, "cut", bytes.size(), now), true;
  if (random_.chance(options.loss)) return drop(counts_.lost, "lost", bytes.size(), now), true;

  const auto time_for = [&](std::size_t size) {
    return Duration(static_cast<std::int64_t>(size * 1'000'000'000 / options.rate));
  };
  const Instant turn = std::max(now, line.busy_until);
  if (turn - now > time_for(options.queue)) return drop(counts_.queue_full, "queue full", bytes.size(), now), true;
  line.busy_until = turn + time_for(bytes.size());
  Instant arrival = line.busy_until + options.latency + random_.duration(Duration{0}, options.jitter);
  if (random_.chance(options.reorder)) {
    ++counts_.reordered;
    arrival += random_.duration(Duration{0}, options.reorder_by);
  } else {
    arrival = line.last_arrival = std::max(arrival, line.last_arrival);
  }
  const bool is_damaged = random_.chance(options.corrupt);
  if (is_damaged) {
    std::vector<std::byte> damaged(bytes.begin(), bytes.end());
    for (std::uint64_t flips = random_.between(1, 3); flips > 0; --flips) {
      damaged[random_.below(damaged.size())] ^= static_cast<std::byte>(1U << random_.below(8));
    }
    ++counts_.corrupted;
    fly(from, to, damaged, arrival, false);
  } else {
    fly(from, to, bytes, arrival, true);
  }
  if (random_.chance(options.duplicate)) {
    ++counts_.duplicated;
    fly(from, to, bytes, arrival + random_.duration(Duration{0}, 2 * options.latency), is_damaged);
  }
  return true;
}

void SimNetwork::fly(const Address& from, const Address& to, std::span<const std::byte> bytes, Instant at,
                     bool is_good) {
  std::uint32_t slot = static_cast<std::uint32_t>(slots_.size());
  if (free_slots_.empty()) {
    slots_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  slots_[slot] = {.from = from, .to = to, .bytes = {bytes.begin(), bytes.end()}};
  flying_.push({.at = at, .sequence = sequence_++, .slot = slot, .is_good = is_good});
}

Instant SimNetwork::last_arrival(const Address& host) const {
  const auto found = last_arrivals_.find(host_of(host));
  return found == last_arrivals_.end() ? Instant{} : found->second;
}

void SimNetwork::deliver(Instant now) {
  while (!flying_.empty() && flying_.top().at <= now) {
    const auto [at, sequence, slot, is_good] = flying_.top();
    flying_.pop();
    Datagram datagram = std::move(slots_[slot]);
    free_slots_.push_back(slot);
    const std::size_t size = datagram.bytes.size();
    const std::uint16_t from = datagram.from.port;
    const std::uint16_t to = datagram.to.port;
    const Address host = host_of(datagram.to);
    const auto found = bound_.find(datagram.to);
    if (is_cut(link(datagram.from, datagram.to), datagram.from, datagram.to, now)) {
      drop(counts_.cut, "cut", size, now);
    } else if (found == bound_.end()) {
      drop(counts_.nobody, "nobody there", size, now);
    } else if (!found->second->on_arrival(std::move(datagram))) {
      drop(counts_.buffer_full, "buffer full", size, now);
    } else {
      ++counts_.delivered;
      if (is_good) last_arrivals_[host] = now;
      trace_.note(now, "network", "arrived", from, to, size);
    }
  }
}

}  // namespace riffle::sim
