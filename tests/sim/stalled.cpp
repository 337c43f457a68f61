// Readers that stop (STR-4): as many as were promised cost nobody anything, the next one is told.
#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "pair.hpp"
#include "pattern.hpp"
#include "scenario_runs.hpp"
#include "transfer.hpp"

namespace riffle::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t tolerated = 16;
constexpr std::uint64_t streams = 64;
/// A stalled stream holds its list (8 KiB) and its window (16 KiB); every stream carries more than both.
constexpr std::uint32_t receive_list = 8 * 1024;
constexpr std::uint64_t stream_window = 16 * 1024;
constexpr std::uint64_t least = 30 * 1024;

/// The client's end: of the first `tolerated` streams nothing is read until it is told to.
class StallingHandler final : public TransferHandler {
 public:
  using TransferHandler::TransferHandler;

  std::uint64_t blocked_events() const noexcept { return blocked_events_; }
  std::uint64_t told_stalled() const noexcept { return told_stalled_; }
  std::uint64_t stopped() const noexcept { return stopped_; }
  /// One more stream, which nobody reads either.
  void open_one_more(Context& context) {
    const auto stream = context.open();
    if (!stream) return fail(StreamId{}, "open: " + stream.error().message());
    flows_[*stream] = {.number = raw(*stream) / 4};
    on_begun(context, *stream);
    pump(context, *stream);
  }
  void go_on_reading() {
    for (const auto& [stream, handle] : stalled_) {
      if (const auto set = handle.set_delivery(active); !set && !may_be_stopped) {
        fail(stream, "set_delivery: " + set.error().message());
      }
    }
  }
  bool may_be_stopped = false;

  void on_stream_data(Context& context, StreamId stream, Bytes data, bool fin) override {
    TransferHandler::on_stream_data(context, stream, std::move(data), fin);
  }
  void on_stream_finished(Context& context, StreamId stream) override {
    const Flow* const done = flow(stream);
    if (may_be_stopped && done != nullptr && !done->end_received) {
      ++stopped_;
      return;
    }
    TransferHandler::on_stream_finished(context, stream);
    if (finished() == streams - tolerated && blocked_events_ == 0 && !asked_) {
      asked_ = true;
      open_one_more(context);
    }
  }
  void on_session_blocked(Context&, std::uint64_t stalled) override {
    ++blocked_events_;
    told_stalled_ = stalled;
  }

 private:
  void on_begun(Context& context, StreamId stream) override {
    const std::uint64_t number = raw(stream) / 4;
    if (number >= tolerated && number < streams) return;
    context.set_delivery(stream, passive);
    stalled_.emplace(stream, context.stream(stream));
  }

  std::map<StreamId, Stream> stalled_;
  std::uint64_t blocked_events_ = 0;
  std::uint64_t told_stalled_ = 0;
  std::uint64_t stopped_ = 0;
  bool asked_ = false;
};

/// The server's end: one stream may be stopped by the client's budget.
class SendingHandler final : public TransferHandler {
 public:
  using TransferHandler::TransferHandler;
  std::uint64_t stops() const noexcept { return stops_; }
  bool may_be_stopped = false;
  void on_stop_sending(Context& context, StreamId stream, AppCode code) override {
    ++stops_;
    if (!may_be_stopped) TransferHandler::on_stop_sending(context, stream, code);
  }
  void on_write_failed(Context& context, StreamId stream, const Error& error) override {
    if (!may_be_stopped || error.code() != Code::stream_stopped)
      TransferHandler::on_write_failed(context, stream, error);
  }
  void on_stream_finished(Context& context, StreamId stream) override {
    if (!may_be_stopped) TransferHandler::on_stream_finished(context, stream);
  }

 private:
  std::uint64_t stops_ = 0;
};

PairOptions stalling_options(const Simulation& simulation, bool may_be_stopped) {
  PairOptions options = Pair::usual(simulation);
  options.limits.stalled_readers_tolerated = tolerated;
  options.limits.receive_list = receive_list;
  options.transport.stream_window = stream_window;
  // The least that `validate` allows: with half of it the readers that go on would freeze.
  options.transport.connection_window = 2 * (tolerated + 1) * stream_window;
  // Room for one more than was promised, or for exactly as many.
  const std::uint64_t each = stream_window + receive_list;
  options.limits.session_receive_budget = (may_be_stopped ? tolerated : tolerated + 1) * each;
  return options;
}

}  // namespace

void run_stalled_reader(Simulation& simulation) {
  const bool may_be_stopped = simulation.random().chance(0.5);
  const TransferPlan plan{
      .key = simulation.seed(), .streams = streams, .least = least, .most = least + 20'000, .most_up = 500};
  auto client = std::make_shared<StallingHandler>(simulation, Role::client, plan);
  client->may_be_stopped = may_be_stopped;
  std::vector<std::shared_ptr<SendingHandler>> servers;
  Pair pair(simulation, stalling_options(simulation, may_be_stopped), client, [&] {
    servers.push_back(std::make_shared<SendingHandler>(simulation, Role::server, plan));
    servers.back()->may_be_stopped = may_be_stopped;
    return servers.back();
  });
  const auto wait = [&](const char* what, const std::function<bool()>& done) {
    if (simulation.try_until(seconds(600), [&] { return done() || pair.client().is_closed(); }) && done()) return true;
    if (!pair.was_cut_off()) simulation.fail(std::string("this did not come about: ") + what);
    return false;
  };
  const auto end = [&] { pair.finish(); };
  if (!wait("48 streams finish beside 16 stalled ones", [&] { return client->finished() == streams - tolerated; })) {
    return end();
  }
  if (client->blocked_events() != 0) simulation.fail("session_blocked was told for no more than were promised");
  if (!wait("the 17th stalled reader is told", [&] { return client->blocked_events() > 0; })) return end();
  if (client->told_stalled() != tolerated + 1) simulation.fail("not 17 were told");
  simulation.run_for(milliseconds(200));
  client->go_on_reading();
  // Without room for it the one that stalled longest was stopped; every other one still comes whole.
  if (!wait("the stalled readers go on to their ends",
            [&] { return client->finished() + client->stopped() == streams + 1; })) {
    return end();
  }
  if (client->stopped() != (may_be_stopped ? 1U : 0U)) {
    simulation.fail(std::to_string(client->stopped()) + " streams were stopped for the budget");
  }
  static_cast<void>(pair.session().close(AppCode{9}, "done"));
  pair.expect_close(Host::client, AppCode{9}, "done");
  end();
}

}  // namespace riffle::sim
