// The one Session: life cycle, waiters, streams, delivery modes and credit, over any StreamPort.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <riffle/error.hpp>
#include <riffle/handler.hpp>
#include <riffle/ids.hpp>
#include <riffle/options.hpp>
#include <riffle/session.hpp>
#include <riffle/stats.hpp>
#include "base/id_map.hpp"
#include "base/instant.hpp"
#include "base/send_block.hpp"
#include "base/slab.hpp"
#include "core/session/action.hpp"
#include "core/session/life_cycle.hpp"
#include "core/session/stream.hpp"
#include "core/session/stream_port.hpp"
#include "meet/session_meet.hpp"

namespace riffle::core {

/// What the sessions of one loop share.
struct LoopStock {
  StreamPool streams;
  base::ReleasedBlocks released;  ///< blocks that a transport has let go; given to `Session::on_released`
  base::Slab* scratch = nullptr;  ///< where deliveries are read to; replaced when a handler keeps it (RD-15)
  std::uint32_t scratch_used = 0;
  std::uint64_t receive_held = 0;  ///< bytes in receive lists of all sessions
  std::uint64_t receive_budget = ~std::uint64_t{0};
  std::uint64_t send_held = 0;  ///< bytes accepted and not yet taken by a transport
  std::uint64_t send_budget = ~std::uint64_t{0};

  ~LoopStock() {
    if (scratch != nullptr) scratch->release();
  }
};

struct SessionOptions {
  Delivery delivery;  ///< of new streams
  StreamLimits limits;
  std::uint64_t stream_window = 1024 * 1024;  ///< what a parked stream may hold in the transport
  std::chrono::nanoseconds handshake_timeout{std::chrono::seconds(10)};
};

/// One delivery of an active stream.
struct Delivered {
  Bytes bytes;
  bool fin = false;
};

/// Purpose: see above. Contract (the same for every machine of the core):
/// - Inputs (`on_input`, `on_deadline`, `on_attention`, `on_released`, and the calls that a handler's context makes)
///   change state and append to `actions`; none runs user code, blocks or throws.
/// - The shell calls `collect` once a cycle, runs the actions in order, then pulls `poll_output`.
/// - `is_consistent()` holds at the end of every public call.
/// Threads: the owner loop's. Other threads go through SessionMeet and StreamMeet.
class Session {
 public:
  Session(SessionOptions options, meet::Held<meet::SessionMeet> shared, LoopStock& stock);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Life.
  void begin(Instant now);
  /// The transport, which must outlive the session's use of it. Several may have been tried; this one it is.
  void adopt(StreamPort& port, Instant now);
  /// It came to nothing: no transport could be had.
  void fail(Error why, Instant now);
  void close(StreamPort::CloseKind kind, std::uint64_t code, std::string_view reason, Error why);
  SessionState state() const noexcept { return state_; }
  bool is_over() const noexcept { return state_ == SessionState::closed; }
  const CloseReason& close_reason() const noexcept { return reason_; }
  /// Everything that was written has been acknowledged: a stopping engine may close it.
  bool is_drained() const noexcept;

  // Inputs.
  void on_input(std::span<std::byte> input, const Arrival& arrival, Instant now);
  void on_deadline(Instant now);
  void on_session_attention(std::uint32_t bits, Instant now);
  void on_stream_attention(meet::StreamMeet& shared, std::uint32_t bits, Instant now);
  /// A block of this session has been let go by the transport (acknowledged); the block is destroyed by the caller.
  void on_released(base::SendBlock& block, Instant now);

  // Outputs.
  /// Looks at what the transport has for us. True: the actions are to be run.
  void collect(Instant now);
  Actions actions;
  /// After the actions have run: streams that have ended are given back.
  void end_actions();
  Batch poll_output(std::span<std::byte> buffer, Instant now);
  Instant next_deadline() const noexcept;
  /// Whether another cycle has work for it at once.
  bool is_dirty() const noexcept { return is_dirty_; }

  // Deliveries (run by the shell between core calls).
  std::optional<Delivered> begin_delivery(StreamId id, Instant now);
  void end_delivery(StreamId id, Instant now);

  // What a handler may do; effects follow when its callback has returned.
  void write(StreamId id, base::SendBlock* block, Instant now);
  std::int64_t writable_bytes(StreamId id) noexcept;
  Result<Read> read(StreamId id, std::size_t max, Instant now);
  Result<StreamId> open(Direction direction, Instant now);
  void set_delivery(StreamId id, Delivery delivery, Instant now);
  void set_priority(StreamId id, std::uint8_t urgency, bool incremental) noexcept;
  void shutdown(StreamId id, Side side, AppCode code, Instant now);
  /// The shared block of a stream, made when it is first asked for; null for an unknown id.
  meet::StreamMeet* share(StreamId id);

  // Questions.
  SessionStats stats() const noexcept;
  void list_streams(bool readable, std::vector<StreamId>& out) const;
  meet::SessionMeet& shared() const noexcept { return *shared_; }
  /// An accept whose caller has given up meanwhile: its stream goes to the next one.
  void take_back(meet::Asking& asking);
  /// A question that only the shell can answer (info, statistics) lands here.
  meet::Asking* take_question() noexcept;
  void is_consistent() const noexcept;

 private:
  // Life (session.cpp).
  void move(LifeEvent event, Instant now);
  void request_close(StreamPort::CloseKind kind, std::uint64_t code, std::string_view reason, Error why,
                     std::uint8_t takes);
  void collect_from_port(Instant now);
  void take_writable();
  void set_blocked(Stream& stream, bool blocked) noexcept;
  bool is_time_for_stops(bool has_input, Instant now) noexcept;
  void on_established(Instant now);
  bool is_time_to_close(Instant now) noexcept;
  void end(CloseReason reason, Instant now);
  void end_stream(Stream& stream);
  void answer(meet::Asking* asking, std::optional<Error> error = std::nullopt);
  void answer_all(meet::Asking*& list, const Error* error);
  void answer_those(meet::Asking*& list, meet::Question question);
  void drop_abandoned(meet::Asking*& list);
  void answer_now(meet::Asking* list) noexcept;
  void take_askings();
  Error closed_error() const;

  // Streams (session_streams.cpp).
  Stream* find(StreamId id) noexcept;
  Stream& make(StreamId id, bool is_local, Direction direction);
  Stream* accept(StreamId id, Instant now);
  void start(Stream& stream, bool is_local, Direction direction);
  bool is_local_id(StreamId id) const noexcept;
  Direction direction_of(StreamId id) const noexcept;
  void attach_meet(Stream& stream, meet::Held<meet::StreamMeet> meet);
  void take_openings(Instant now);
  void open_waiting(Instant now);
  void refuse_opening(Stream& stream, Code code);
  void withdraw_opening(Stream& stream);
  void publish_open_credit() noexcept;
  void hand_out_accepted();
  void maybe_finish(Stream& stream);
  void touch(Stream& stream, Instant now) noexcept;

  // Reading (session_reading.cpp).
  void advance_reading(Stream& stream, Instant now);
  void fill_list(Stream& stream, Instant now);
  bool next_bytes(Stream& stream, Delivered& out, Instant now);
  Bytes take_scratch(std::size_t size);
  void on_refill(Stream& stream, Instant now);
  void account(Stream& stream);
  void forget_held(Stream& stream) noexcept;
  void settle_passive(Stream& stream, Instant now);
  void finish_if_drained(Stream& stream, bool has_looked);
  std::uint64_t list_room(const Stream& stream) const noexcept;
  void on_read_status(Stream& stream, const ReadInto& got, Instant now);
  void end_reading(Stream& stream, ReceiveState state, AppCode code);
  void apply_delivery(Stream& stream, Delivery delivery, Instant now);
  void queue_delivery(Stream& stream);
  void wake_reader(Stream& stream);
  void park(Stream& stream, Instant now);
  void unpark(Stream& stream);
  void check_stalled(Instant now);
  void probe_parked(Instant now);
  bool has_bytes(Stream& stream, Instant now);
  std::span<std::byte> scratch_room();
  void stop_reading(Stream& stream, AppCode code, Code told);
  Result<Read> read_now(Stream& stream, std::size_t max, Instant now);

  // Attention (session_attention.cpp).
  void on_late_attention(meet::StreamMeet& shared);
  void take_stream_askings(Stream& stream);
  void on_handle_gone(Stream& stream, Instant now);

  // Writing (session_writing.cpp).
  void enqueue(Stream& stream, base::SendBlock* block, Instant now);
  void take_writes(Stream& stream, Instant now);
  void refuse_write(Stream& stream, base::SendBlock* block);
  void schedule_send(Stream& stream);
  void refill(Instant now);
  bool offer_blocks(Stream& stream, Instant now);
  void look_for_stops();
  void probe_stop(Stream& stream);
  void on_stopped(Stream& stream, AppCode code);
  void settle_taken(Stream& stream, std::int64_t taken, Instant now);
  void give_credit(Stream& stream, std::int64_t size);
  void withhold_credit();
  void return_credit(std::int64_t size);
  void unschedule(Stream& stream) noexcept;
  void unpause(Stream& stream) noexcept;
  void discard(base::SendBlock* block) noexcept;
  void free_discarded() noexcept;
  void on_credit(Stream& stream);
  void drop_queue(Stream& stream);
  void reset_sending(Stream& stream, SendState state, AppCode code);
  void shutdown_stream(Stream& stream, Side side, AppCode code, Instant now);
  void resume_paused(Stream& stream);

  const SessionOptions options_;
  const meet::Held<meet::SessionMeet> shared_;
  LoopStock& stock_;
  StreamPort* port_ = nullptr;

  SessionState state_ = SessionState::init;
  CloseReason reason_;
  Instant handshake_deadline_ = never;
  Instant stall_check_ = never;  // while more streams are parked than readers may stall
  bool is_dirty_ = false;
  bool received_input_ = false;
  std::uint64_t blocked_count_ = 0;  // streams whose transport takes no more now
  bool heard_stops_ = false;         // in this cycle
  Instant stops_due_ = never;        // when to look for STOP_SENDING again
  Instant stops_looked_{};
  bool end_postponed_ = false;  // the transport has ended; what came before is being told

  // A close that waits until what was written before it has been offered.
  struct PendingClose {
    StreamPort::CloseKind kind{};
    std::uint64_t code = 0;
    std::string reason;
    std::uint8_t takes_left = 0;
    Instant held_until = never;
    bool is_due = false;  ///< held long enough
  };
  std::optional<PendingClose> pending_close_;
  Error end_error_{Code::closed};

  base::IdMap<Stream> streams_;
  Stream* cached_ = nullptr;
  Stream* first_send_ = nullptr;  // streams with blocks to offer, in turn
  Stream* last_send_ = nullptr;
  Stream* first_opening_ = nullptr;
  Stream* last_opening_ = nullptr;
  Stream* finished_ = nullptr;
  base::SendBlock* probe_ = nullptr;      // nothing, offered to learn of a STOP_SENDING
  base::SendBlock* discarded_ = nullptr;  // never sent: their owners' release callbacks run in end_actions
  std::int64_t withheld_ = 0;             // session credit kept back while the engine's send budget is used up
  Stream* first_parked_ = nullptr;        // longest first
  Stream* last_parked_ = nullptr;
  Stream* delivering_ = nullptr;
  std::uint64_t parked_count_ = 0;
  std::uint64_t stalled_told_ = 0;
  Stream* first_accepted_ = nullptr;  // opened by the peer, not yet taken by the application
  Stream* last_accepted_ = nullptr;
  std::uint32_t accepted_count_ = 0;

  meet::Asking* asking_connected_ = nullptr;
  meet::Asking* asking_closed_ = nullptr;
  meet::Asking* asking_accept_ = nullptr;
  meet::Asking* questions_ = nullptr;
  SessionStats stats_;
};

}  // namespace riffle::core
