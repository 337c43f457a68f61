#include "sim_socket.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "net/udp_counters.hpp"

namespace riffle::sim {
namespace {

/// UDP_SEGMENT and UDP_GRO: at most 64 datagrams in one batch.
constexpr std::size_t max_segments = 64;

}  // namespace

std::unique_ptr<SimSocket> SimSocket::open(SocketWorld& world, int handle, const Address& local,
                                           std::optional<Address> peer, const net::DatagramOptions& options) {
  std::unique_ptr<SimSocket> socket(new SimSocket(world, handle, peer, options));
  socket->local_ = world.network.bind(local, *socket);
  if (socket->local_.family == Address::Family::none) return nullptr;
  return socket;
}

SimSocket::~SimSocket() {
  if (local_.family != Address::Family::none) world_.network.unbind(local_);
}

bool SimSocket::on_arrival(Datagram datagram) noexcept {
  // A connected socket hears its peer alone.
  if (peer_ && *peer_ != datagram.from) return true;
  if (queued_bytes_ + datagram.bytes.size() > options_.socket_buffer) {
    ++stats_.kernel_drops;
    return false;
  }
  queued_bytes_ += datagram.bytes.size();
  queue_.push_back(std::move(datagram));
  return true;
}

// ---- sending -----------------------------------------------------------------------------------------------------

net::SendStatus SimSocket::send(std::span<const std::byte> bytes, std::size_t segment, const Address& peer,
                                const Address&) noexcept {
  const Instant now = world_.clock.now();
  std::size_t done = 0;
  if (pending_.size != 0) {
    if (pending_.size != bytes.size() || pending_.hash != hash_of(bytes)) {
      world_.broken_contract = "after would_block another batch was sent than the pending one";
    }
    done = std::exchange(pending_, {}).done;
  }
  if (bytes.empty() || segment == 0 || (bytes.size() + segment - 1) / segment > max_segments) {
    world_.broken_contract = "an empty batch, or one of more than 64 segments";
  }
  if (!is_writable()) return block(bytes, done);
  const bool blocks = world_.random.chance(world_.faults.would_block);
  const bool loses = !blocks && world_.random.chance(world_.faults.no_buffers);
  const std::size_t left = (bytes.size() - done + segment - 1) / segment;
  std::size_t allowed = blocks || loses ? world_.random.below(left) : left;

  const std::size_t begin = done;
  for (; allowed > 0; --allowed) {
    const auto datagram = bytes.subspan(done, std::min(segment, bytes.size() - done));
    if (!world_.network.send(local_, peer, datagram, now)) {
      stats_.send_failures += (bytes.size() - done + segment - 1) / segment;
      return net::SendStatus::too_long;
    }
    done += datagram.size();
  }
  if (done > begin) net::count_call(stats_.sent, (done - begin + segment - 1) / segment, done - begin);
  if (blocks) {
    writable_at_ = now + world_.random.duration(std::chrono::microseconds(10), std::chrono::milliseconds(20));
    return block(bytes, done);
  }
  if (loses) {
    world_.trace.note(now, "socket", "ENOBUFS", local_.port, bytes.size() - done);
    stats_.send_failures += (bytes.size() - done + segment - 1) / segment;
    return net::SendStatus::failed;
  }
  return net::SendStatus::sent;
}

net::SendStatus SimSocket::block(std::span<const std::byte> bytes, std::size_t done) noexcept {
  world_.trace.note(world_.clock.now(), "socket", "EAGAIN", local_.port, bytes.size(), done);
  ++stats_.sent.would_block;
  pending_ = {.size = bytes.size(), .done = done, .hash = hash_of(bytes)};
  return net::SendStatus::would_block;
}

// ---- receiving ---------------------------------------------------------------------------------------------------

net::ReceiveOutcome SimSocket::receive(net::ReceiveBuffers& buffers) noexcept {
  const bool is_short = world_.random.chance(world_.faults.short_receive);
  const std::size_t most = is_short ? 1 : options_.gro ? max_segments : 1;
  const std::size_t batches = is_short ? 1 : net::ReceiveBuffers::batches;
  net::ReceiveOutcome outcome;
  std::size_t filled = 0;
  std::size_t datagrams = 0;
  std::size_t bytes = 0;
  for (; filled < batches && !queue_.empty(); ++filled) {
    net::ReceivedBatch& batch = buffers.results()[filled];
    datagrams += take_batch(buffers.batch(filled), most, batch);
    bytes += batch.bytes.size();
  }
  if (filled > 0) {
    net::count_call(stats_.received, datagrams, bytes);
  } else {
    ++stats_.received.would_block;
  }
  outcome.batches = buffers.results().first(filled);
  outcome.more = !is_short && filled == batches;
  return outcome;
}

/// What GRO would have put together: one peer, one size, the last one possibly shorter. Returns how many they are.
std::size_t SimSocket::take_batch(std::span<std::byte> memory, std::size_t most, net::ReceivedBatch& out) noexcept {
  out = {.bytes = {}, .segment = queue_.front().bytes.size(), .peer = queue_.front().from, .local = local_};
  std::size_t size = 0;
  std::size_t count = 0;
  while (count < most && !queue_.empty()) {
    const Datagram& next = queue_.front();
    if (next.from != out.peer || next.bytes.size() > out.segment || size + next.bytes.size() > memory.size()) break;
    const std::size_t part = next.bytes.size();
    std::memcpy(memory.data() + size, next.bytes.data(), part);
    size += part;
    ++count;
    queued_bytes_ -= part;
    queue_.pop_front();
    if (part < out.segment) break;
  }
  out.bytes = memory.first(size);
  return count;
}

}  // namespace riffle::sim
