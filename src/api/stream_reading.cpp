// Reading from any thread: no lock, and no system call while data is there (STR-5; design/streams.md RD-9 to RD-12).
#include <algorithm>
#include <utility>

#include <riffle/stream.hpp>
#include "api/stream_errors.hpp"
#include "api/waiting.hpp"
#include "meet/stream_meet.hpp"

namespace riffle {
inline namespace v1 {
namespace {

using std::chrono::steady_clock;

Result<Read::Status> status_of(const meet::StreamMeet& stream, meet::Taken taken) {
  switch (taken) {
    case meet::Taken::data:
      return Read::Status::data;
    case meet::Taken::nothing:
      return Read::Status::would_block;
    case meet::Taken::end:
      return Read::Status::end_of_stream;
    case meet::Taken::reset:
      return std::unexpected(Error::with_wire(Code::stream_reset, stream.reading.end_code()));
    case meet::Taken::wrong_mode:
      return fail(Code::wrong_mode);
    case meet::Taken::concurrent_read:
      return fail(Code::concurrent_read);
    case meet::Taken::closed:
      break;
  }
  const auto told = static_cast<Code>(stream.reading.end_code());
  if (stream.session->state.load() == SessionState::closed) return std::unexpected(api::closed_error(*stream.session));
  if (told == Code::budget_exhausted) {
    return fail(Code::budget_exhausted, "it had stalled longest when StreamLimits::session_receive_budget was used up");
  }
  return fail(told == Code{} ? Code::closed : told, "its reading side was shut down");
}

/// One attempt: takes the role, takes what is there, gives the role back, and tells the loop what it asked to know.
template <class F>
meet::Taken attempt(meet::StreamMeet& stream, F&& take) {
  bool word = false;
  meet::Taken taken = stream.reading.acquire(word);
  std::uint32_t bits = word ? std::uint32_t{meet::stream_deliver} : 0;
  if (taken == meet::Taken::data) {
    taken = take(stream.reading);
    if (stream.reading.wants_refill()) bits |= meet::stream_refill;
    if (stream.reading.release()) bits |= meet::stream_deliver;
  }
  if (bits != 0) stream.session->loop->attend(stream, bits);
  return taken;
}

/// Sleeps until there is something to read (or a reason why there never will be).
Result<void> wait_readable(meet::StreamMeet& stream, steady_clock::time_point deadline) {
  if (stream.session->loop->is_loop_thread()) return fail(Code::would_deadlock, "use on_stream_data, or Context::read");
  runtime::Parker& parker = runtime::Parker::of_this_thread();
  switch (stream.reading.begin_wait(parker)) {
    case meet::ReadPath::Wait::again:
      return {};
    case meet::ReadPath::Wait::concurrent_read:
      return fail(Code::concurrent_read);
    case meet::ReadPath::Wait::sleep:
      break;
  }
  // A loop that ends in this very moment may have missed the waiter: look again now and then.
  constexpr auto look_again = std::chrono::milliseconds(500);
  for (;;) {
    if (parker.sleep_until(std::min(deadline, steady_clock::now() + look_again))) break;
    const bool has_ended = stream.session->loop->list.is_closed();
    if (!has_ended && steady_clock::now() < deadline) continue;
    if (stream.reading.cancel_wait())
      return fail(has_ended ? Code::closed : Code::timed_out, has_ended ? "the engine has ended" : "");
    parker.sleep();
    break;
  }
  stream.reading.end_wait();
  return {};
}

}  // namespace

Result<Read> Stream::try_read(std::size_t max) const {
  if (!shared_ || max == 0) return fail(Code::invalid_argument, !shared_ ? "an empty Stream" : "a read of 0 bytes");
  Read read;
  const meet::Taken taken = attempt(*shared_, [&](meet::ReadPath& reading) {
    const meet::Taken got = reading.take(max, read.data);
    read.fin = reading.at_fin();
    return got;
  });
  auto status = status_of(*shared_, taken);
  if (!status) return std::unexpected(status.error());
  read.status = *status;
  return read;
}

Result<ReadCount> Stream::try_read_into(std::span<std::byte> to) const {
  if (!shared_ || to.empty()) return fail(Code::invalid_argument, !shared_ ? "an empty Stream" : "a read of 0 bytes");
  ReadCount read;
  const meet::Taken taken = attempt(*shared_, [&](meet::ReadPath& reading) {
    const meet::Taken got = reading.take_into(to, read.size);
    read.fin = reading.at_fin();
    return got;
  });
  auto status = status_of(*shared_, taken);
  if (!status) return std::unexpected(status.error());
  read.status = *status;
  return read;
}

Result<Read> Stream::read(std::size_t max, Timeout timeout) const {
  const auto deadline = runtime::deadline_after(timeout);
  for (;;) {
    auto read = try_read(max);
    if (!read || read->status != Read::Status::would_block) return read;
    if (auto woken = wait_readable(*shared_, deadline); !woken) return std::unexpected(woken.error());
  }
}

Result<ReadCount> Stream::read_into(std::span<std::byte> to, Timeout timeout) const {
  const auto deadline = runtime::deadline_after(timeout);
  for (;;) {
    auto read = try_read_into(to);
    if (!read || read->status != Read::Status::would_block) return read;
    if (auto woken = wait_readable(*shared_, deadline); !woken) return std::unexpected(woken.error());
  }
}

Result<Bytes> Stream::read_to_end(std::size_t max, Timeout timeout) const {
  const auto deadline = runtime::deadline_after(timeout);
  std::string whole;
  for (;;) {
    const auto now = steady_clock::now();
    const Timeout left =
        deadline == steady_clock::time_point::max() ? forever : std::max(Timeout{0}, Timeout(deadline - now));
    auto part = read(64 * 1024, left);
    if (!part) return std::unexpected(part.error());
    if (whole.size() + part->data.size() > max) {
      return fail(Code::too_large, "more than " + std::to_string(max) + " bytes");
    }
    whole += part->data.view();
    if (part->fin || part->status == Read::Status::end_of_stream) return Bytes::adopt(std::move(whole));
  }
}

}  // namespace v1
}  // namespace riffle
