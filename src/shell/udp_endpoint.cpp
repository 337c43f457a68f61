#include "shell/udp_endpoint.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace riffle::shell {

Result<std::unique_ptr<UdpEndpoint>> UdpEndpoint::make(std::unique_ptr<net::DatagramPort> port, runtime::Loop& loop,
                                                       net::ReceiveBuffers& buffers, DatagramSink& sink) {
  std::unique_ptr<UdpEndpoint> endpoint(new UdpEndpoint(std::move(port), loop, buffers, sink));
  if (auto added = loop.poller().add(endpoint->port_->handle(), *endpoint, true, false); !added) {
    endpoint->port_.reset();
    return std::unexpected(added.error());
  }
  return endpoint;
}

UdpEndpoint::~UdpEndpoint() {
  if (port_) loop_.poller().remove(port_->handle());
}

void UdpEndpoint::on_ready(bool readable, bool writable) noexcept {
  if (writable && is_blocked()) send_pending();
  if (readable) receive();
}

void UdpEndpoint::receive() noexcept {
  const net::ReceiveOutcome outcome = port_->receive(buffers_);
  for (const net::ReceivedBatch& batch : outcome.batches) {
    const core::Arrival arrival{.local = batch.local, .peer = batch.peer};
    for (std::size_t at = 0; at < batch.bytes.size();) {
      const std::size_t size = std::min(batch.segment, batch.bytes.size() - at);
      sink_.on_datagram(batch.bytes.subspan(at, size), arrival, loop_.now());
      at += size;
    }
  }
  if (outcome.more) loop_.expect_more_input();
  if (outcome.error) sink_.on_socket_error(*this, *outcome.error, loop_.now());
}

void UdpEndpoint::send(std::span<const std::byte> bytes, const core::Batch& batch) noexcept {
  RIFFLE_CHECK(!is_blocked(), "a batch was filled for a socket that is not writable");
  if (port_->send(bytes, batch.segment, batch.peer, batch.local) != net::SendStatus::would_block) return;
  pending_.assign(bytes.begin(), bytes.end());
  pending_shape_ = batch;
  loop_.poller().change(port_->handle(), *this, true, true);
}

void UdpEndpoint::send_pending() noexcept {
  const auto status = port_->send(pending_, pending_shape_.segment, pending_shape_.peer, pending_shape_.local);
  if (status == net::SendStatus::would_block) return;
  pending_.clear();
  loop_.poller().change(port_->handle(), *this, true, false);
  for (runtime::Machine* machine : waiting_) loop_.mark_dirty(*machine);
  waiting_.clear();
}

void UdpEndpoint::wait_for_room(runtime::Machine& machine) {
  if (std::find(waiting_.begin(), waiting_.end(), &machine) == waiting_.end()) waiting_.push_back(&machine);
}

void UdpEndpoint::forget(runtime::Machine& machine) noexcept { std::erase(waiting_, &machine); }

}  // namespace riffle::shell
