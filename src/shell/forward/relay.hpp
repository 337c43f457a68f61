// One TCP connection and one stream: what comes from either goes to the other.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <riffle/bytes.hpp>
#include <riffle/forward.hpp>
#include <riffle/stream.hpp>
#include "net/tcp_socket.hpp"
#include "shell/forward/notice.hpp"
#include "shell/forward/pump.hpp"

namespace riffle::forwarding {

/// Purpose: moves the bytes of one connection both ways.
///
///   socket -> stream: open -> finished            the socket's FIN; the stream is finished behind the last byte
///                     open -> discarding          the peer takes no more; what still comes from the socket is dropped
///                     discarding -> finished      the socket's FIN, or the other way is over and a grace has passed
///   stream -> socket: open -> finished            the stream's end; a FIN behind the last byte
///   either -> over                                both finished; or a failure, which resets the socket and the stream
///
/// Backpressure: a direction holds at most one block that the other side did not take, and reads no more until it did.
/// Threads: the pump's. Lifetime: its owner drops it when `on_over` says so.
class Relay final : public runtime::Pollable, public NoticeTarget, private Resumable, private Timed {
 public:
  class Owner {
   public:
    /// A refusal other than `none` is what the server's status byte said.
    virtual void on_over(Relay& relay, forward::Refusal refusal) noexcept = 0;

   protected:
    ~Owner() = default;
  };
  enum class Status : bool { none, expected };

  /// With `Status::expected` the stream's first byte says whether the server has connected.
  /// `first` goes into the stream before the socket's bytes.
  Relay(Pump& pump, Owner& owner, Counters& counters, net::TcpSocket socket, Stream stream, Bytes first, Status status);
  ~Relay() override;

  void start() noexcept;
  /// Gives up at once: the socket is reset, and the stream.
  void abandon() noexcept;
  void on_notice(std::uint32_t happened) noexcept override;
  void on_ready(bool readable, bool writable) noexcept override;
  const Stream& stream() const noexcept { return stream_; }
  /// What will be told of the stream; set once it is known.
  Ref<Notice> notice;
  /// For the owner's log.
  std::string name;

 private:
  enum class ToStream : std::uint8_t { open, discarding, finished };
  enum class ToSocket : std::uint8_t { status, open, finished };
  enum class Step : std::uint8_t { on, blocked };

  void resume() noexcept override;
  void on_deadline() noexcept override;

  void socket_to_stream() noexcept;
  Step take_from_socket() noexcept;
  Step give_to_stream(std::span<const std::byte> bytes) noexcept;
  Step give_block_to_stream(Bytes block) noexcept;
  void discard_from_socket() noexcept;

  void stream_to_socket() noexcept;
  Step take_from_stream() noexcept;
  Step take_status() noexcept;
  Step give_to_socket(std::span<const std::byte> bytes) noexcept;
  Step flush_held_for_socket() noexcept;
  /// 0: the socket is full, or has failed and all is over.
  std::size_t write_to_socket(std::span<const std::byte> bytes) noexcept;
  void finish_socket() noexcept;

  void discard() noexcept;
  void fail() noexcept;
  void drop_socket() noexcept;
  void end_if_both_finished() noexcept;
  void over(forward::Refusal refusal) noexcept;
  void watch() noexcept;

  Pump& pump_;
  Owner& owner_;
  Counters& counters_;
  net::TcpSocket socket_;
  Stream stream_;
  Bytes for_stream_;  // read from the socket; the stream had no credit
  Bytes for_socket_;  // read from the stream; the socket was full
  ToStream to_stream_ = ToStream::open;
  ToSocket to_socket_ = ToSocket::open;
  bool stream_has_ended_ = false;  // its fin was read; for_socket_ may still hold its last bytes
  bool is_over_ = false;
  bool is_watched_ = false, watches_reading_ = false, watches_writing_ = false;
};

}  // namespace riffle::forwarding
