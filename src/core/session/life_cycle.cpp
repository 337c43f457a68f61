#include "core/session/life_cycle.hpp"

namespace riffle::core {
namespace {

struct Transition {
  SessionState from;
  LifeEvent event;
  SessionState to;
};

constexpr std::array transitions{
    Transition{SessionState::init, LifeEvent::begin, SessionState::handshaking},
    Transition{SessionState::init, LifeEvent::close, SessionState::draining},
    Transition{SessionState::init, LifeEvent::peer_close, SessionState::draining},
    Transition{SessionState::handshaking, LifeEvent::established, SessionState::connected},
    Transition{SessionState::handshaking, LifeEvent::close, SessionState::draining},
    Transition{SessionState::handshaking, LifeEvent::peer_close, SessionState::draining},
    Transition{SessionState::connected, LifeEvent::close, SessionState::draining},
    Transition{SessionState::connected, LifeEvent::peer_close, SessionState::draining},
    Transition{SessionState::draining, LifeEvent::ended, SessionState::closed},
};

}  // namespace

std::optional<SessionState> next_state(SessionState from, LifeEvent event) noexcept {
  for (const Transition& transition : transitions) {
    if (transition.from == from && transition.event == event) return transition.to;
  }
  return std::nullopt;
}

StateTimers timers_of(SessionState state) noexcept {
  switch (state) {
    case SessionState::handshaking:
      return {.handshake = true, .keep_alive = false};
    case SessionState::connected:
      return {.handshake = false, .keep_alive = true};
    case SessionState::init:
    case SessionState::draining:
    case SessionState::closed:
      break;
  }
  return {};
}

}  // namespace riffle::core

namespace riffle {
inline namespace v1 {

std::string_view to_string(SessionState state) noexcept {
  switch (state) {
    case SessionState::init:
      return "init";
    case SessionState::handshaking:
      return "handshaking";
    case SessionState::connected:
      return "connected";
    case SessionState::draining:
      return "draining";
    case SessionState::closed:
      return "closed";
  }
  return "unknown";
}

}  // namespace v1
}  // namespace riffle
