#include "tests/session/rig.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "core/session/late.hpp"

namespace riffle::test {

// ---- one side's loop ---------------------------------------------------------------------------------------------

Host::Host(Role role, const HostOptions& options)
    : options_(options),
      link_(meet::Held<meet::LoopLink>::adopt(new meet::LoopLink(*this, nullptr))),
      meet_(meet::Held<meet::SessionMeet>::adopt(
          new meet::SessionMeet(link_, role, options.limits, options.has_handler))),
      handle_(Ref<meet::SessionMeet>::share(meet_.get())) {
  link_->bind_thread();
  stock.receive_budget = options.receive_budget;
  stock.send_budget = options.send_budget;
  session_ = std::make_unique<core::Session>(
      core::SessionOptions{.delivery = options.delivery.value_or(options.has_handler ? active : passive),
                           .limits = options.limits,
                           .stream_window = options.grants.stream,
                           .handshake_timeout = options.handshake_timeout},
      meet_, stock);
}

Host::~Host() { tear_down(now_); }

void Host::begin(Instant now) {
  now_ = now;
  session_->begin(now);
}

void Host::adopt(Instant now) { session_->adopt(*port, now); }

bool Host::cycle(Instant now) {
  if (is_dead || !session_) return false;
  now_ = now;
  ++cycles;
  bool did = !link_->list.fall_asleep() || !inbox.empty();
  link_->list.awake();
  take_attention(now);
  while (!inbox.empty()) {
    Input input = std::move(inbox.front());
    inbox.pop_front();
    if (!port) continue;
    if (session_->is_over()) {
      port->on_input(input.bytes, input.arrival, now);
    } else {
      session_->on_input(input.bytes, input.arrival, now);
    }
  }
  if (now >= session_->next_deadline()) {
    session_->on_deadline(now);
    did = true;
  } else if (session_->is_over() && port && now >= port->next_deadline()) {
    port->on_deadline(now);
    did = true;
  }
  did = did || session_->is_dirty() || !session_->actions.empty();
  session_->collect(now);
  run_actions(now);
  if (port) {
    for (;;) {
      const core::Batch batch = session_->poll_output(buffer_, now);
      if (batch.bytes == 0) break;
      did = true;
      const std::size_t segment = batch.segment != 0 ? batch.segment : batch.bytes;
      for (std::size_t at = 0; at < batch.bytes; at += segment) {
        const auto begin = buffer_.begin() + static_cast<std::ptrdiff_t>(at);
        const auto end = begin + static_cast<std::ptrdiff_t>(std::min(segment, batch.bytes - at));
        outbox->push_back({.bytes = {begin, end}, .arrival = {.local = batch.peer, .peer = batch.local}});
      }
    }
  }
  take_released(now);
  return did;
}

void Host::take_attention(Instant now) {
  for (meet::AttentionNode* node = link_->list.take(); node != nullptr;) {
    meet::AttentionNode* next = node->next;
    const std::uint32_t bits = meet::AttentionList::take_bits(*node);
    auto& attendee = static_cast<meet::Attendee&>(*node);
    if (attendee.kind == meet::AttendeeKind::session) {
      if (session_) {
        session_->on_session_attention(bits, now);
      } else {
        core::settle_late(static_cast<meet::SessionMeet&>(attendee));
      }
    } else if (session_) {
      session_->on_stream_attention(static_cast<meet::StreamMeet&>(attendee), bits, now);
    } else {
      core::settle_late(static_cast<meet::StreamMeet&>(attendee));
    }
    attendee.release();
    node = next;
  }
}

void Host::run_actions(Instant now) {
  now_ = now;
  while (meet::Asking* asking = session_->take_question()) {
    if (asking->question == meet::Question::readable_streams || asking->question == meet::Question::writable_streams) {
      session_->list_streams(asking->question == meet::Question::readable_streams,
                             static_cast<meet::AskingFor<std::vector<StreamId>>*>(asking)->value.emplace());
    }
    reply(*asking);
  }
  for (std::size_t i = 0; i < session_->actions.size(); ++i) {
    const core::Action action = session_->actions[i];
    run(action);
  }
  session_->end_actions();
}

void Host::take_released(Instant now) {
  while (base::SendBlock* block = stock.released.first) {
    stock.released.first = block->next;
    static_cast<core::Stream*>(block->stream)->session->on_released(*block, now);
    base::SendBlock::destroy(block);
  }
}

void Host::reply(meet::Asking& asking) {
  if (!asking.answer()) session_->take_back(asking);
  meet_->asking_count.fetch_sub(1);
  asking.release();
}

void Host::run(const core::Action& action) {
  using namespace core::action;
  using Kind = Event::Kind;
  std::visit(
      [this]<class A>(const A& a) {
        if constexpr (std::is_same_v<A, Deliver>) {
          deliver(a.stream);
        } else if constexpr (std::is_same_v<A, Reply>) {
          reply(*a.asking);
        } else if constexpr (std::is_same_v<A, WakeReader>) {
          a.stream->wake_queued = false;
          if (meet::Wakeable* waiter = a.stream->reading.take_waiter()) waiter->wake();
          a.stream->release();
        } else if constexpr (std::is_same_v<A, Connected>) {
          tell({Kind::connected});
        } else if constexpr (std::is_same_v<A, StreamOpened>) {
          tell({Kind::opened, a.stream, static_cast<std::uint64_t>(a.direction)});
        } else if constexpr (std::is_same_v<A, Readable>) {
          tell({Kind::readable, a.stream});
        } else if constexpr (std::is_same_v<A, Writable>) {
          tell({Kind::writable, a.stream});
        } else if constexpr (std::is_same_v<A, Flushed>) {
          tell({Kind::flushed, a.stream});
        } else if constexpr (std::is_same_v<A, WriteFailed>) {
          tell({Kind::write_failed, a.stream, static_cast<std::uint64_t>(a.code)});
        } else if constexpr (std::is_same_v<A, PeerReset>) {
          tell({Kind::reset, a.stream, raw(a.code)});
        } else if constexpr (std::is_same_v<A, PeerStopped>) {
          tell({Kind::stopped, a.stream, raw(a.code)});
        } else if constexpr (std::is_same_v<A, DeliveriesUsedUp>) {
          tell({Kind::used_up, a.stream});
        } else if constexpr (std::is_same_v<A, StreamFinished>) {
          tell({Kind::finished, a.stream});
        } else if constexpr (std::is_same_v<A, SessionBlocked>) {
          tell({Kind::blocked, {}, a.stalled});
        } else if constexpr (std::is_same_v<A, Draining>) {
          tell({Kind::draining});
        } else if constexpr (std::is_same_v<A, Closed>) {
          tell({Kind::closed});
        }
      },
      action);
}

void Host::tell(Event event) {
  // Without a handler only the session's own events are of interest to a test.
  events.push_back(event);
  if (options_.has_handler && on_event) on_event(event);
}

void Host::deliver(StreamId id) {
  while (auto delivered = session_->begin_delivery(id, now_)) {
    EXPECT_TRUE(options_.has_handler);
    EXPECT_FALSE(has_fin[id]) << "data behind the fin";
    received[id] += delivered->bytes.view();
    has_fin[id] = delivered->fin;
    events.push_back({Event::Kind::data, id, delivered->bytes.size()});
    if (on_data) on_data(id, delivered->bytes, delivered->fin);
    session_->end_delivery(id, now_);
  }
}

Instant Host::next_deadline() const {
  if (is_dead || !session_) return never;
  if (session_->is_over()) return port ? port->next_deadline() : never;
  return session_->next_deadline();
}

void Host::tear_down(Instant now) {
  if (!session_) return;
  on_event = nullptr;
  on_data = nullptr;
  take_attention(now);
  session_->fail(Error(Code::closed, "the test is over"), now);
  session_->collect(now);
  run_actions(now);
  port.reset();
  take_released(now);
  run_actions(now);
  EXPECT_EQ(stock.send_held, 0u) << "the send budget is not even";
  EXPECT_EQ(stock.receive_held, 0u) << "the receive budget is not even";
  EXPECT_EQ(meet_->opening_count.load(), 0u);
  EXPECT_LE(count(Event::Kind::closed), 1u);
  const auto last =
      std::find_if(events.rbegin(), events.rend(), [](const Event& e) { return e.kind == Event::Kind::closed; });
  EXPECT_TRUE(last == events.rbegin()) << "closed comes last";
  session_.reset();
  if (when_gone) when_gone();
  take_attention(now);
  handle_ = {};
  for (meet::AttentionNode* node = link_->list.close(); node != nullptr;) {
    meet::AttentionNode* next = node->next;
    static_cast<meet::Attendee&>(*node).release();
    node = next;
  }
  EXPECT_EQ(meet_->asking_count.load(), 0u) << "a question was not answered";
}

// ---- one side's application --------------------------------------------------------------------------------------

AppStream Host::open(Direction direction, bool fail_at_once) {
  auto* shared =
      new meet::StreamMeet(meet_, direction, true, options_.limits.receive_list, options_.limits.send_credit);
  shared->fail_at_once = fail_at_once;
  AppStream stream(Ref<meet::StreamMeet>::share(shared));
  meet_->opening_count.fetch_add(1);
  meet_->opening.push(shared);
  link_->attend(*meet_, meet::session_open);
  return stream;
}

void Host::close(std::uint64_t code, std::string_view reason) {
  meet_->request_close(AppCode{code}, reason);
  meet_->close_called.store(true);
  meet_->state.store(SessionState::closed);
  link_->attend(*meet_, meet::session_close);
}

AppStream Host::share(StreamId id) { return AppStream(Ref<meet::StreamMeet>::share(session_->share(id))); }

std::size_t Host::count(Event::Kind kind) const {
  return static_cast<std::size_t>(
      std::count_if(events.begin(), events.end(), [kind](const Event& e) { return e.kind == kind; }));
}

std::optional<Event> Host::first(Event::Kind kind) const {
  for (const Event& event : events) {
    if (event.kind == kind) return event;
  }
  return std::nullopt;
}

// ---- both --------------------------------------------------------------------------------------------------------

Rig::Rig(Family which, RigOptions options)
    : family(which), client(Role::client, options.client), server(Role::server, options.server) {
  Ports ports = make_ports(family, options.client.grants, options.server.grants, clock.now());
  keep = std::move(ports.keep);
  client.port = std::move(ports.client);
  server.port = std::move(ports.server);
  client.outbox = &server.inbox;
  server.outbox = &client.inbox;
  if (!options.is_connected) return;
  for (Host* side : {&client, &server}) {
    side->begin(clock.now());
    side->adopt(clock.now());
  }
  EXPECT_TRUE(run([this] {
    return client.session().state() == SessionState::connected && server.session().state() == SessionState::connected;
  })) << client.session().close_reason().error.message()
      << "; " << server.session().close_reason().error.message();
}

Rig::~Rig() {
  client.tear_down(clock.now());
  server.tear_down(clock.now());
}

bool Rig::step() {
  const bool one = client.cycle(clock.now());
  const bool other = server.cycle(clock.now());
  return one || other;
}

void Rig::settle() {
  for (int steps = 0; step(); ++steps) {
    ASSERT_LT(steps, 1'000'000) << "a cycle that never ends";
  }
}

bool Rig::run(const std::function<bool()>& done, std::chrono::nanoseconds limit) {
  const Instant end = clock.now() + limit;
  for (int steps = 0; steps < 2'000'000; ++steps) {
    if (done()) return true;
    if (step()) continue;
    const Instant next = std::min(client.next_deadline(), server.next_deadline());
    if (next > end) return done();
    clock.advance_to(next);
  }
  ADD_FAILURE() << "a cycle that never ends";
  return false;
}

void Rig::run_for(std::chrono::nanoseconds time) {
  const Instant end = clock.now() + time;
  run([] { return false; }, time);
  clock.advance_to(end);
}

std::pair<AppStream, AppStream> Rig::stream_pair(std::string_view first) {
  AppStream ours = client.open();
  EXPECT_TRUE(ours.write(first));
  Ask<Ref<meet::StreamMeet>> accept(meet::Question::accept_stream);
  accept.post(server.meet());
  EXPECT_TRUE(run([&] { return accept.is_success(); }));
  AppStream theirs(std::exchange(*accept.value(), {}));
  std::string text;
  EXPECT_TRUE(run([&] {
    theirs.drain(text);
    return text == first;
  }));
  return {std::move(ours), std::move(theirs)};
}

}  // namespace riffle::test
