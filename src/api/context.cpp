// What a callback may do: straight into the session's core, on its own thread, with no core method on the stack.
#include <riffle/session.hpp>

#include "base/send_block.hpp"
#include "meet/session_meet.hpp"
#include "meet/stream_meet.hpp"
#include "shell/session_driver.hpp"

namespace riffle {
inline namespace v1 {
namespace {

constexpr std::size_t largest_piece = std::size_t{1} << 30;

}  // namespace

void Context::write(StreamId stream, Bytes data, Fin end) noexcept {
  while (data.size() > largest_piece) {
    driver_.session().write(stream, base::SendBlock::make(data.slice(0, largest_piece), false), driver_.now());
    data = data.slice(largest_piece, data.size());
  }
  driver_.session().write(stream, base::SendBlock::make(std::move(data), end == Fin::yes), driver_.now());
}

void Context::write(StreamId stream, std::string_view text, Fin end) noexcept {
  if (text.size() > base::SendBlock::copy_up_to) {
    write(stream, Bytes::copy(text), end);
    return;
  }
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  driver_.session().write(stream, base::SendBlock::make_copy(bytes, end == Fin::yes), driver_.now());
}

std::int64_t Context::writable_bytes(StreamId stream) noexcept { return driver_.session().writable_bytes(stream); }

Result<Read> Context::read(StreamId stream, std::size_t max) noexcept {
  return driver_.session().read(stream, max, driver_.now());
}

Result<StreamId> Context::open(Direction direction) noexcept {
  return driver_.session().open(direction, driver_.now());
}

void Context::set_delivery(StreamId stream, Delivery delivery) noexcept {
  driver_.session().set_delivery(stream, delivery, driver_.now());
}

void Context::set_priority(StreamId stream, std::uint8_t urgency, bool incremental) noexcept {
  driver_.session().set_priority(stream, urgency, incremental);
}

void Context::shutdown(StreamId stream, Side side, AppCode code) noexcept {
  driver_.session().shutdown(stream, side, code, driver_.now());
}

void Context::close(AppCode code, std::string_view reason) noexcept {
  driver_.shared().request_close(code, reason);
  driver_.shared().close_called.store(true);
  driver_.shared().state.store(SessionState::closed);
  driver_.close(core::StreamPort::CloseKind::application, raw(code), reason, Error(Code::closed));
}

Stream Context::stream(StreamId stream) noexcept {
  meet::StreamMeet* shared = driver_.session().share(stream);
  return shared != nullptr ? Stream(Ref<meet::StreamMeet>::share(shared)) : Stream();
}

Session Context::session() noexcept { return Session(Ref<meet::SessionMeet>::share(&driver_.shared())); }

}  // namespace v1
}  // namespace riffle
