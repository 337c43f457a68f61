// forward::Server: the far end.
#include <algorithm>
#include <atomic>
#include <memory>
#include <unordered_map>
#include <utility>

#include <riffle/forward.hpp>
#include "shell/forward/far_session.hpp"
#include "shell/forward/notice.hpp"
#include "shell/forward/pump.hpp"
#include "shell/forward/wire.hpp"

namespace riffle {
inline namespace v1 {
namespace forward {

using forwarding::FarSession;
using forwarding::Notice;
using forwarding::SessionLink;

std::string_view to_string(Refusal refusal) noexcept {
  switch (refusal) {
    case Refusal::none:
      return "connected";
    case Refusal::not_allowed:
      return "the server does not allow that target";
    case Refusal::unresolvable:
      return "the server cannot resolve the target's name";
    case Refusal::unreachable:
      return "the server cannot reach the target";
    case Refusal::busy:
      return "the server has too many connections";
  }
  return "the server refused with a code that this version does not know";
}

Result<void> ServerOptions::validate() const {
  for (const std::string& target : allow) {
    if (target.size() > forwarding::wire::max_target) return fail(Code::invalid_argument, "allow: " + target);
    const auto parsed = HostPort::parse(target);
    if (!parsed) return std::unexpected(parsed.error());
    if (parsed->host.empty() || parsed->port == 0) {
      return fail(Code::invalid_argument, "allow: " + target + " is not HOST:PORT");
    }
  }
  if (max_connections == 0) return fail(Code::invalid_argument, "max_connections is 0");
  return {};
}

struct Server::Impl final : forwarding::Pump::Role {
  forwarding::Far far;
  std::unordered_map<SessionLink*, std::shared_ptr<FarSession>> sessions;
  std::shared_ptr<std::atomic<bool>> is_open = std::make_shared<std::atomic<bool>>(true);

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    is_open->store(false);
    far.pump->stop();
    far.resolver.reset();
    for (const auto& [key, session] : sessions) {
      (void)session->link().session.close(AppCode{0}, "the server ends");
      session->abandon();
    }
    sessions.clear();
  }

  void on_notice(Notice& notice, std::uint32_t happened) noexcept override {
    if (!notice.id) {
      on_session(notice, happened);
    } else if (notice.target != nullptr) {
      notice.target->on_notice(happened);
    } else if (const auto found = sessions.find(notice.link.get());
               found != sessions.end() && (happened & forwarding::stream_opened) != 0) {
      found->second->on_stream_opened(notice);
    } else {
      notice.stream = {};
      notice.link->forget(notice);
    }
  }

  void on_session(Notice& notice, std::uint32_t happened) {
    SessionLink* key = notice.link.get();
    if ((happened & forwarding::session_closed) != 0) {
      const auto found = sessions.find(key);
      if (found == sessions.end()) return;
      found->second->abandon();
      far.pump->bury(std::move(found->second));
      sessions.erase(found);
      far.log("gone        " + notice.link->peer.to_string());
    } else {
      sessions.emplace(key, std::make_shared<FarSession>(far, notice.link));
    }
  }
};

Server::Server(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Server::Server(Server&&) noexcept = default;
Server& Server::operator=(Server&&) noexcept = default;
Server::~Server() = default;

Result<Server> Server::make(ServerOptions options) {
  if (auto valid = options.validate(); !valid) return std::unexpected(valid.error());
  auto pump = forwarding::Pump::make();
  if (!pump) return std::unexpected(pump.error());
  auto impl = std::make_unique<Impl>();
  impl->far.allowed.insert(options.allow.begin(), options.allow.end());
  impl->far.options = std::move(options);
  impl->far.pump = std::move(*pump);
  impl->far.resolver = std::make_unique<net::Resolver>(1024);
  impl->far.pump->run_thread(*impl);
  return Server(std::move(impl));
}

std::function<std::shared_ptr<Handler>(const Peer&)> Server::handler() const {
  return
      [mailbox = impl_->far.pump->mailbox(), is_open = impl_->is_open](const Peer& peer) -> std::shared_ptr<Handler> {
        if (!is_open->load()) return nullptr;
        return std::make_shared<forwarding::SessionEvents>(mailbox, peer.address);
      };
}

Stats Server::stats() const noexcept { return forwarding::snapshot(impl_->far.counters); }

}  // namespace forward
}  // namespace v1
}  // namespace riffle
