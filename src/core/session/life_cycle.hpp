// A session's life cycle as one table (COR-1). The diagram in ARCHITECTURE.md is drawn from it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include <riffle/session.hpp>

namespace riffle::core {

enum class LifeEvent : std::uint8_t {
  begin,        ///< a transport was asked for
  established,  ///< the handshake is done
  close,        ///< our side closes
  peer_close,   ///< the peer closes, or the transport fails
  ended,        ///< nothing is left to tell
};

/// The timers that run in a state; entering and leaving arm and disarm them.
struct StateTimers {
  bool handshake = false;   ///< the handshake must be done by its deadline
  bool keep_alive = false;  ///< silence is broken before the peer's idle timeout
};

/// The state that follows, or nothing where the event has no meaning in `from`.
std::optional<SessionState> next_state(SessionState from, LifeEvent event) noexcept;
StateTimers timers_of(SessionState state) noexcept;

}  // namespace riffle::core
