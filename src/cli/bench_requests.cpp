// Mode rps with handlers on the loop: closed-loop, or open-loop at a fixed rate.
#include <algorithm>
#include <bit>
#include <memory>
#include <thread>
#include <vector>

#include "cli/bench.hpp"
#include "cli/perf_wire.hpp"

namespace riffle::cli::bench {
namespace {

using namespace std::chrono_literals;

/// How long answers may be outstanding when the time is up.
constexpr auto grace = 10s;

/// Client-initiated bidirectional streams are numbered 0, 4, 8, … (RFC 9000 section 2.1): how many were before.
std::uint64_t order_of(StreamId stream) { return raw(stream) >> 2; }

/// Requests at fixed instants: the i-th of thread t of T is due at begin + (i * T + t) / rate.
struct Schedule {
  Clock::time_point begin;
  double rate = 1;
  std::uint64_t threads = 1;

  Clock::time_point due(std::uint64_t thread, std::uint64_t index) const {
    const double seconds = static_cast<double>(index * threads + thread) / rate;
    return begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }
};

/// What all connections of a run share, and keep alive; touched by the loop only, until the run is complete.
struct Shared {
  const ClientOptions& options;
  Completion& done;
  Bytes request;
  Clock::time_point begin{}, stop{}, end{};
  std::uint64_t outstanding = 0;
  std::uint64_t answered = 0;
  std::uint64_t bytes = 0;  // of answers
  Histogram latency;
  Schedule schedule{};

  void on_answer(Clock::time_point asked, Clock::time_point now) {
    latency.add(now - asked);
    ++answered;
    --outstanding;
    end = now;
  }
};

Report report_of(Shared& shared) {
  return {.bytes = shared.bytes + shared.answered * shared.request.size(),
          .operations = shared.answered,
          .seconds = seconds_between(shared.begin, shared.end),
          .latency = shared.latency};
}

/// What ends a run for all handlers alike.
class Requests : public Handler {
 public:
  explicit Requests(std::shared_ptr<Shared> shared) : kept_(std::move(shared)), shared_(*kept_) {}
  void on_stream_reset(Context&, StreamId, AppCode code) override {
    shared_.done.fail(Error::with_wire(Code::stream_reset, raw(code)));
  }
  void on_write_failed(Context&, StreamId, const Error& error) override { shared_.done.fail(error); }
  void on_closed(Context&, const CloseReason& reason) override { shared_.done.fail(reason.error); }

 private:
  std::shared_ptr<Shared> kept_;

 protected:
  Shared& shared_;
};

/// Purpose: keeps so many requests under way on one connection; each answer asks the next.
class ClosedLoop final : public Requests {
 public:
  ClosedLoop(std::shared_ptr<Shared> shared, std::uint64_t at_once)
      : Requests(std::move(shared)),
        at_once_(at_once),
        asked_(std::bit_ceil(std::max<std::uint64_t>(1024, 16 * at_once))) {}

  void on_connected(Context& context) override {
    if (shared_.begin == Clock::time_point{}) {
      shared_.begin = Clock::now();
      shared_.stop = shared_.begin + std::chrono::duration_cast<Clock::duration>(
                                         std::chrono::duration<double>(shared_.options.seconds));
    }
    const auto now = Clock::now();
    for (std::uint64_t i = 0; i < at_once_; ++i) ask(context, now);
  }
  void on_stream_data(Context& context, StreamId stream, Bytes data, bool fin) override {
    shared_.bytes += data.size();
    if (!fin) return;
    const auto now = Clock::now();
    shared_.on_answer(asked_[order_of(stream) & (asked_.size() - 1)], now);
    if (now < shared_.stop) {
      ask(context, now);
    } else if (shared_.outstanding == 0) {
      shared_.done.finish();
    }
  }

 private:
  void ask(Context& context, Clock::time_point now) {
    const auto stream = context.open();
    if (!stream) return shared_.done.fail(stream.error());
    // By order, in a ring that is 16 times as long as what is under way: nothing is allocated for a request.
    asked_[order_of(*stream) & (asked_.size() - 1)] = now;
    ++shared_.outstanding;
    context.write(*stream, shared_.request, fin);
  }

  std::uint64_t at_once_;
  std::vector<Clock::time_point> asked_;
};

/// Purpose: takes the answers of one connection whose requests a thread sends in order, so a stream's order tells when
/// its request was due.
class OpenLoop final : public Requests {
 public:
  OpenLoop(std::shared_ptr<Shared> shared, std::uint64_t thread, std::uint64_t place, std::uint64_t places)
      : Requests(std::move(shared)), thread_(thread), place_(place), places_(places) {}

  void on_stream_data(Context&, StreamId stream, Bytes data, bool fin) override {
    shared_.bytes += data.size();
    if (!fin) return;
    shared_.on_answer(shared_.schedule.due(thread_, order_of(stream) * places_ + place_), Clock::now());
    if (shared_.outstanding == 0) shared_.done.finish();
  }

 private:
  std::uint64_t thread_, place_, places_;
};

/// Sends the requests of thread `thread`, over its own connections in turns.
Result<void> send_on_time(const std::vector<Session>& sessions, const Schedule& schedule, std::uint64_t thread,
                          std::uint64_t requests, const Bytes& request) {
  for (std::uint64_t i = 0; i < requests; ++i) {
    const auto due = schedule.due(thread, i);
    if (due > Clock::now()) std::this_thread::sleep_until(due);
    const auto stream = sessions[i % sessions.size()].open(bidirectional);
    if (!stream) return std::unexpected(stream.error());
    if (auto written = stream->write(request, fin); !written) return written;
    // The handle may go: the stream is the handler's.
  }
  return {};
}

}  // namespace

Result<Report> run_requests(const Engine& engine, const ClientOptions& options, Completion& done) {
  const auto shared =
      std::make_shared<Shared>(options, done, make_request(options.response_bytes, options.request_bytes));
  std::vector<Session> sessions;
  for (std::uint64_t i = 0; i < options.connections; ++i) {
    const std::uint64_t at_once = share(options.concurrency, options.connections, i);
    if (at_once == 0) break;
    sessions.push_back(connect(engine, options, std::make_shared<ClosedLoop>(shared, at_once), done));
  }
  auto ended =
      done.wait(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(options.seconds)) +
                grace + 10s);
  UdpStats udp;
  if (ended) udp = udp_of(sessions);
  for (const Session& session : sessions) (void)session.close();
  if (!ended) return std::unexpected(ended.error());
  Report report = report_of(*shared);
  report.udp = udp;
  return report;
}

Result<Report> run_requests_at_rate(const Engine& engine, const ClientOptions& options, Completion& done) {
  const std::uint64_t threads = std::max<std::uint64_t>(1, options.callers);
  const std::uint64_t connections = std::max(options.connections, threads);
  const auto requests = static_cast<std::uint64_t>(options.rate * options.seconds);
  if (requests == 0) return fail(Code::invalid_argument, "--rate and --secs give no request at all");
  const auto shared =
      std::make_shared<Shared>(options, done, make_request(options.response_bytes, options.request_bytes));
  Schedule& schedule = shared->schedule;
  schedule = {.rate = options.rate, .threads = threads};

  std::vector<std::vector<Session>> sessions(threads);
  for (std::uint64_t i = 0; i < connections; ++i) {
    const std::uint64_t thread = i % threads, place = i / threads;
    const std::uint64_t places = share(connections, threads, thread);
    auto handler = std::make_shared<OpenLoop>(shared, thread, place, places);
    sessions[thread].push_back(connect(engine, options, std::move(handler), done));
  }
  std::vector<Session> all;
  for (const auto& of_thread : sessions) all.insert(all.end(), of_thread.begin(), of_thread.end());
  const auto connected = [&all]() -> Result<void> {
    for (const Session& session : all) {
      if (auto result = session.wait_connected(); !result) return result;
    }
    return {};
  }();
  Result<void> ended = connected;
  if (connected) {
    // Before the first request, so before the loop looks at any of it.
    shared->outstanding = requests;
    schedule.begin = shared->begin = Clock::now() + 10ms;
    {
      std::vector<std::jthread> callers;
      for (std::uint64_t thread = 0; thread < threads; ++thread) {
        callers.emplace_back([&, thread] {
          const auto sent =
              send_on_time(sessions[thread], schedule, thread, share(requests, threads, thread), shared->request);
          if (!sent) done.fail(sent.error());
        });
      }
    }
    ended = done.wait(grace);
  }
  UdpStats udp;
  if (ended) udp = udp_of(all);
  for (const Session& session : all) (void)session.close();
  if (!ended) return std::unexpected(ended.error());
  Report report = report_of(*shared);
  report.udp = udp;
  return report;
}

}  // namespace riffle::cli::bench
