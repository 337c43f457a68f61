// A scripted transport: two ports joined by memory, with the numbering, the windows and the edges of QUIC.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/session/stream_port.hpp"

namespace riffle::test {

/// What one side grants the other.
struct FakeWindows {
  std::uint64_t stream = 1024 * 1024;
  std::uint64_t connection = 16 * 1024 * 1024;
  std::uint64_t streams_bidi = 100;
  std::uint64_t streams_uni = 100;
};

/// Purpose: a StreamPort without a network. Loses nothing, reorders nothing; a block is held until the peer's port has
/// seen its bytes and said so.
/// As quiche does it: a stream is named once, and again only after it was drained, so a reader that stopped learns of a
/// RESET only by reading; window updates leave when half of a window was read; a stopped or reset stream is drained.
/// Threads: one. The partner must outlive what is under way to it.
class FakePort final : public core::StreamPort {
 public:
  FakePort(Role role, FakeWindows ours, FakeWindows theirs);
  ~FakePort() override;
  static void join(FakePort& client, FakePort& server);

  // What a test sets.
  bool is_established = true;                                   ///< false: handshaking until `establish`
  bool hold_acknowledgements = false;                           ///< blocks stay with us
  bool is_mute = false;                                         ///< nothing leaves: the network is cut
  bool hides_stops = false;                                     ///< a STOP_SENDING is told by `offer` alone
  Instant deadline = never;                                     ///< told as `next_deadline`
  bool ends_at_deadline = false;                                ///< `on_deadline` ends it as an idle timeout does
  void grant_streams(Direction direction, std::uint64_t more);  ///< to the peer
  std::size_t open_streams() const { return streams_.size(); }
  void lose(StreamId id);                                         ///< forgets the stream, as by a fault
  void name_again(StreamId id) { readable_.push_back(raw(id)); }  ///< as a late frame may
  std::vector<std::pair<StreamId, int>> priorities;

  core::Capabilities capabilities() const noexcept override;
  core::PortState state() const noexcept override;
  Error end_reason() const override { return reason_; }
  void on_input(std::span<std::byte> input, const core::Arrival& arrival, Instant now) noexcept override;
  core::Batch poll_output(std::span<std::byte> buffer, Instant now) noexcept override;
  Instant next_deadline() const noexcept override { return state_ == core::PortState::closed ? never : deadline; }
  void on_deadline(Instant now) noexcept override;
  core::Opened open(Direction direction) noexcept override;
  core::Offered offer(StreamId id, base::SendBlock& block) noexcept override;
  core::ReadInto read_into(StreamId id, std::span<std::byte> to) noexcept override;
  void stop(StreamId id, AppCode code) noexcept override;
  void reset(StreamId id, AppCode code) noexcept override;
  void set_priority(StreamId id, std::uint8_t urgency, bool incremental) noexcept override;
  std::optional<StreamId> next_readable() noexcept override;
  std::optional<StreamId> next_writable() noexcept override;
  std::uint64_t streams_left(Direction direction) const noexcept override;
  bool take_stops() noexcept override { return std::exchange(has_stops_, false) && !hides_stops; }
  void close(CloseKind kind, std::uint64_t code, std::string_view reason) noexcept override;

 private:
  struct Message {
    enum class Kind { data, reset, stop, stream_window, connection_window, streams, acknowledge, close } kind;
    std::uint64_t id = 0;
    std::string bytes;
    bool flag = false;         // data: fin; close: application; streams: unidirectional
    std::uint64_t number = 0;  // code, window, or bytes acknowledged
  };
  struct Held {
    base::SendBlock* block;
    std::uint64_t end;  // acknowledged once so many bytes are
    bool fin;
  };
  struct Stream {
    // Receiving.
    std::string buffer;
    bool fin_known = false, fin_read = false, reset_known = false, stopped_by_us = false, is_named = false;
    std::uint64_t reset_code = 0, received = 0, consumed = 0, window = 0, told = 0;
    // Sending.
    std::deque<Held> held;
    std::uint64_t sent = 0, allowed = 0;
    bool fin_sent = false, was_reset = false, wants_room = false, stop_known = false;
    std::uint64_t stop_code = 0;
    bool can_receive = true, can_send = true;
  };

  bool is_local(std::uint64_t id) const { return ((id & 1) != 0) == (role_ == Role::server); }
  Stream* find(std::uint64_t id);
  Stream& add(std::uint64_t id);
  void take(const Message& message);
  void take_data(Stream& stream, const Message& message);
  void say(Message message) { out_.push_back(std::move(message)); }
  void name(std::uint64_t id, Stream& stream);
  void consume(std::uint64_t id, Stream& stream, std::uint64_t size);
  void drop_held(Stream& stream);
  void forget_if_over(std::uint64_t id);
  void wake_writers();

  Role role_;
  bool has_stops_ = false;
  FakeWindows ours_;
  FakePort* peer_ = nullptr;
  core::PortState state_ = core::PortState::established;
  Error reason_{Code::closed};
  std::deque<Message> out_;
  std::deque<std::vector<Message>> wire_;  // under way to us
  std::map<std::uint64_t, Stream> streams_;
  std::set<std::uint64_t> gone_;
  std::deque<std::uint64_t> readable_, writable_;
  std::uint64_t next_[2] = {0, 0};
  std::uint64_t left_[2];
  std::uint64_t first_allowed_ = 0;  // what a new stream may send
  std::uint64_t allowed_, sent_ = 0;
  std::uint64_t consumed_ = 0, told_;
};

}  // namespace riffle::test
