#include "sim_platform.hpp"

#include <cerrno>
#include <utility>

#include "net/resolver.hpp"

namespace riffle::sim {

// ---- the poller --------------------------------------------------------------------------------------------------

Result<void> SimPoller::add(int handle, runtime::Pollable& owner, bool readable, bool writable) {
  interests_[handle] = {.owner = &owner, .readable = readable, .writable = writable};
  return {};
}

void SimPoller::change(int handle, runtime::Pollable& owner, bool readable, bool writable) noexcept {
  interests_[handle] = {.owner = &owner, .readable = readable, .writable = writable};
}

void SimPoller::remove(int handle) noexcept {
  interests_.erase(handle);
  platform_->sockets_.erase(handle);
  for (std::size_t i = 0; i < ready_.size(); ++i) {
    if (ready_handles_[i] == handle) ready_[i].owner = nullptr;
  }
}

std::span<const runtime::Ready> SimPoller::wait(Instant, Instant) noexcept {
  is_woken_ = false;
  ready_.clear();
  ready_handles_.clear();
  for (const auto& [handle, interest] : interests_) {
    const SimSocket& socket = *platform_->sockets_.at(handle);
    const bool is_spurious = platform_->world_.random.chance(platform_->faults_.spurious);
    const runtime::Ready ready{.owner = interest.owner,
                               .readable = interest.readable && (socket.is_readable() || is_spurious),
                               .writable = interest.writable && (socket.is_writable() || is_spurious)};
    if (!ready.readable && !ready.writable) continue;
    ready_.push_back(ready);
    ready_handles_.push_back(handle);
  }
  return ready_;
}

bool SimPoller::has_work() const noexcept {
  if (is_woken_) return true;
  for (const auto& [handle, interest] : interests_) {
    const SimSocket& socket = *platform_->sockets_.at(handle);
    if ((interest.readable && socket.is_readable()) || (interest.writable && socket.is_writable())) return true;
  }
  return false;
}

Instant SimPoller::next_change() const noexcept {
  Instant earliest = never;
  for (const auto& [handle, interest] : interests_) {
    if (interest.writable) earliest = std::min(earliest, platform_->sockets_.at(handle)->next_change());
  }
  return earliest;
}

// ---- the platform ------------------------------------------------------------------------------------------------

Result<std::unique_ptr<runtime::Poller>> SimPlatform::make_poller(const EngineOptions&) {
  auto poller = std::make_unique<SimPoller>(*this);
  poller_ = poller.get();
  return poller;
}

Result<std::unique_ptr<net::DatagramPort>> SimPlatform::open_udp(const Address& local, std::optional<Address> peer,
                                                                 const net::DatagramOptions& options) {
  if (refused_opens_ > 0) {
    --refused_opens_;
    world_.trace.note(world_.clock.now(), "system", "EMFILE");
    return std::unexpected(Error::with_errno(Code::descriptors_exhausted, EMFILE, "socket"));
  }
  Address wanted = host_;
  wanted.port = local.port;
  const int handle = next_handle_++;
  auto socket = SimSocket::open(world_, handle, wanted, peer, options);
  if (!socket) return fail(Code::address_in_use, wanted.to_string());
  sockets_.emplace(handle, socket.get());
  return socket;
}

void SimPlatform::resolve(const HostPort& target, Resolved answer) {
  if (auto addresses = net::resolve_locally(target)) {
    answer(std::move(*addresses));
  } else {
    answer(fail(Code::name_not_found, target.host));
  }
}

}  // namespace riffle::sim
