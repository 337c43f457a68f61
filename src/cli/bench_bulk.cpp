// Modes download and upload: by handlers on the loop, or by application threads.
#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "cli/bench.hpp"
#include "cli/perf_server.hpp"
#include "cli/perf_wire.hpp"

namespace riffle::cli::bench {
namespace {

using namespace std::chrono_literals;

/// A transfer that has not ended by then has failed.
constexpr auto longest_run = 1h;

/// What all connections of a run share, and keep alive; touched by the loop only, until the run is complete.
struct Shared {
  const ClientOptions& options;
  Completion& done;
  bool is_upload = false;
  std::uint64_t streams_left = 0;
  std::uint64_t bytes = 0;
  Clock::time_point begin{}, end{};
};

/// Purpose: moves the bytes of one connection's streams.
class Bulk final : public Handler {
 public:
  Bulk(std::shared_ptr<Shared> shared, std::uint64_t first_stream, std::uint64_t streams)
      : kept_(std::move(shared)), shared_(*kept_), first_stream_(first_stream), streams_(streams) {}

  void on_connected(Context& context) override {
    if (shared_.begin == Clock::time_point{}) shared_.begin = Clock::now();
    for (std::uint64_t i = 0; i < streams_; ++i) {
      const auto stream = context.open();
      if (!stream) return shared_.done.fail(stream.error());
      const std::uint64_t size = share(shared_.options.bytes, shared_.options.streams, first_stream_ + i);
      const perf::Header header = perf::header_for(shared_.is_upload ? 0 : size);
      context.write(*stream, Bytes::copy(header), shared_.is_upload ? Fin::no : fin);
      if (!shared_.is_upload) continue;
      std::uint64_t& left = left_[raw(*stream)] = size;
      if (perf::send_payload(context, *stream, left)) left_.erase(raw(*stream));
    }
  }
  void on_stream_data(Context&, StreamId, Bytes data, bool fin) override {
    shared_.bytes += data.size();
    if (!fin || --shared_.streams_left > 0) return;
    shared_.end = Clock::now();
    if (shared_.is_upload) shared_.bytes = shared_.options.bytes;
    shared_.done.finish();
  }
  void on_writable(Context& context, StreamId stream) override {
    const auto found = left_.find(raw(stream));
    if (found != left_.end() && perf::send_payload(context, stream, found->second)) left_.erase(found);
  }
  void on_stream_reset(Context&, StreamId, AppCode code) override {
    shared_.done.fail(Error::with_wire(Code::stream_reset, raw(code)));
  }
  void on_stop_sending(Context&, StreamId, AppCode code) override {
    shared_.done.fail(Error::with_wire(Code::stream_stopped, raw(code)));
  }
  void on_closed(Context&, const CloseReason& reason) override { shared_.done.fail(reason.error); }

 private:
  std::shared_ptr<Shared> kept_;
  Shared& shared_;
  std::uint64_t first_stream_, streams_;
  std::unordered_map<std::uint64_t, std::uint64_t> left_;  // to upload, by stream
};

/// One stream, moved by plain calls. How many bytes it moved.
Result<std::uint64_t> move_by_calls(const Session& session, std::uint64_t size, bool is_upload) {
  const auto stream = session.open(bidirectional);
  if (!stream) return std::unexpected(stream.error());
  const perf::Header header = perf::header_for(is_upload ? 0 : size);
  if (auto written = stream->write(Bytes::copy(header), is_upload ? Fin::no : fin); !written) {
    return std::unexpected(written.error());
  }
  if (is_upload) {
    constexpr std::uint64_t piece = 256 * 1024;
    for (std::uint64_t left = size; left > 0; left -= std::min(left, piece)) {
      if (auto written = stream->write(perf::payload().slice(0, std::min(left, piece))); !written) {
        return std::unexpected(written.error());
      }
    }
    if (auto finished = stream->finish(); !finished) return std::unexpected(finished.error());
  }
  std::vector<std::byte> buffer(256 * 1024);
  for (std::uint64_t bytes = 0;;) {
    const auto read = stream->read_into(buffer);
    if (!read) return std::unexpected(read.error());
    bytes += read->size;
    if (read->fin || read->status == Read::Status::end_of_stream) return is_upload ? size : bytes;
  }
}

/// Connects them all; the first failure counts.
Result<std::vector<Session>> connect_all(const Engine& engine, const ClientOptions& options) {
  std::vector<Session> sessions;
  for (std::uint64_t i = 0; i < options.connections; ++i) {
    sessions.push_back(engine.connect(connection_options(options, nullptr)));
  }
  for (const Session& session : sessions) {
    if (auto connected = session.wait_connected(); !connected) return std::unexpected(connected.error());
  }
  return sessions;
}

}  // namespace

Result<Report> run_bulk(const Engine& engine, const ClientOptions& options, Completion& done) {
  const auto shared = std::make_shared<Shared>(options, done, options.mode == "upload", options.streams);
  std::vector<Session> sessions;
  std::uint64_t first = 0;
  for (std::uint64_t i = 0; i < options.connections; ++i) {
    const std::uint64_t streams = share(options.streams, options.connections, i);
    if (streams == 0) break;
    sessions.push_back(connect(engine, options, std::make_shared<Bulk>(shared, first, streams), done));
    first += streams;
  }
  const auto ended = done.wait(longest_run);
  Report report{.bytes = shared->bytes, .seconds = seconds_between(shared->begin, shared->end)};
  if (ended) report.udp = udp_of(sessions);
  for (const Session& session : sessions) (void)session.close();
  if (!ended) return std::unexpected(ended.error());
  return report;
}

Result<Report> run_bulk_by_callers(const Engine& engine, const ClientOptions& options, Completion&) {
  const auto sessions = connect_all(engine, options);
  if (!sessions) return std::unexpected(sessions.error());
  const bool is_upload = options.mode == "upload";
  std::atomic<std::uint64_t> bytes = 0;
  Completion failure;
  const auto begin = Clock::now();
  {
    std::vector<std::jthread> callers;
    for (std::uint64_t caller = 0; caller < std::min(options.callers, options.streams); ++caller) {
      callers.emplace_back([&, caller] {
        for (std::uint64_t stream = caller; stream < options.streams; stream += options.callers) {
          const Session& session = (*sessions)[stream % sessions->size()];
          const auto moved = move_by_calls(session, share(options.bytes, options.streams, stream), is_upload);
          if (!moved) return failure.fail(moved.error());
          bytes += *moved;
        }
      });
    }
  }
  Report report{.bytes = bytes, .seconds = seconds_between(begin, Clock::now())};
  failure.finish();
  if (auto outcome = failure.wait(0s); !outcome) return std::unexpected(outcome.error());
  report.udp = udp_of(*sessions);
  return report;
}

}  // namespace riffle::cli::bench
