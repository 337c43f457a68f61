#include "shell/forward/relay.hpp"

#include <array>
#include <utility>

namespace riffle::forwarding {
namespace {

/// A cycle moves at most so many blocks a direction and connection (1 MiB), so that no connection waits long.
constexpr int blocks_per_turn = 16;
/// Reads of at least so much are handed to the stream as they are; fewer bytes are copied into its own memory, or a
/// 64 KiB block would be kept for each small write.
constexpr std::size_t worth_a_block = 16 * 1024;
/// How long what nobody wants is read and dropped before the socket is reset. A reset at once could destroy bytes that
/// are still on their way to the socket's program.
constexpr auto discard_grace = std::chrono::seconds(5);

/// Memory to receive into that becomes the stream's own.
class ReceiveBlock final : public Block {
 public:
  static ReceiveBlock* make() { return new ReceiveBlock; }
  std::span<std::byte> memory() noexcept { return memory_; }

 private:
  ReceiveBlock() noexcept : Block([](Block* block) noexcept { delete static_cast<ReceiveBlock*>(block); }) {}
  std::array<std::byte, Pump::scratch_size> memory_;  // not initialised: 64 KiB that are overwritten
};

/// The pump thread's block in waiting.
ReceiveBlock*& spare_block() {
  struct Spare {
    ReceiveBlock* block = nullptr;
    ~Spare() {
      if (block != nullptr) block->release();
    }
  };
  thread_local Spare spare;
  if (spare.block == nullptr) spare.block = ReceiveBlock::make();
  return spare.block;
}

}  // namespace

Relay::Relay(Pump& pump, Owner& owner, Counters& counters, net::TcpSocket socket, Stream stream, Bytes first,
             Status status)
    : pump_(pump),
      owner_(owner),
      counters_(counters),
      socket_(std::move(socket)),
      stream_(std::move(stream)),
      for_stream_(std::move(first)),
      to_socket_(status == Status::expected ? ToSocket::status : ToSocket::open) {
  counters_.active.fetch_add(1, std::memory_order_relaxed);
}

Relay::~Relay() {
  if (is_watched_) pump_.poller().remove(socket_.handle());
  pump_.disarm(*this);
  pump_.not_later(*this);
  if (notice && notice->target == this) notice->link->forget(*notice);
  counters_.active.fetch_sub(1, std::memory_order_relaxed);
}

void Relay::start() noexcept { resume(); }

void Relay::resume() noexcept {
  stream_to_socket();
  socket_to_stream();
  watch();
}

void Relay::abandon() noexcept { fail(); }

void Relay::on_notice(std::uint32_t happened) noexcept {
  if ((happened & stream_stopped) != 0) discard();
  if ((happened & stream_readable) != 0) stream_to_socket();
  if ((happened & (stream_writable | stream_stopped)) != 0) socket_to_stream();
  watch();
}

void Relay::on_ready(bool readable, bool writable) noexcept {
  // Neither: the socket has an error, which the calls will tell.
  const bool both = readable == writable;
  if ((writable || both) && watches_writing_) stream_to_socket();
  if ((readable || both) && watches_reading_) socket_to_stream();
  watch();
}

// Socket to stream.

void Relay::socket_to_stream() noexcept {
  if (is_over_ || to_stream_ == ToStream::finished) return;
  if (to_stream_ == ToStream::discarding) {
    discard_from_socket();
    return;
  }
  if (!for_stream_.empty() && give_block_to_stream(std::exchange(for_stream_, {})) == Step::blocked) return;
  for (int turn = 0; turn < blocks_per_turn; ++turn) {
    if (take_from_socket() == Step::blocked) return;
  }
  pump_.resume_later(*this);
}

Relay::Step Relay::take_from_socket() noexcept {
  ReceiveBlock*& block = spare_block();
  const auto read = socket_.read(block->memory());
  if (!read) {
    fail();
    return Step::blocked;
  }
  if (read->status == net::TcpMoved::Status::would_block) return Step::blocked;
  if (read->status == net::TcpMoved::Status::end_of_stream) {
    to_stream_ = ToStream::finished;
    (void)stream_.finish();  // a stream that the peer has stopped needs no end
    end_if_both_finished();
    return Step::blocked;
  }
  const std::size_t size = read->bytes;
  counters_.bytes_to_session.fetch_add(size, std::memory_order_relaxed);
  if (size < worth_a_block) return give_to_stream(block->memory().first(size));
  Bytes bytes(block, block->memory().data(), size);
  block = nullptr;
  return give_block_to_stream(std::move(bytes));
}

Relay::Step Relay::give_to_stream(std::span<const std::byte> bytes) noexcept {
  const auto written = stream_.try_write(bytes);
  if (written && *written == WriteStatus::accepted) return Step::on;
  // Let the other form look at what came of it: it keeps what was not taken.
  return give_block_to_stream(Bytes::copy(bytes));
}

Relay::Step Relay::give_block_to_stream(Bytes block) noexcept {
  const auto written = stream_.try_write(block);
  if (written && *written == WriteStatus::accepted) return Step::on;
  if (written) {
    for_stream_ = std::move(block);
  } else if (written.error() == Code::stream_stopped) {
    discard();
  } else {
    fail();
  }
  return Step::blocked;
}

void Relay::discard() noexcept {
  if (is_over_ || to_stream_ != ToStream::open) return;
  to_stream_ = ToStream::discarding;
  for_stream_ = {};
  if (to_socket_ == ToSocket::finished) pump_.arm(*this, discard_grace);
}

void Relay::discard_from_socket() noexcept {
  for (int turn = 0; turn < blocks_per_turn; ++turn) {
    const auto read = socket_.read(pump_.scratch());
    if (!read) return fail();
    if (read->status == net::TcpMoved::Status::moved) continue;
    if (read->status == net::TcpMoved::Status::end_of_stream) {
      to_stream_ = ToStream::finished;
      end_if_both_finished();
    }
    return;
  }
  pump_.resume_later(*this);
}

void Relay::on_deadline() noexcept { fail(); }

// Stream to socket.

void Relay::stream_to_socket() noexcept {
  if (is_over_ || to_socket_ == ToSocket::finished) return;
  if (to_socket_ == ToSocket::status && take_status() == Step::blocked) return;
  if (!for_socket_.empty() && flush_held_for_socket() == Step::blocked) return;
  for (int turn = 0; turn < blocks_per_turn; ++turn) {
    if (stream_has_ended_) return finish_socket();
    if (take_from_stream() == Step::blocked) return;
  }
  pump_.resume_later(*this);
}

Relay::Step Relay::take_status() noexcept {
  std::array<std::byte, 1> status{};
  const auto read = stream_.try_read_into(status);
  if (read && read->status == Read::Status::would_block) return Step::blocked;
  if (!read || read->size == 0) {
    fail();
    return Step::blocked;
  }
  stream_has_ended_ = read->fin;
  to_socket_ = ToSocket::open;
  if (status[0] == std::byte{0}) {
    counters_.connections.fetch_add(1, std::memory_order_relaxed);
    return Step::on;
  }
  drop_socket();
  (void)stream_.shutdown(Side::both, forward::connection_reset);
  over(static_cast<forward::Refusal>(status[0]));
  return Step::blocked;
}

Relay::Step Relay::take_from_stream() noexcept {
  const auto read = stream_.try_read_into(pump_.scratch());
  if (!read) {
    fail();
    return Step::blocked;
  }
  if (read->status == Read::Status::would_block) return Step::blocked;
  stream_has_ended_ = read->fin || read->status == Read::Status::end_of_stream;
  return read->size == 0 ? Step::on : give_to_socket(pump_.scratch().first(read->size));
}

Relay::Step Relay::give_to_socket(std::span<const std::byte> bytes) noexcept {
  while (!bytes.empty()) {
    const std::size_t size = write_to_socket(bytes);
    if (size == 0) {
      if (!is_over_) for_socket_ = Bytes::copy(bytes);
      return Step::blocked;
    }
    bytes = bytes.subspan(size);
  }
  return Step::on;
}

Relay::Step Relay::flush_held_for_socket() noexcept {
  while (!for_socket_.empty()) {
    const std::size_t size = write_to_socket(for_socket_.span());
    if (size == 0) return Step::blocked;
    for_socket_ = for_socket_.slice(size, for_socket_.size() - size);
  }
  return Step::on;
}

std::size_t Relay::write_to_socket(std::span<const std::byte> bytes) noexcept {
  const auto written = socket_.write(bytes);
  if (!written) {
    fail();
    return 0;
  }
  if (written->status != net::TcpMoved::Status::moved) return 0;
  counters_.bytes_to_sockets.fetch_add(written->bytes, std::memory_order_relaxed);
  return written->bytes;
}

void Relay::finish_socket() noexcept {
  to_socket_ = ToSocket::finished;
  (void)socket_.shutdown_write();  // a socket that has failed tells it when it is read
  if (to_stream_ == ToStream::discarding) pump_.arm(*this, discard_grace);
  end_if_both_finished();
}

// The end.

void Relay::end_if_both_finished() noexcept {
  if (to_stream_ == ToStream::finished && to_socket_ == ToSocket::finished) over(forward::Refusal::none);
}

void Relay::fail() noexcept {
  if (is_over_) return;
  // A side that has ended in order stays so: its last bytes may not have arrived yet.
  const bool writing = to_stream_ != ToStream::finished;
  const bool reading = !stream_has_ended_;
  if (writing || reading) {
    const Side side = writing && reading ? Side::both : writing ? Side::writing : Side::reading;
    (void)stream_.shutdown(side, forward::connection_reset);
  }
  drop_socket();
  over(forward::Refusal::none);
}

void Relay::drop_socket() noexcept {
  if (std::exchange(is_watched_, false)) pump_.poller().remove(socket_.handle());
  watches_reading_ = watches_writing_ = false;
  socket_.reset();
}

void Relay::over(forward::Refusal refusal) noexcept {
  is_over_ = true;
  owner_.on_over(*this, refusal);
}

void Relay::watch() noexcept {
  const bool reading = !is_over_ && to_stream_ != ToStream::finished && for_stream_.empty();
  const bool writing = !is_over_ && !for_socket_.empty();
  if (reading == watches_reading_ && writing == watches_writing_) return;
  watches_reading_ = reading;
  watches_writing_ = writing;
  // With nothing to wait for the descriptor leaves the poller, which would tell a hang-up for ever.
  if (!reading && !writing) {
    if (std::exchange(is_watched_, false)) pump_.poller().remove(socket_.handle());
  } else if (is_watched_) {
    pump_.poller().change(socket_.handle(), *this, reading, writing);
  } else if (pump_.poller().add(socket_.handle(), *this, reading, writing)) {
    is_watched_ = true;
  } else {
    watches_reading_ = watches_writing_ = false;
    fail();
  }
}

}  // namespace riffle::forwarding
