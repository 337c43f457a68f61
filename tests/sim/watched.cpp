#include "watched.hpp"

#include <utility>

namespace riffle::sim {

void Watched::wrong(const std::string& what) { simulation_.fail(who_ + ": " + what); }

void Watched::note(const char* what, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  simulation_.trace().note(simulation_.now(), who_, what, a, b, c);
  simulation_.note_progress();
  if (is_closed()) wrong(std::string(what) + " after on_closed");
}

Watched::Seen& Watched::note_stream(const char* what, StreamId stream, std::uint64_t b, std::uint64_t c) {
  note(what, raw(stream), b, c);
  if (!connected_) wrong(std::string(what) + " before on_connected");
  Seen& seen = streams_[stream];
  if (seen.finished) wrong(std::string(what) + " after on_stream_finished of stream " + std::to_string(raw(stream)));
  return seen;
}

void Watched::on_connected(Context& context) {
  note("connected");
  if (std::exchange(connected_, true)) wrong("on_connected twice");
  session_ = context.session();
  connected_at_ = simulation_.now();
  inner_->on_connected(context);
}

void Watched::on_stream_opened(Context& context, StreamId stream, Direction direction) {
  Seen& seen = note_stream("stream opened", stream, static_cast<std::uint64_t>(direction));
  if (std::exchange(seen.opened, true)) wrong("on_stream_opened twice");
  inner_->on_stream_opened(context, stream, direction);
}

void Watched::on_stream_readable(Context& context, StreamId stream) {
  note_stream("readable", stream);
  inner_->on_stream_readable(context, stream);
}

void Watched::on_stream_data(Context& context, StreamId stream, Bytes data, bool fin) {
  Seen& seen = note_stream(fin ? "data, fin" : "data", stream, data.size(), hash_of(data.span()));
  if (seen.ended) wrong("on_stream_data behind the end of stream " + std::to_string(raw(stream)));
  if (data.empty() && !fin) wrong("on_stream_data without data");
  seen.ended = fin;
  inner_->on_stream_data(context, stream, std::move(data), fin);
}

void Watched::on_stream_finished(Context& context, StreamId stream) {
  note_stream("stream finished", stream).finished = true;
  inner_->on_stream_finished(context, stream);
}

void Watched::on_writable(Context& context, StreamId stream) {
  note_stream("writable", stream);
  inner_->on_writable(context, stream);
}

void Watched::on_flushed(Context& context, StreamId stream) {
  note_stream("flushed", stream);
  inner_->on_flushed(context, stream);
}

void Watched::on_write_failed(Context& context, StreamId stream, const Error& error) {
  note_stream("write failed", stream, static_cast<std::uint64_t>(error.code()), error.wire());
  inner_->on_write_failed(context, stream, error);
}

void Watched::on_stream_reset(Context& context, StreamId stream, AppCode code) {
  note_stream("stream reset", stream, raw(code));
  inner_->on_stream_reset(context, stream, code);
}

void Watched::on_stop_sending(Context& context, StreamId stream, AppCode code) {
  note_stream("stop sending", stream, raw(code));
  inner_->on_stop_sending(context, stream, code);
}

void Watched::on_deliveries_used_up(Context& context, StreamId stream) {
  note_stream("deliveries used up", stream);
  inner_->on_deliveries_used_up(context, stream);
}

void Watched::on_draining(Context& context) {
  note("draining");
  inner_->on_draining(context);
}

void Watched::on_session_blocked(Context& context, std::uint64_t stalled_streams) {
  note("session blocked", stalled_streams);
  inner_->on_session_blocked(context, stalled_streams);
}

void Watched::on_closed(Context& context, const CloseReason& reason) {
  note("closed", reason.code, static_cast<std::uint64_t>(reason.error.code()), static_cast<std::uint64_t>(reason.by));
  reason_ = reason;
  closed_at_ = simulation_.now();
  inner_->on_closed(context, reason);
}

}  // namespace riffle::sim
