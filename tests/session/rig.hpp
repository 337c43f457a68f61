// Two sessions against each other in one thread, without sockets: each side does what a loop's cycle does.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <vector>

#include "core/session/session.hpp"
#include "meet/loop_link.hpp"
#include "quiche/virtual_clock_test.hpp"
#include "tests/session/app.hpp"
#include "tests/session/families.hpp"

namespace riffle::test {

/// What a handler was told, in order.
struct Event {
  enum class Kind {
    connected,
    opened,
    readable,
    data,
    writable,
    flushed,
    write_failed,
    reset,
    stopped,
    used_up,
    finished,
    blocked,
    draining,
    closed
  } kind;
  StreamId stream{};
  std::uint64_t number = 0;  ///< the code of a reset or stop; an error's Code; how many are stalled
};

struct HostOptions {
  bool has_handler = false;
  std::optional<Delivery> delivery;  ///< unset: active with a handler, else passive
  StreamLimits limits;
  FakeWindows grants;
  std::chrono::nanoseconds handshake_timeout = std::chrono::seconds(10);
  std::uint64_t receive_budget = ~std::uint64_t{0};
  std::uint64_t send_budget = ~std::uint64_t{0};
};

/// One datagram, or a piece of a stream of bytes.
struct Input {
  std::vector<std::byte> bytes;
  core::Arrival arrival;
};

class Host final : private meet::Wakeable {
 public:
  Host(Role role, const HostOptions& options);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // ---- the loop ----
  /// One cycle. True when it did something.
  bool cycle(Instant now);
  void take_attention(Instant now);
  bool fall_asleep() { return link_->list.fall_asleep(); }
  void awake() { link_->list.awake(); }
  void run_actions(Instant now);
  void take_released(Instant now);
  /// Attaches the transport and begins; without one it goes on looking for an address.
  void begin(Instant now);
  void adopt(Instant now);
  /// Ends what has not ended, and gives everything back; the books must be even then. Twice is once.
  void tear_down(Instant now);
  Instant next_deadline() const;
  core::Session& session() { return *session_; }
  bool is_over() const { return !session_ || session_->is_over(); }

  // ---- the application: plain calls ----
  meet::SessionMeet& meet() { return *meet_; }
  AppStream open(Direction direction = bidirectional, bool fail_at_once = false);
  void close(std::uint64_t code = 0, std::string_view reason = {});
  void drop_handle() { handle_ = {}; }

  // ---- the application: a handler ----
  std::vector<Event> events;
  std::map<StreamId, std::string> received;
  std::map<StreamId, bool> has_fin;
  /// Runs inside the callback, when the event is on record.
  std::function<void(const Event&)> on_event;
  std::function<void(StreamId, const Bytes&, bool)> on_data;
  void write(StreamId id, std::string_view text, bool end = false) { write(id, Bytes::copy(text), end); }
  void write(StreamId id, Bytes bytes, bool end = false) {
    session().write(id, base::SendBlock::make(std::move(bytes), end), now_);
  }
  AppStream share(StreamId id);
  std::size_t count(Event::Kind kind) const;
  std::optional<Event> first(Event::Kind kind) const;

  Instant now() const { return now_; }
  core::LoopStock stock;
  std::unique_ptr<core::StreamPort> port;
  std::deque<Input> inbox;
  std::deque<Input>* outbox = nullptr;
  std::function<void()> when_gone;  ///< runs when the session has been destroyed and its loop goes on
  bool is_dead = false;             ///< its loop does not run
  int cycles = 0;
  std::counting_semaphore<>* bell = nullptr;  ///< rung by threads that find the loop asleep

 private:
  void wake() noexcept override {
    if (bell != nullptr) bell->release();
  }
  void run(const core::Action& action);
  void deliver(StreamId id);
  void tell(Event event);
  void reply(meet::Asking& asking);

  const HostOptions options_;
  meet::Held<meet::LoopLink> link_;
  meet::Held<meet::SessionMeet> meet_;
  Ref<meet::SessionMeet> handle_;
  std::unique_ptr<core::Session> session_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(65536);
  Instant now_{};
};

struct RigOptions {
  HostOptions client, server;
  bool is_connected = true;
};

class Rig {
 public:
  explicit Rig(Family family, RigOptions options = {});
  ~Rig();

  /// Cycles both sides, and lets time pass to the next deadline when they are idle, until `done`. False: that did not
  /// come about in `limit` of virtual time.
  bool run(const std::function<bool()>& done, std::chrono::nanoseconds limit = std::chrono::seconds(60));
  void run_for(std::chrono::nanoseconds time);
  /// Until neither has anything to do at this instant.
  void settle();
  /// One cycle of both. False: neither had anything to do.
  bool step();
  bool has(core::Capability what) const { return core::has(client.port->capabilities(), what); }
  FakePort& fake(Host& side) { return static_cast<FakePort&>(*side.port); }
  /// A stream of the client with its counterpart at the server, which must have no handler. QUIC's peer hears of a
  /// stream by its first byte, so `first` goes along.
  std::pair<AppStream, AppStream> stream_pair(std::string_view first = "!");

  quiche::VirtualClock clock;
  const Family family;
  std::shared_ptr<void> keep;  // of the ports
  Host client, server;
};

}  // namespace riffle::test
