#include "shell/listener.hpp"

#include <algorithm>
#include <utility>

#include "shell/session_parts.hpp"

namespace riffle::shell {
namespace {

std::uint64_t random_salt(Platform& platform) {
  std::array<std::uint8_t, 8> bytes{};
  platform.quic().random(bytes);
  std::uint64_t salt = 0;
  for (const std::uint8_t byte : bytes) salt = salt << 8 | byte;
  return salt;
}

/// RFC 9000 section 20.1: "CONNECTION_REFUSED (0x02): The server refused to accept a new connection."
constexpr std::uint64_t connection_refused = 0x02;

}  // namespace

ListenerDriver::ListenerDriver(LoopContext& context, SessionHome& home, quic::Server options,
                               std::unique_ptr<core::QuicConfiguration> configuration,
                               meet::Held<meet::ListenerMeet> shared)
    : context_(context),
      home_(home),
      options_(std::move(options)),
      session_options_(
          session_options(options_.limits, options_.transport, options_.delivery, options_.handler != nullptr)),
      configuration_(std::move(configuration)),
      shared_(std::move(shared)),
      routes_(random_salt(context.platform)) {
  shared_->core = this;
}

ListenerDriver::~ListenerDriver() {
  shared_->core = nullptr;
  close();
}

Result<void> ListenerDriver::begin(std::unique_ptr<net::DatagramPort> port) {
  auto endpoint = UdpEndpoint::make(std::move(port), context_.loop, context_.buffers, *this);
  if (!endpoint) return std::unexpected(endpoint.error());
  endpoint_ = std::move(*endpoint);
  return {};
}

// ---- input -------------------------------------------------------------------------------------------------------

void ListenerDriver::on_datagram(std::span<std::byte> datagram, const core::Arrival& arrival, Instant now) {
  const auto header = core::parse_header(datagram);
  if (!header) return;
  SessionDriver* driver = routes_.find(header->destination);
  if (driver == nullptr) {
    if (is_closed()) return;
    if (was_refused(header->destination)) {
      refuse(header->destination, datagram, arrival, now);
      return;
    }
    const core::ListenerLoad load{.sessions = drivers_,
                                  .max_sessions = options_.max_sessions,
                                  .handshakes = handshakes_,
                                  .max_handshakes = options_.max_handshakes};
    const bool is_known = header->is_long && context_.platform.quic().is_version_supported(header->version);
    switch (core::decide(*header, datagram.size(), is_known, load)) {
      case core::Arriving::accept:
        driver = accept(*header, datagram, arrival, now);
        break;
      case core::Arriving::refuse:
        refuse(header->destination, datagram, arrival, now);
        break;
      case core::Arriving::negotiate_version:
        negotiate_version(*header, arrival);
        break;
      case core::Arriving::ignore:
        break;
    }
  }
  if (driver != nullptr) driver->on_routed_datagram(datagram, arrival, now);
}

SessionDriver* ListenerDriver::accept(const core::PacketHeader& header, std::span<std::byte> datagram,
                                      const core::Arrival& arrival, Instant now) {
  std::shared_ptr<Handler> handler;
  if (options_.handler) {
    try {
      handler = options_.handler(Peer{.address = arrival.peer, .local = arrival.local});
    } catch (...) {
      handler = nullptr;  // a factory that throws refuses
    }
    if (handler == nullptr) {
      refuse(header.destination, datagram, arrival, now);
      return nullptr;
    }
  }
  Route route;
  route.first = header.destination;
  route.own.size = core::our_id_size;
  context_.platform.quic().random(std::span(route.own.bytes).first(route.own.size));
  auto connection = configuration_->accept(route.own, nullptr, arrival.local, arrival.peer);
  if (!connection) return nullptr;
  const bool has_handler = handler != nullptr;
  auto shared = meet::Held<meet::SessionMeet>::adopt(
      new meet::SessionMeet(context_.link, Role::server, options_.limits, has_handler));
  SessionDriver& driver = home_.add_session({.shared = std::move(shared),
                                             .handler = std::move(handler),
                                             .session = session_options_,
                                             .configuration = nullptr,
                                             .keep_alive = options_.transport.keep_alive,
                                             .server_name = {}},
                                            *this);
  routes_.add(route.own, driver);
  routes_.add(route.first, driver);
  drivers_routes_.emplace(&driver, route);
  ++drivers_;
  ++handshakes_;
  shared_->active_sessions.store(drivers_, std::memory_order_relaxed);
  driver.serve(std::move(*connection), *endpoint_, now);
  return &driver;
}

bool ListenerDriver::was_refused(const core::ConnectionId& first) const noexcept {
  return first.size != 0 && std::find(refused_.begin(), refused_.end(), first) != refused_.end();
}

/// Says no and keeps no connection: a client that missed it asks again and hears it again.
void ListenerDriver::refuse(const core::ConnectionId& first, std::span<std::byte> datagram,
                            const core::Arrival& arrival, Instant now) {
  if (endpoint_->is_blocked()) return;
  if (!was_refused(first)) refused_[next_refused_++ % refused_.size()] = first;
  core::ConnectionId id;
  id.size = core::our_id_size;
  context_.platform.quic().random(std::span(id.bytes).first(id.size));
  auto connection = configuration_->accept(id, nullptr, arrival.local, arrival.peer);
  if (!connection) return;
  (*connection)->on_input(datagram, arrival, now);
  // The close is of the Handshake level, for which the client needs our first datagram. All of them would make it
  // believe that it is connected.
  const auto send = [&](std::size_t most) {
    if (endpoint_->is_blocked()) return;
    const core::Batch batch = (*connection)->poll_output(std::span(*context_.batch).first(most), now);
    if (batch.bytes != 0) endpoint_->send(std::span(*context_.batch).first(batch.bytes), batch);
  };
  send(core::smallest_initial);
  (*connection)->close(core::StreamPort::CloseKind::transport, connection_refused, "");
  send(context_.batch->size());
}

void ListenerDriver::negotiate_version(const core::PacketHeader& header, const core::Arrival& arrival) {
  if (endpoint_->is_blocked()) return;
  std::array<std::byte, 256> packet{};
  const std::size_t size = context_.platform.quic().negotiate_version(header.source, header.destination, packet);
  if (size == 0) return;
  endpoint_->send(std::span(packet).first(size),
                  {.bytes = size, .segment = size, .local = arrival.local, .peer = arrival.peer});
}

void ListenerDriver::on_socket_error(const UdpEndpoint&, int, Instant) {
  // A wildcard socket's errors belong to single sends, which the port has counted. Reopening is ENG-7.
}

// ---- sessions ----------------------------------------------------------------------------------------------------

void ListenerDriver::on_session_connected(SessionDriver& driver, Instant) {
  if (const auto found = drivers_routes_.find(&driver);
      found != drivers_routes_.end() && found->second.is_handshaking) {
    found->second.is_handshaking = false;
    --handshakes_;
    routes_.remove(found->second.first);
  }
  if (driver.handler() != nullptr || driver.shared().has_handler) return;
  if (waiting_.size() >= options_.accept_backlog) {
    driver.close(core::StreamPort::CloseKind::transport, connection_refused, "",
                 Error(Code::busy, "the accept backlog is full"));
    return;
  }
  waiting_.emplace_back(Ref<meet::SessionMeet>::share(&driver.shared()));
  hand_out();
}

void ListenerDriver::on_session_over(SessionDriver& driver, Instant) {
  home_.note_session_over();
  const auto found = drivers_routes_.find(&driver);
  if (found == drivers_routes_.end() || !found->second.is_handshaking) return;
  found->second.is_handshaking = false;
  --handshakes_;
}

void ListenerDriver::on_destroyed(SessionDriver& driver) {
  const auto found = drivers_routes_.find(&driver);
  if (found == drivers_routes_.end()) return;
  if (found->second.is_handshaking) --handshakes_;
  routes_.remove(found->second.own);
  routes_.remove(found->second.first);
  drivers_routes_.erase(found);
  --drivers_;
  shared_->active_sessions.store(drivers_, std::memory_order_relaxed);
}

void ListenerDriver::hand_out() {
  while (!waiting_.empty() && askings_ != nullptr) {
    auto* asking = static_cast<meet::AskingFor<Session>*>(askings_);
    askings_ = asking->next;
    if (!asking->is_abandoned()) {
      asking->value = waiting_.front();
      if (asking->answer()) {
        waiting_.pop_front();
      } else {
        asking->value.reset();
      }
    }
    finish(*shared_, *asking);
  }
}

// ---- attention ---------------------------------------------------------------------------------------------------

void ListenerDriver::on_attention(std::uint32_t bits) {
  if ((bits & meet::listener_close) != 0) close();
  if ((bits & meet::listener_wait) == 0) return;
  // Callers that have given up, so that asking again and again with short deadlines fills no list.
  meet::Asking** last = &askings_;
  while (meet::Asking* asking = *last) {
    if (asking->is_abandoned()) {
      *last = asking->next;
      finish(*shared_, *asking);
    } else {
      last = &asking->next;
    }
  }
  for (meet::Asking* asking = shared_->asking.take(); asking != nullptr;) {
    meet::Asking* next = asking->next;
    if (asking->is_abandoned()) {
      finish(*shared_, *asking);
    } else if (asking->question == meet::Question::listener_stats) {
      answer_stats(*asking);
    } else if (is_closed()) {
      asking->error = Error(Code::closed, "the listener was closed");
      asking->answer();
      finish(*shared_, *asking);
    } else {
      asking->next = nullptr;
      *last = asking;
      last = &asking->next;
    }
    asking = next;
  }
  hand_out();
}

void ListenerDriver::settle_late(meet::ListenerMeet& shared) {
  for (meet::Asking* asking = shared.asking.take(); asking != nullptr;) {
    meet::Asking* next = asking->next;
    asking->error = Error(Code::closed, "the listener was closed");
    asking->answer();
    finish(shared, *asking);
    asking = next;
  }
}

void ListenerDriver::answer_stats(meet::Asking& asking) {
  auto& stats = static_cast<meet::AskingFor<UdpStats>&>(asking);
  if (endpoint_) {
    stats.value = endpoint_->port().stats();
  } else {
    asking.error = Error(Code::closed, "the listener was closed");
  }
  asking.answer();
  finish(*shared_, asking);
}

void ListenerDriver::finish(meet::ListenerMeet& shared, meet::Asking& asking) {
  shared.asking_count.fetch_sub(1, std::memory_order_relaxed);
  asking.release();
}

void ListenerDriver::close() {
  shared_->is_closed.store(true);
  waiting_.clear();
  while (meet::Asking* asking = askings_) {
    askings_ = asking->next;
    asking->error = Error(Code::closed, "the listener was closed");
    asking->answer();
    finish(*shared_, *asking);
  }
}

}  // namespace riffle::shell
