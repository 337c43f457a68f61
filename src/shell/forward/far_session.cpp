#include "shell/forward/far_session.hpp"

#include <cstring>
#include <utility>
#include <vector>

#include "shell/forward/wire.hpp"

namespace riffle::forwarding {
namespace {

void answer(const Stream& stream, forward::Refusal refusal) noexcept {
  const std::array<std::byte, 1> status{static_cast<std::byte>(refusal)};
  // Fails only where the stream or its session has ended: then nobody waits for the answer.
  (void)stream.try_write(status, Fin::yes);
  (void)stream.shutdown(Side::reading, forward::connection_reset);
}

}  // namespace

FarSession::FarSession(Far& far, std::shared_ptr<SessionLink> link) : far_(far), link_(std::move(link)) {
  far_.pump->arm(*this, far_.options.secret_timeout);
}

FarSession::~FarSession() {
  far_.pump->disarm(*this);
  if (secret_notice_) link_->forget(*secret_notice_);
  far_.connecting -= incoming_.size();
}

void FarSession::on_stream_opened(Notice& notice) {
  Stream stream = std::move(notice.stream);
  if (!secret_notice_) {
    secret_notice_ = Ref<Notice>::share(&notice);
    notice.target = this;
    secret_stream_ = std::move(stream);
    read_secret();
    return;
  }
  const std::uint64_t active = far_.counters.active.load(std::memory_order_relaxed) + far_.connecting;
  if (active >= far_.options.max_connections) {
    far_.counters.failed.fetch_add(1, std::memory_order_relaxed);
    answer(stream, forward::Refusal::busy);
    link_->forget(notice);
    return;
  }
  auto incoming = std::make_shared<Incoming>(*far_.pump, *this, std::move(stream), Ref<Notice>::share(&notice),
                                             far_.options.connect_timeout);
  Incoming& one = *incoming;
  incoming_.emplace(&one, std::move(incoming));
  ++far_.connecting;
  if (is_authorized_) one.start();
}

void FarSession::abandon() noexcept {
  std::vector<std::shared_ptr<Relay>> relays;
  for (const auto& [key, relay] : relays_) relays.push_back(relay);
  for (const auto& relay : relays) relay->abandon();
}

// The secret.

void FarSession::on_notice(std::uint32_t happened) noexcept {
  if ((happened & stream_readable) != 0 && !is_authorized_) read_secret();
}

void FarSession::read_secret() noexcept {
  for (;;) {
    const auto read = secret_stream_.try_read_into(std::span(presented_).subspan(presented_size_));
    if (!read) return turn_away("its first stream was reset");
    if (read->status == Read::Status::would_block) return;
    presented_size_ += read->size;
    if (presented_size_ == presented_.size()) return on_secret();
    if (read->fin || read->status == Read::Status::end_of_stream) return on_secret();
  }
}

void FarSession::on_secret() noexcept {
  forward::Secret presented{};
  const bool has_its_size = presented_size_ == presented.size();
  std::memcpy(presented.data(), presented_.data(), presented.size());
  if (!wire::equal_in_constant_time(presented, far_.options.secret) || !has_its_size) {
    return turn_away("it presented a wrong secret");
  }
  is_authorized_ = true;
  far_.pump->disarm(*this);
  const std::array<std::byte, 1> welcome{};
  (void)secret_stream_.try_write(welcome, Fin::yes);
  secret_stream_ = {};
  far_.log("session     " + link_->peer.to_string());
  std::vector<std::shared_ptr<Incoming>> waiting;
  for (const auto& [key, incoming] : incoming_) waiting.push_back(incoming);
  for (const auto& incoming : waiting) incoming->start();
}

void FarSession::on_deadline() noexcept { turn_away("it presented no secret in time"); }

void FarSession::turn_away(const char* why) noexcept {
  far_.pump->disarm(*this);
  secret_stream_ = {};
  far_.log("turned away " + link_->peer.to_string() + ": " + why);
  (void)link_->session.close(forward::wrong_secret,
                             "the secret is not the right one: take the ticket that the server prints");
}

// Its streams.

bool FarSession::resolve(Incoming& incoming, const HostPort& name) {
  auto answer = [pump = far_.pump.get(), weak = incoming.weak_from_this()](Result<std::vector<Address>> found) mutable {
    pump->post([weak = std::move(weak), found = std::move(found)]() mutable {
      if (const auto asked = weak.lock()) asked->on_resolved(found ? std::move(*found) : std::vector<Address>{});
    });
  };
  return far_.resolver->look_up(name, std::move(answer)).has_value();
}

void FarSession::on_connected(Incoming& incoming, net::TcpSocket socket) noexcept {
  const std::array<std::byte, 1> connected{};
  auto relay = std::make_shared<Relay>(*far_.pump, *this, far_.counters, std::move(socket), incoming.take_stream(),
                                       Bytes::copy(connected), Relay::Status::none);
  relay->notice = incoming.take_notice();
  relay->notice->target = relay.get();
  Relay& one = *relay;
  relays_.emplace(&one, std::move(relay));
  drop(incoming);
  far_.counters.connections.fetch_add(1, std::memory_order_relaxed);
  one.start();
}

void FarSession::on_refused(Incoming& incoming, forward::Refusal refusal) noexcept {
  far_.counters.failed.fetch_add(1, std::memory_order_relaxed);
  far_.log("refused     " + incoming.target() + ": " + std::string(forward::to_string(refusal)));
  answer(incoming.take_stream(), refusal);
  drop(incoming);
}

void FarSession::on_broken(Incoming& incoming) noexcept {
  far_.counters.failed.fetch_add(1, std::memory_order_relaxed);
  (void)incoming.take_stream().shutdown(Side::both, forward::bad_header);
  drop(incoming);
}

void FarSession::on_over(Relay& relay, forward::Refusal) noexcept {
  const auto found = relays_.find(&relay);
  if (found == relays_.end()) return;
  far_.pump->bury(std::move(found->second));
  relays_.erase(found);
}

void FarSession::drop(Incoming& incoming) noexcept {
  const auto found = incoming_.find(&incoming);
  if (found == incoming_.end()) return;
  far_.pump->bury(std::move(found->second));
  incoming_.erase(found);
  --far_.connecting;
}

}  // namespace riffle::forwarding
