#include "transfer.hpp"

#include <algorithm>
#include <utility>

#include "pattern.hpp"

namespace riffle::sim {

void TransferHandler::fail(StreamId stream, const std::string& what) {
  simulation_.fail(std::string(role_ == Role::client ? "client" : "server") + ", stream " +
                   std::to_string(raw(stream)) + ": " + what);
}

TransferHandler::Flow* TransferHandler::flow(StreamId stream) {
  const auto found = flows_.find(stream);
  if (found != flows_.end()) return &found->second;
  fail(stream, "an event of a stream that was never opened");
  return nullptr;
}

void TransferHandler::on_connected(Context& context) { open_streams(context); }

void TransferHandler::open_streams(Context& context) {
  while (role_ == Role::client && opened_ < plan_.streams) {
    const auto stream = context.open();
    if (!stream && stream.error().code() == Code::would_block) break;
    if (!stream) return fail(StreamId{}, "open: " + stream.error().message());
    ++opened_;
    begin(context, *stream);
  }
  // No callback tells that the peer allows more. The session's own `open` waits for it (STR-1).
  while (role_ == Role::client && opened_ < plan_.streams) {
    auto stream = context.session().open();
    if (!stream) return fail(StreamId{}, "open: " + stream.error().message());
    ++opened_;
    waiting_.push_back(std::move(*stream));
  }
  if (!waiting_.empty()) open_waiting_streams();
}

/// A program's plain calls, between two cycles of the loop.
void TransferHandler::open_waiting_streams() {
  if (closed_) waiting_.clear();
  std::vector<Stream> still;
  for (Stream& stream : waiting_) {
    const auto id = stream.id();
    if (!id) {
      still.push_back(std::move(stream));
      continue;
    }
    if (!flows_.emplace(*id, Flow{.number = raw(*id) / 4}).second) fail(*id, "opened twice");
    const Stream& handle = by_handle_.emplace(*id, std::move(stream)).first->second;
    pump_by(flows_.at(*id), [&](const Bytes& data, Fin end) {
      const auto written = handle.try_write(data, end);
      if (!written) fail(*id, "try_write: " + written.error().message());
      return written && *written == WriteStatus::accepted;
    });
  }
  waiting_ = std::move(still);
  if (waiting_.empty()) return;
  simulation_.after(std::chrono::milliseconds(5), [self = weak_from_this()] {
    if (const auto alive = self.lock()) alive->open_waiting_streams();
  });
}

void TransferHandler::on_stream_opened(Context& context, StreamId stream, Direction) { begin(context, stream); }

void TransferHandler::begin(Context& context, StreamId stream) {
  if (!flows_.emplace(stream, Flow{.number = raw(stream) / 4}).second) fail(stream, "opened twice");
  on_begun(context, stream);
  pump(context, stream);
}

template <class Write>
void TransferHandler::pump_by(Flow& to, Write&& write) {
  const std::uint64_t total = plan_.size(to.number, role_);
  const std::uint64_t key = plan_.data_key(to.number, role_);
  while (!to.end_sent) {
    const std::uint64_t most = random_.chance(0.1) ? 65536 : 8192;
    const auto size = static_cast<std::size_t>(std::min(total - to.sent, random_.between(1, most)));
    // The end comes with the last bytes, or alone.
    const bool is_last = to.sent + size == total && (size == 0 || random_.chance(0.5));
    if (!write(make_pattern(key, to.sent, size), is_last ? Fin::yes : Fin::no)) return;
    to.sent += size;
    to.end_sent = is_last;
  }
}

void TransferHandler::pump(Context& context, StreamId stream) {
  Flow* const to = flow(stream);
  if (to == nullptr) return;
  pump_by(*to, [&](Bytes data, Fin end) {
    if (!data.empty() && context.writable_bytes(stream) <= 0) return false;
    context.write(stream, std::move(data), end);
    return true;
  });
}

void TransferHandler::take(StreamId stream, std::span<const std::byte> data, bool fin) {
  Flow* const from = flow(stream);
  if (from == nullptr) return;
  const std::uint64_t total = plan_.size(from->number, peer());
  if (const auto wrong = find_mismatch(plan_.data_key(from->number, peer()), from->received, data)) {
    fail(stream, "the byte at " + std::to_string(*wrong) + " of " + std::to_string(total) + " is wrong");
  }
  from->received += data.size();
  received_ += data.size();
  if (from->received > total) fail(stream, "more bytes than were sent");
  if (!fin) return;
  if (std::exchange(from->end_received, true)) fail(stream, "two ends");
  if (from->received != total) {
    fail(stream, "ended after " + std::to_string(from->received) + " of " + std::to_string(total) + " bytes");
  }
}

void TransferHandler::on_stream_data(Context&, StreamId stream, Bytes data, bool fin) {
  take(stream, data.span(), fin);
}

void TransferHandler::on_stream_finished(Context&, StreamId stream) {
  const Flow* const done = flow(stream);
  if (done == nullptr) return;
  if (!done->end_received || !done->end_sent) fail(stream, "finished before both sides were over");
  ++finished_;
}

void TransferHandler::on_write_failed(Context&, StreamId stream, const Error& error) {
  fail(stream, "a write failed: " + error.message());
}

void TransferHandler::on_stream_reset(Context&, StreamId stream, AppCode code) {
  fail(stream, "a reset that nobody asked for, code " + std::to_string(raw(code)));
}

void TransferHandler::on_stop_sending(Context&, StreamId stream, AppCode code) {
  fail(stream, "a stop that nobody asked for, code " + std::to_string(raw(code)));
}

}  // namespace riffle::sim
