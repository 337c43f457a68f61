// forward::Client: the near end.
#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include <riffle/forward.hpp>
#include "net/tcp_listener.hpp"
#include "shell/forward/notice.hpp"
#include "shell/forward/pump.hpp"
#include "shell/forward/relay.hpp"
#include "shell/forward/wire.hpp"

namespace riffle {
inline namespace v1 {
namespace forward {

using forwarding::Notice;
using forwarding::Relay;

Result<void> ClientOptions::validate() const {
  if (forwards.empty()) return fail(Code::invalid_argument, "forwards is empty");
  for (const Forward& one : forwards) {
    if (auto address = Address::parse(one.listen); !address) return std::unexpected(address.error());
    auto target = HostPort::parse(one.target);
    if (!target) return std::unexpected(target.error());
    if (target->host.empty() || target->port == 0 || forwarding::wire::header_for(one.target).empty()) {
      return fail(Code::invalid_argument, "target: " + one.target + " is not HOST:PORT");
    }
  }
  return {};
}

struct Client::Impl final : forwarding::Pump::Role, Relay::Owner {
  /// One listening socket; accepts whatever waits.
  struct Door final : runtime::Pollable {
    Door(Impl& its_owner, net::TcpListener its_listener, std::string its_target)
        : owner(its_owner), listener(std::move(its_listener)), target(std::move(its_target)) {}
    void on_ready(bool, bool) noexcept override { owner.accept(*this); }
    Impl& owner;
    net::TcpListener listener;
    std::string target;
  };

  ClientOptions options;
  Session session;
  std::vector<Address> addresses;
  forwarding::Counters counters;
  std::unique_ptr<forwarding::Pump> pump;
  std::vector<std::unique_ptr<Door>> doors;
  std::unordered_map<Relay*, std::shared_ptr<Relay>> relays;
  std::unordered_map<std::uint64_t, Relay*> by_id;
  std::vector<Relay*> opening;  // their streams had no id yet when we looked last
  bool is_over = false;

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (pump) pump->stop();
    if (session) (void)session.close(AppCode{0}, "the client ends");
    abandon();
  }

  void log(const std::string& line) const {
    if (options.log) options.log(line);
  }
  void abandon() noexcept {
    std::vector<std::shared_ptr<Relay>> all;
    for (const auto& [key, relay] : relays) all.push_back(relay);
    for (const auto& relay : all) relay->abandon();
  }

  Result<void> open_doors();
  Result<void> present_secret(Timeout timeout);
  Error why_closed(Error seen) const;
  Result<void> watch_doors();
  void accept(Door& door) noexcept;
  void carry(Door& door, net::TcpSocket socket);
  Relay* relay_of(StreamId id);
  void on_notice(Notice& notice, std::uint32_t happened) noexcept override;
  void on_over(Relay& relay, Refusal refusal) noexcept override;
};

Result<void> Client::Impl::open_doors() {
  for (const Forward& one : options.forwards) {
    auto listener = net::TcpListener::open(*Address::parse(one.listen), {.backlog = 4096});
    if (!listener) return std::unexpected(listener.error());
    addresses.push_back(listener->local());
    doors.push_back(std::make_unique<Door>(*this, std::move(*listener), one.target));
  }
  return {};
}

Result<void> Client::Impl::present_secret(Timeout timeout) {
  const auto stream = session.open(bidirectional);
  if (!stream) return std::unexpected(stream.error());
  const auto secret = std::as_bytes(std::span(options.secret));
  if (auto written = stream->write(Bytes::copy(secret), fin, timeout); !written) {
    return std::unexpected(why_closed(written.error()));
  }
  const auto welcome = stream->read_to_end(1, timeout);
  if (!welcome) return std::unexpected(why_closed(welcome.error()));
  if (welcome->size() != 1 || welcome->data()[0] != std::byte{0}) {
    return fail(Code::protocol_violation, "the answer to the secret is not a zero byte");
  }
  return {};
}

Error Client::Impl::why_closed(Error seen) const {
  if (seen == Code::timed_out) return seen;
  // The stream may have been told a moment before the session.
  const auto reason = session.wait_closed(std::chrono::seconds(1));
  if (!reason) return seen;
  if (reason->by == CloseReason::By::peer && reason->is_application && reason->code == raw(wrong_secret)) {
    return Error(Code::refused, "the server says: " + reason->reason);
  }
  return reason->error;
}

Result<void> Client::Impl::watch_doors() {
  for (const auto& door : doors) {
    if (auto added = pump->poller().add(door->listener.handle(), *door, true, false); !added) return added;
  }
  return {};
}

void Client::Impl::accept(Door& door) noexcept {
  // Some at a time: those that are being carried have their turn in between.
  for (int i = 0; i < 64; ++i) {
    auto socket = door.listener.accept();
    if (!socket) {
      counters.failed.fetch_add(1, std::memory_order_relaxed);
      log("refused     a connection for " + door.target + ": " + socket.error().message());
      return;
    }
    if (!*socket) return;
    carry(door, std::move(**socket));
  }
}

void Client::Impl::carry(Door& door, net::TcpSocket socket) {
  auto stream = session.open(bidirectional);
  if (!stream) {
    socket.reset();
    counters.failed.fetch_add(1, std::memory_order_relaxed);
    log("refused     a connection for " + door.target + ": " + stream.error().message());
    return;
  }
  auto relay =
      std::make_shared<Relay>(*pump, *this, counters, std::move(socket), std::move(*stream),
                              Bytes::adopt(forwarding::wire::header_for(door.target)), Relay::Status::expected);
  relay->name = door.target;
  Relay& one = *relay;
  relays.emplace(&one, std::move(relay));
  opening.push_back(&one);
  one.start();
}

Relay* Client::Impl::relay_of(StreamId id) {
  // The loop gives a stream its id before it tells anything of it.
  std::erase_if(opening, [this](Relay* relay) {
    const auto known = relay->stream().id();
    if (known) by_id.emplace(raw(*known), relay);
    return known.has_value();
  });
  const auto found = by_id.find(raw(id));
  return found == by_id.end() ? nullptr : found->second;
}

void Client::Impl::on_notice(Notice& notice, std::uint32_t happened) noexcept {
  if (!notice.id) {
    if ((happened & forwarding::session_closed) == 0) return;
    is_over = true;
    // Nobody can be connected any more: whoever tries shall be told at once.
    for (const auto& door : doors) pump->poller().remove(door->listener.handle());
    doors.clear();
    abandon();
    return;
  }
  if (notice.target == nullptr && !notice.is_forgotten.load()) {
    if (Relay* relay = relay_of(*notice.id)) {
      relay->notice = Ref<Notice>::share(&notice);
      notice.target = relay;
    } else {
      notice.stream = {};
      notice.link->forget(notice);
    }
  }
  if (notice.target != nullptr) notice.target->on_notice(happened);
}

void Client::Impl::on_over(Relay& relay, Refusal refusal) noexcept {
  if (refusal != Refusal::none) {
    counters.failed.fetch_add(1, std::memory_order_relaxed);
    log("refused     " + relay.name + ": " + std::string(to_string(refusal)));
  }
  std::erase(opening, &relay);
  if (const auto id = relay.stream().id()) by_id.erase(raw(*id));
  const auto found = relays.find(&relay);
  if (found == relays.end()) return;
  pump->bury(std::move(found->second));
  relays.erase(found);
}

Client::Client(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

Result<Client> Client::start(const Engine& engine, quic::Client connection, ClientOptions options) {
  if (auto valid = options.validate(); !valid) return std::unexpected(valid.error());
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  if (auto opened = impl->open_doors(); !opened) return std::unexpected(opened.error());
  auto pump = forwarding::Pump::make();
  if (!pump) return std::unexpected(pump.error());
  impl->pump = std::move(*pump);

  connection.alpn = {std::string(alpn)};
  connection.delivery = passive;
  // The server opens none.
  connection.transport.max_streams_bidi = connection.transport.max_streams_uni = 0;
  connection.handler = std::make_shared<forwarding::SessionEvents>(impl->pump->mailbox(), Address{});
  const auto until = std::chrono::steady_clock::now() + impl->options.start_timeout;
  impl->session = engine.connect(std::move(connection));
  if (auto connected = impl->session.wait_connected(impl->options.start_timeout); !connected) {
    return std::unexpected(connected.error());
  }
  if (auto presented = impl->present_secret(until - std::chrono::steady_clock::now()); !presented) {
    return std::unexpected(presented.error());
  }
  if (auto watched = impl->watch_doors(); !watched) return std::unexpected(watched.error());
  impl->pump->run_thread(*impl);
  return Client(std::move(impl));
}

const std::vector<Address>& Client::listening() const noexcept { return impl_->addresses; }
Session Client::session() const { return impl_->session; }
Stats Client::stats() const noexcept { return forwarding::snapshot(impl_->counters); }

}  // namespace forward
}  // namespace v1
}  // namespace riffle
