// Mode rps by application threads: plain calls, each thread with its share of what is under way.
#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "cli/bench.hpp"
#include "cli/perf_wire.hpp"

namespace riffle::cli::bench {
namespace {

using namespace std::chrono_literals;

/// What one thread has counted.
struct Counted {
  Histogram latency;
  std::uint64_t answered = 0;
  std::uint64_t bytes = 0;  // of answers
};

/// A request under way.
struct Asked {
  Stream stream;
  Clock::time_point at;
};

Result<Asked> ask(const Session& session, const Bytes& request) {
  Asked asked{.at = Clock::now()};
  auto stream = session.open(bidirectional);
  if (!stream) return std::unexpected(stream.error());
  if (auto written = stream->write(request, fin); !written) return std::unexpected(written.error());
  asked.stream = std::move(*stream);
  return asked;
}

/// Keeps `at_once` requests under way until `stop`, then takes the last answers.
Result<void> call(const Session& session, const ClientOptions& options, std::uint64_t at_once, const Bytes& request,
                  Clock::time_point stop, Counted& counted) {
  std::vector<Asked> asked;
  for (std::uint64_t i = 0; i < at_once; ++i) {
    auto one = ask(session, request);
    if (!one) return std::unexpected(one.error());
    asked.push_back(std::move(*one));
  }
  // In the order in which they were asked: answers that came earlier wait, as they do for a program with one thread.
  for (std::size_t i = 0, left = asked.size(); left > 0; i = (i + 1) % asked.size()) {
    Asked& one = asked[i];
    if (!one.stream) continue;
    const auto answer = one.stream.read_to_end(options.response_bytes);
    if (!answer) return std::unexpected(answer.error());
    const auto now = Clock::now();
    counted.latency.add(now - one.at);
    ++counted.answered;
    counted.bytes += answer->size();
    if (now >= stop) {
      one.stream = {};
      --left;
      continue;
    }
    auto next = ask(session, request);
    if (!next) return std::unexpected(next.error());
    one = std::move(*next);
  }
  return {};
}

}  // namespace

Result<Report> run_requests_by_callers(const Engine& engine, const ClientOptions& options, Completion&) {
  std::vector<Session> sessions;
  for (std::uint64_t i = 0; i < options.connections; ++i) {
    sessions.push_back(engine.connect(connection_options(options, nullptr)));
  }
  for (const Session& session : sessions) {
    if (auto connected = session.wait_connected(); !connected) return std::unexpected(connected.error());
  }
  const Bytes request = make_request(options.response_bytes, options.request_bytes);
  std::vector<Counted> counted(options.callers);
  Completion failure;
  const auto begin = Clock::now();
  const auto stop = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.seconds));
  {
    std::vector<std::jthread> callers;
    for (std::uint64_t i = 0; i < options.callers; ++i) {
      const std::uint64_t at_once = std::max<std::uint64_t>(1, share(options.concurrency, options.callers, i));
      callers.emplace_back([&, i, at_once, own = request] {
        const auto called = call(sessions[i % sessions.size()], options, at_once, own, stop, counted[i]);
        if (!called) failure.fail(called.error());
      });
    }
  }
  Report report{.seconds = seconds_between(begin, Clock::now())};
  failure.finish();
  if (auto outcome = failure.wait(0s); !outcome) return std::unexpected(outcome.error());
  for (const Counted& one : counted) {
    report.latency.add(one.latency);
    report.operations += one.answered;
    report.bytes += one.bytes + one.answered * request.size();
  }
  report.udp = udp_of(sessions);
  return report;
}

}  // namespace riffle::cli::bench
