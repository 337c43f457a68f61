// What the parts of `riffle bench` share (CLI-4).
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <riffle/riffle.hpp>
#include "cli/histogram.hpp"
#include "cli/process.hpp"

namespace riffle::cli::bench {

using Clock = std::chrono::steady_clock;

struct ServerOptions {
  std::string listen, certificate, key;
  bool json = false;
};

struct ClientOptions {
  std::string connect, mode;
  std::uint64_t bytes = std::uint64_t{1} << 30;  ///< of all streams together
  std::uint64_t streams = 1;                     ///< of all connections together
  std::uint64_t request_bytes = 512;             ///< behind the header
  std::uint64_t response_bytes = 512;
  std::uint64_t concurrency = 0;  ///< requests or handshakes at once; 0: 64, for handshakes 16
  std::uint64_t connections = 1;
  std::uint64_t callers = 0;  ///< application threads; 0: handlers on the loop
  double rate = 0;            ///< requests a second, at fixed instants; 0: each follows an answer
  double seconds = 5;
  std::string ca, key_log;
  bool insecure = false;
  bool json = false;
};

/// What was measured.
struct Report {
  std::uint64_t bytes = 0;
  std::uint64_t operations = 0;  ///< requests, handshakes, connections; 0 in the bulk modes
  double seconds = 0;
  Histogram latency;
  std::optional<UdpStats> udp;  ///< none where the sessions are gone with their sockets
};

/// Purpose: where the main thread waits for what happens on the loop. Threads: any.
class Completion {
 public:
  /// The first of these counts.
  void finish();
  void fail(Error error);
  /// Until then, or until `timeout`, which is a failure.
  Result<void> wait(std::chrono::nanoseconds timeout);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Result<void>> outcome_;  // under mutex_
};

/// The options of every connection of the run; the handler is the mode's.
quic::Client connection_options(const ClientOptions& options, std::shared_ptr<Handler> handler);
/// Connects with a handler. What could not even begin has failed the run.
Session connect(const Engine& engine, const ClientOptions& options, std::shared_ptr<Handler> handler, Completion& done);
/// Counters of the sockets that carry these sessions, each once. For sessions that are still open.
UdpStats udp_of(const std::vector<Session>& sessions);
inline double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}
/// `whole` shared by `parts`; the first get what is left over.
constexpr std::uint64_t share(std::uint64_t whole, std::uint64_t parts, std::uint64_t index) {
  return whole / parts + (index < whole % parts ? 1 : 0);
}
/// The header and `size` bytes behind it, as one block that every request of a run shares.
Bytes make_request(std::uint64_t wanted, std::uint64_t size);

using Run = Result<Report> (*)(const Engine&, const ClientOptions&, Completion&);
Result<Report> run_bulk(const Engine& engine, const ClientOptions& options, Completion& done);
Result<Report> run_bulk_by_callers(const Engine& engine, const ClientOptions& options, Completion& done);
Result<Report> run_requests(const Engine& engine, const ClientOptions& options, Completion& done);
Result<Report> run_requests_at_rate(const Engine& engine, const ClientOptions& options, Completion& done);
Result<Report> run_requests_by_callers(const Engine& engine, const ClientOptions& options, Completion& done);
Result<Report> run_handshakes(const Engine& engine, const ClientOptions& options, Completion& done);
Result<Report> run_idle(const Engine& engine, const ClientOptions& options, Completion& done);

int run_server(const ServerOptions& options, Signals& signals);
int run_client(const ClientOptions& options, Signals& signals);

}  // namespace riffle::cli::bench
