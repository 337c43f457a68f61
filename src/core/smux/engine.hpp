// Purpose: one smux version 2 session as a pure machine behind the StreamPort: bytes and instants go in, bytes come
// out. Source: Go module github.com/xtaci/smux v1.5.57 (session.go, stream.go); docs of the wire in frame.hpp.
#pragma once

#include <array>
#include <vector>

#include "base/id_map.hpp"
#include "core/session/stream_port.hpp"
#include "core/smux/frame.hpp"
#include "core/smux/options.hpp"
#include "core/smux/stream.hpp"

namespace riffle::core::smux {

/// Contract, beyond that of StreamPort:
/// - `on_input` takes bytes in any chunking, `poll_output` fills a buffer of any size (Batch::segment is 0). What
///   `poll_output` gave must reach the carrier whole and in order.
/// - smux has neither handshake nor negotiation: `established` from the start.
/// - A stream of the peer is named by `next_readable` once when its SYN arrives, with or without data; `read_into` of
/// an
///   empty one gives `nothing`. An opened stream is writable at once: `next_writable` names only what was `blocked`,
///   and room comes with `poll_output`, not with input: ask `next_writable` after it.
/// - `Offered::taken` bytes are queued, up to Options::send_queue a stream; a block's reference goes when the last of
///   its bytes was copied into an output buffer, or when its stream or the session ended.
/// - `stop` throws away what arrives and goes on giving the peer credit, for smux cannot ask it to stop. `reset` drops
///   what is queued and sends FIN: the peer sees a clean end, for smux has no reset, and its code is lost (0).
/// - `read_into` tells the end of a stream once, then gives `nothing` (or `gone`, when the stream is forgotten).
/// Without
///   room it changes nothing and gives `data` with 0 bytes if there is something, the end included.
/// - A stream is forgotten once both sides have sent FIN and ours has read (or thrown away) all; frames for unknown
///   streams are ignored, as in the Go module.
/// - `close` writes out what the peer's windows allow, drops the rest and sends no FIN for streams that have not ended:
///   a cut-off stream must not look complete. The peer learns of it by the end of the carrier.
///   `closed` follows with the `poll_output` that gives 0 bytes: what it gave before has reached the shell by then.
/// - Bytes that arrived before the end can be read after it; then `read_into` gives `gone`.
/// Fairness: streams with data and window take turns of `quantum` bytes; control frames go before data.
/// Threads: one, the owner loop's. Allocates only when it holds more than it ever did: chunks, pieces and streams are
/// pooled.
class Engine final : public StreamPort {
 public:
  /// `options` must be valid (`validate`). `now` starts the keep-alive.
  Engine(const Options& options, Instant now);
  ~Engine() override;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  Capabilities capabilities() const noexcept override { return static_cast<Capabilities>(Capability::half_close); }
  PortState state() const noexcept override { return state_; }
  Error end_reason() const override { return reason_; }

  void on_input(std::span<std::byte> input, const Arrival& arrival, Instant now) noexcept override;
  Batch poll_output(std::span<std::byte> buffer, Instant now) noexcept override;
  Instant next_deadline() const noexcept override;
  void on_deadline(Instant now) noexcept override;
  /// The carrier can carry no more (its end, or its failure): closed at once, with this reason if there is none yet.
  void on_carrier_end(Error reason) noexcept;

  Opened open(Direction direction) noexcept override;
  /// Why `open` gives no stream now, with the next step; meaningful after `blocked` or `failed`.
  Error open_failure(Direction direction) const;
  Offered offer(StreamId id, base::SendBlock& block) noexcept override;
  ReadInto read_into(StreamId id, std::span<std::byte> to) noexcept override;
  void stop(StreamId id, AppCode code) noexcept override;
  void reset(StreamId id, AppCode code) noexcept override;
  /// smux has no priorities (no Capability::priority): does nothing.
  void set_priority(StreamId id, std::uint8_t urgency, bool incremental) noexcept override;

  std::optional<StreamId> next_readable() noexcept override;
  std::optional<StreamId> next_writable() noexcept override;
  std::uint64_t streams_left(Direction direction) const noexcept override;
  void close(CloseKind kind, std::uint64_t code, std::string_view reason) noexcept override;

  /// Bytes received and not yet read, over all streams.
  std::size_t buffered() const noexcept { return buffered_; }
  std::size_t open_streams() const noexcept { return streams_.size(); }

 private:
  // engine.cpp: streams, and the calls of the session
  Stream* find(StreamId id) const noexcept;
  Stream* find(std::uint32_t id) const noexcept { return streams_.find(key(id)); }
  std::uint64_t key(std::uint32_t id) const noexcept;
  Stream& add(std::uint32_t id, bool is_ours);
  void forget_if_over(Stream& stream);
  void consume(Stream& stream, std::uint32_t size);
  void name_readable(Stream& stream);
  void end(Error reason, bool flush) noexcept;
  void finish_closing() noexcept;
  bool is_consistent() const noexcept;
  void check() const noexcept;

  // input.cpp: frames of the peer, and deadlines
  void on_control(const Frame& frame);
  void on_syn(std::uint32_t id);
  void on_update(Stream& stream, Update update);
  void on_fin(Stream& stream);
  void on_data_begins(const Frame& frame);
  void on_data(std::span<const std::byte> data);
  void violation(std::string sentence);
  void end_hold(Stream& stream);
  void end_grace(Stream& stream);

  // output.cpp: frames of ours
  void schedule(Stream& stream);
  bool has_output() const noexcept;
  std::size_t drain_spill(std::span<std::byte> to) noexcept;
  std::size_t fill(std::span<std::byte> to);
  std::size_t fill_control(std::span<std::byte> to);
  std::size_t fill_stream_control(Stream& stream, std::span<std::byte> to);
  std::size_t fill_data(std::span<std::byte> to, bool is_first);

  Options options_;
  PortState state_ = PortState::established;
  Error reason_{Code::closed};
  Instant now_;  ///< the latest that was handed in
  Instant last_input_;
  Instant last_output_;

  Decoder decoder_;
  Stream* receiving_ = nullptr;  ///< of the PSH that is arriving; null: its payload is thrown away
  std::size_t buffered_ = 0;

  std::uint64_t next_id_;  ///< 64 bits, so that it can stand behind the last id
  std::uint32_t ours_ = 0;
  std::uint32_t theirs_ = 0;

  bool nop_due_ = false;
  std::vector<std::uint32_t> refused_;  ///< streams of the peer to answer with FIN
  /// The rest of a frame that had no room: 16 bytes hold any control frame, or a header and 8 bytes of data.
  std::array<std::byte, update_frame_size> spill_{};
  std::uint8_t spill_begin_ = 0;
  std::uint8_t spill_end_ = 0;

  Pool<Chunk> chunks_{256};      ///< 1 MiB: the whole windows of four busy streams
  Pool<Piece> pieces_{1024};     ///< 32 KiB
  Pool<Stream> pool_{256};       ///< 64 KiB
  base::IdMap<Stream> streams_;  ///< by `key` of the id
  IntrusiveList<Stream, &Stream::control> control_;
  IntrusiveList<Stream, &Stream::sendable> sendable_;
  IntrusiveList<Stream, &Stream::to_read> to_read_;
  IntrusiveList<Stream, &Stream::to_write> to_write_;
  IntrusiveList<Stream, &Stream::timer> held_;    ///< in order of `due`, for all wait equally long
  IntrusiveList<Stream, &Stream::timer> graced_;  ///< likewise
};

}  // namespace riffle::core::smux
