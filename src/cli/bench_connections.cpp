// Modes hps (a handshake, one byte, close) and idle (connections that are held).
#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

#include <poll.h>
#include <unistd.h>

#include "cli/bench.hpp"
#include "cli/perf_wire.hpp"

namespace riffle::cli::bench {
namespace {

using namespace std::chrono_literals;

/// What all connections of an hps run share, and keep alive; touched by the loop only, until the run is complete.
struct Handshakes {
  const Engine& engine;
  const ClientOptions& options;
  Completion& done;
  Bytes request;
  Clock::time_point stop{}, end{};
  std::uint64_t outstanding = 0;
  std::uint64_t finished = 0;
  Histogram latency;
};

/// Purpose: one connection of an hps run; its end begins the next.
class OneHandshake final : public Handler {
 public:
  explicit OneHandshake(std::shared_ptr<Handshakes> shared)
      : kept_(std::move(shared)), shared_(*kept_), begin_(Clock::now()) {}

  static void begin(const std::shared_ptr<Handshakes>& shared) {
    // The session lives in its engine until it is closed; a handler needs no handle.
    (void)connect(shared->engine, shared->options, std::make_shared<OneHandshake>(shared), shared->done);
  }
  void on_connected(Context& context) override {
    const auto stream = context.open();
    if (!stream) return shared_.done.fail(stream.error());
    context.write(*stream, shared_.request, fin);
  }
  void on_stream_data(Context& context, StreamId, Bytes, bool fin) override {
    if (!fin) return;
    is_answered_ = true;
    shared_.end = Clock::now();
    shared_.latency.add(shared_.end - begin_);
    ++shared_.finished;
    context.close(AppCode{0}, "");
  }
  void on_closed(Context&, const CloseReason& reason) override {
    if (!is_answered_) shared_.done.fail(reason.error);
    if (is_answered_ && shared_.end < shared_.stop) return begin(kept_);
    if (--shared_.outstanding == 0) shared_.done.finish();
  }

 private:
  std::shared_ptr<Handshakes> kept_;
  Handshakes& shared_;
  Clock::time_point begin_;
  bool is_answered_ = false;
};

/// Connections that are being made at once in mode idle: below a server's bound of handshakes in progress.
constexpr std::uint64_t connecting_at_once = 64;

/// Until standard input is closed. The error: the run was ended from outside.
Result<void> wait_for_end_of_input(Completion& done) {
  for (;;) {
    pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&input, 1, 100);
    char byte = 0;
    if (ready > 0 && ::read(STDIN_FILENO, &byte, 1) <= 0) return {};
    const auto ended = done.wait(0ns);
    if (!ended && !(ended.error() == Code::timed_out)) return ended;
  }
}

}  // namespace

Result<Report> run_handshakes(const Engine& engine, const ClientOptions& options, Completion& done) {
  const auto shared = std::make_shared<Handshakes>(engine, options, done, make_request(1, 0));
  const auto begin = Clock::now();
  shared->stop = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.seconds));
  shared->outstanding = options.concurrency;
  for (std::uint64_t i = 0; i < options.concurrency; ++i) OneHandshake::begin(shared);
  const auto ended = done.wait(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(options.seconds)) + 20s);
  if (!ended) return std::unexpected(ended.error());
  return Report{.bytes = shared->finished,
                .operations = shared->finished,
                .seconds = seconds_between(begin, shared->end),
                .latency = shared->latency};
}

Result<Report> run_idle(const Engine& engine, const ClientOptions& options, Completion& done) {
  std::vector<Session> sessions;
  Report report;
  const auto begin = Clock::now();
  std::size_t connected = 0;
  const auto wait_for_one = [&]() -> Result<void> { return sessions[connected++].wait_connected(); };
  for (std::uint64_t i = 0; i < options.connections; ++i) {
    quic::Client connection = connection_options(options, nullptr);
    connection.transport.keep_alive = connection.transport.idle_timeout / 3;
    sessions.push_back(engine.connect(std::move(connection)));
    if (sessions.size() - connected < connecting_at_once) continue;
    if (auto result = wait_for_one(); !result) return std::unexpected(result.error());
  }
  while (connected < sessions.size()) {
    if (auto result = wait_for_one(); !result) return std::unexpected(result.error());
  }
  report.seconds = seconds_between(begin, Clock::now());
  report.operations = options.connections;
  std::fprintf(stderr, "holding %zu connections until standard input closes\n", sessions.size());
  if (auto ended = wait_for_end_of_input(done); !ended) return std::unexpected(ended.error());
  report.udp = udp_of(sessions);
  for (const Session& session : sessions) (void)session.close();
  return report;
}

}  // namespace riffle::cli::bench
