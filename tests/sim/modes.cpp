// Delivery modes that change at random while data flows (STR-3), against a model of the bytes and of the mode.
#include <algorithm>
#include <memory>
#include <vector>

#include "pair.hpp"
#include "scenario_runs.hpp"
#include "transfer.hpp"

namespace riffle::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Purpose: reads its streams in every way there is, changing over at random: from its callbacks and, between two
/// cycles, by plain calls on a handle. What must hold is in `on_stream_data` and `on_deliveries_used_up`.
class ModesHandler final : public TransferHandler {
 public:
  using TransferHandler::TransferHandler;

  std::uint64_t switches() const noexcept { return switches_; }

  void on_connected(Context& context) override {
    TransferHandler::on_connected(context);
    tick();
  }

  void on_stream_data(Context& context, StreamId stream, Bytes data, bool fin) override {
    Reading& reading = readings_[stream];
    if (reading.model == Model::passive) fail(stream, "data was pushed though the stream is passive");
    if (reading.model == Model::counted) {
      if (reading.left == 0) fail(stream, "more deliveries than were asked for");
      reading.owes_notice = --reading.left == 0;
    }
    // A switch to active that follows a read of the last bytes at once tells the end again, with nothing before it.
    const bool is_end_again = fin && data.empty() && reading.end_was_read;
    if (!is_end_again) take(stream, data.span(), fin);
    if (random_.chance(0.1)) switch_over(context, stream);
  }

  void on_stream_readable(Context& context, StreamId stream) override {
    if (is_lazy_ && random_.chance(0.8)) return;
    while (random_.chance(0.8)) {
      auto read = context.read(stream, random_.between(1, 40'000));
      if (!read && read.error().code() == Code::wrong_mode) break;
      if (!accept(stream, read)) break;
    }
    if (random_.chance(0.2)) switch_over(context, stream);
  }

  void on_deliveries_used_up(Context& context, StreamId stream) override {
    Reading& reading = readings_[stream];
    if (reading.model == Model::counted && reading.left != 0) fail(stream, "used up before all were given");
    if (reading.model == Model::active) fail(stream, "used up, with no number to use up");
    reading.model = Model::passive;
    reading.owes_notice = false;
    if (random_.chance(0.5)) switch_over(context, stream);
  }

  void on_stream_finished(Context& context, StreamId stream) override {
    TransferHandler::on_stream_finished(context, stream);
    readings_.erase(stream);
  }

 private:
  /// What the last switch by a callback asked for; `unsettled` after a plain call, which takes effect at some time.
  enum class Model { active, passive, counted, unsettled };
  struct Reading {
    Model model = Model::active;
    std::uint32_t left = 0;
    bool end_was_read = false;
    bool owes_notice = false;  ///< the last counted delivery was given
    Stream handle;
  };

  void on_begun(Context& context, StreamId stream) override {
    readings_[stream].handle = context.stream(stream);
    if (is_passive_) {
      readings_[stream].model = Model::passive;
      context.set_delivery(stream, passive);
      note_switch(stream, passive);
      return;
    }
    if (random_.chance(0.5)) switch_over(context, stream);
  }

  Delivery draw() {
    switch (random_.below(4)) {
      case 0:
        return active;
      case 1:
        return passive;
      case 2:
        return active_once;
      default:
        return active_times(static_cast<std::uint32_t>(random_.between(2, 9)));
    }
  }

  void switch_over(Context& context, StreamId stream) {
    const auto found = readings_.find(stream);
    if (found == readings_.end() || is_passive_) return;
    const Delivery to = draw();
    context.set_delivery(stream, to);
    note_switch(stream, to);
    found->second.left = to.count;
    found->second.owes_notice = false;
    found->second.model = to.mode == Delivery::Mode::active    ? Model::active
                          : to.mode == Delivery::Mode::passive ? Model::passive
                                                               : Model::counted;
  }

  void note_switch(StreamId stream, Delivery to) {
    ++switches_;
    simulation_.trace().note(simulation_.now(), role_ == Role::client ? "client" : "server", "switch", raw(stream),
                             static_cast<std::uint64_t>(to.mode), to.count);
  }

  /// False: nothing more to be read now.
  bool accept(StreamId stream, const Result<Read>& read) {
    if (read) {
      simulation_.trace().note(simulation_.now(), role_ == Role::client ? "client" : "server",
                               read->fin ? "read, fin" : "read", raw(stream), read->data.size(),
                               static_cast<std::uint64_t>(read->status));
    } else {
      fail(stream, "a read failed: " + read.error().message());
      return false;
    }
    if (read->fin || read->status == Read::Status::end_of_stream) readings_[stream].end_was_read = true;
    if (read->status == Read::Status::data) take(stream, read->data.span(), read->fin);
    if (read->status == Read::Status::end_of_stream && !flow(stream)->end_received) take(stream, {}, true);
    return read->status == Read::Status::data && !read->fin;
  }

  /// A program's plain calls: reads where it may, and now and then another mode.
  void tick() {
    if (is_closed()) return;
    for (auto& [stream, reading] : readings_) {
      if (reading.owes_notice) fail(stream, "the deliveries were used up, and nobody was told");
      const StreamStats stats = reading.handle.stats();
      // ENG-10: the list of a passive reader, and at most one delivery on its way.
      if (stats.receive_buffered > most_buffered) {
        fail(stream, std::to_string(stats.receive_buffered) + " bytes are held for a reader, beyond receive_list");
      }
      if (!flow(stream)->end_received && random_.chance(is_lazy_ ? 0.05 : 0.7)) {
        while (true) {
          const auto read = reading.handle.try_read(random_.between(1, 40'000));
          if (!read && (read.error().code() == Code::wrong_mode || read.error().code() == Code::closed)) break;
          if (!accept(stream, read)) break;
        }
      }
      if (const Delivery to = draw();
          !is_passive_ && random_.chance(is_lazy_ ? 0.05 : 0.2) && reading.handle.set_delivery(to)) {
        note_switch(stream, to);
        reading.model = Model::unsettled;
      }
    }
    simulation_.after(random_.duration(milliseconds(1), milliseconds(is_lazy_ ? 100 : 10)), [self = weak_from_this()] {
      if (const auto alive = self.lock()) static_cast<ModesHandler&>(*alive).tick();
    });
  }

  static constexpr std::uint64_t most_buffered = 256 * 1024 + 65'536;
  std::map<StreamId, Reading> readings_;
  std::uint64_t switches_ = 0;
  /// A slow reader fills its lists, and its streams are parked.
  const bool is_passive_ = random_.chance(0.2);  ///< from the first to the last byte
  const bool is_lazy_ = random_.chance(0.4);
};

}  // namespace

void run_mode_switches(Simulation& simulation) {
  const TransferPlan plan{.key = simulation.seed(), .streams = 4, .least = 0, .most = 700'000};
  auto client = std::make_shared<ModesHandler>(simulation, Role::client, plan);
  std::vector<std::shared_ptr<ModesHandler>> servers;
  Pair pair(simulation, Pair::usual(simulation), client,
            [&] { return servers.emplace_back(std::make_shared<ModesHandler>(simulation, Role::server, plan)); });
  const auto is_complete = [&] {
    return client->is_complete() &&
           std::any_of(servers.begin(), servers.end(), [](const auto& s) { return s->is_complete(); });
  };
  simulation.try_until(seconds(600), [&] { return is_complete() || pair.client().is_closed(); });
  if (pair.was_cut_off()) return pair.finish();
  if (!is_complete()) simulation.fail("the transfer did not come to its end");
  if (client->switches() == 0) simulation.fail("no mode was ever switched: the scenario shows nothing");
  static_cast<void>(pair.session().close(AppCode{7}, "done"));
  pair.expect_close(Host::client, AppCode{7}, "done");
  pair.finish();
}

}  // namespace riffle::sim
