// How a client's session finds its transport: one address after the other, staggered, the first to answer wins
// (CON-1; Happy Eyeballs, RFC 8305).
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/quic/packet.hpp"
#include "shell/session_driver.hpp"

namespace riffle::shell {
namespace {

/// RFC 8305 section 5: "A recommended value for a default delay is 250 milliseconds."
constexpr auto attempt_delay = std::chrono::milliseconds(250);

}  // namespace

void SessionDriver::connect(std::vector<Address> addresses, Instant now) {
  addresses_ = std::move(addresses);
  std::reverse(addresses_.begin(), addresses_.end());
  if (session_.state() == SessionState::init) session_.begin(now);
  next_attempt(now);
}

void SessionDriver::next_attempt(Instant now) {
  next_attempt_at_ = never;
  while (!addresses_.empty() && !session_.is_over()) {
    const Address peer = addresses_.back();
    addresses_.pop_back();
    if (auto begun = begin_attempt(peer); !begun) {
      last_failure_ = std::move(begun.error());
      continue;
    }
    if (!addresses_.empty()) next_attempt_at_ = now + attempt_delay;
    break;
  }
  // The only way there is: the session may have it now, and its deadlines and errors with it.
  if (attempts_.size() == 1 && addresses_.empty()) adopt(0, now);
  if (attempts_.empty() && connection_ == nullptr) fail(last_failure_, now);
  context_.loop.mark_dirty(*this);
}

Result<void> SessionDriver::begin_attempt(const Address& peer) {
  auto socket = context_.platform.open_udp(Address{}, peer, context_.datagram_options());
  if (!socket) return std::unexpected(socket.error());
  auto endpoint = UdpEndpoint::make(std::move(*socket), context_.loop, context_.buffers, *this);
  if (!endpoint) return std::unexpected(endpoint.error());
  core::ConnectionId id;
  id.size = core::our_id_size;
  context_.platform.quic().random(std::span(id.bytes).first(id.size));
  auto connection = parts_.configuration->connect(parts_.server_name, id, (*endpoint)->port().local(), peer);
  if (!connection) return std::unexpected(connection.error());
  attempts_.push_back({peer, std::move(*endpoint), std::move(*connection)});
  return {};
}

void SessionDriver::on_datagram(std::span<std::byte> datagram, const core::Arrival& arrival, Instant now) {
  if (connection_ != nullptr) {
    on_routed_datagram(datagram, arrival, now);
    return;
  }
  for (Attempt& attempt : attempts_) {
    if (attempt.peer == arrival.peer) attempt.connection->on_input(datagram, arrival, now);
  }
  context_.loop.mark_dirty(*this);
}

void SessionDriver::on_socket_error(const UdpEndpoint& endpoint, int system, Instant now) {
  // An ICMP message is a hint that anybody can forge: it ends an attempt, never an established connection
  // (RFC 9000 section 14.2.1).
  if (session_.state() != SessionState::handshaking) return;
  if (connection_ != nullptr) {
    fail(Error::with_errno(Code::unreachable, system, "udp " + peer_.to_string()), now);
    return;
  }
  for (Attempt& attempt : attempts_) {
    if (attempt.endpoint.get() != &endpoint) continue;
    attempt.has_failed = true;  // it goes at the next step of the cycle, when its socket is not on the stack
    last_failure_ = Error::with_errno(Code::unreachable, system, "udp " + attempt.peer.to_string());
  }
  context_.loop.mark_dirty(*this);
}

void SessionDriver::check_attempts(Instant now) {
  for (std::size_t i = 0; i < attempts_.size(); ++i) {
    if (attempts_[i].connection->state() == core::PortState::established) {
      adopt(i, now);
      return;
    }
  }
  for (std::size_t i = 0; i < attempts_.size();) {
    const core::PortState state = attempts_[i].connection->state();
    const bool has_ended = state == core::PortState::draining || state == core::PortState::closed;
    if (!has_ended && !attempts_[i].has_failed) {
      ++i;
      continue;
    }
    if (has_ended) last_failure_ = attempts_[i].connection->end_reason();
    attempts_[i].endpoint->forget(*this);
    attempts_.erase(attempts_.begin() + static_cast<std::ptrdiff_t>(i));
    next_attempt(now);
    if (connection_ != nullptr || attempts_.empty()) return;
    i = 0;
  }
}

void SessionDriver::adopt(std::size_t winner, Instant now) {
  Attempt won = std::move(attempts_[winner]);
  for (Attempt& attempt : attempts_) {
    if (attempt.endpoint) attempt.endpoint->forget(*this);
  }
  attempts_.clear();
  addresses_.clear();
  next_attempt_at_ = never;
  owned_connection_ = std::move(won.connection);
  owned_endpoint_ = std::move(won.endpoint);
  peer_ = won.peer;
  connection_ = owned_connection_.get();
  endpoint_ = owned_endpoint_.get();
  session_.adopt(*connection_, now);
}

}  // namespace riffle::shell
