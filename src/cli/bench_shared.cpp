#include <cstring>
#include <set>

#include "cli/bench.hpp"
#include "cli/perf_wire.hpp"

namespace riffle::cli::bench {

void Completion::finish() {
  const std::lock_guard lock(mutex_);
  if (!outcome_) outcome_.emplace();
  changed_.notify_all();
}

void Completion::fail(Error error) {
  const std::lock_guard lock(mutex_);
  if (!outcome_) outcome_.emplace(std::unexpected(std::move(error)));
  changed_.notify_all();
}

Result<void> Completion::wait(std::chrono::nanoseconds timeout) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, timeout, [this] { return outcome_.has_value(); })) {
    return riffle::fail(Code::timed_out, "the run did not end in time");
  }
  return *outcome_;
}

quic::Client connection_options(const ClientOptions& options, std::shared_ptr<Handler> handler) {
  Trust trust = system_store();
  if (!options.ca.empty()) trust = ca_file(options.ca);
  if (options.insecure) trust = insecure_no_verification();
  quic::Client client{.address = options.connect,
                      .trust = std::move(trust),
                      .alpn = std::vector<std::string>{std::string(perf::alpn)},
                      .delivery = handler ? active : passive};
  client.transport.key_log_file = options.key_log;
  client.handler = std::move(handler);
  return client;
}

Session connect(const Engine& engine, const ClientOptions& options, std::shared_ptr<Handler> handler,
                Completion& done) {
  Session session = engine.connect(connection_options(options, std::move(handler)));
  if (session.state() == SessionState::closed) {
    const auto reason = session.close_reason();
    done.fail(reason ? reason->error : Error(Code::closed));
  }
  return session;
}

UdpStats udp_of(const std::vector<Session>& sessions) {
  UdpStats sum;
  std::set<Address> sockets;
  for (const Session& session : sessions) {
    const auto info = session.info();
    if (!info || !sockets.insert(info->local).second) continue;
    const auto stats = session.stats();
    if (!stats) continue;
    const auto add = [](UdpStats::OneWay& to, const UdpStats::OneWay& from) {
      to.datagrams += from.datagrams;
      to.bytes += from.bytes;
      to.calls += from.calls;
    };
    add(sum.sent, stats->udp.sent);
    add(sum.received, stats->udp.received);
  }
  return sum;
}

Bytes make_request(std::uint64_t wanted, std::uint64_t size) {
  const perf::Header header = perf::header_for(wanted);
  std::string request(perf::header_size + size, '\0');
  std::memcpy(request.data(), header.data(), header.size());
  return Bytes::adopt(std::move(request));
}

}  // namespace riffle::cli::bench
