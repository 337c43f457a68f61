#include "core/session/life_cycle.hpp"

#include <gtest/gtest.h>

#include <map>
#include <utility>

namespace riffle::core {
namespace {

using enum SessionState;

constexpr std::array states{init, handshaking, connected, draining, closed};
constexpr std::array events{LifeEvent::begin, LifeEvent::established, LifeEvent::close, LifeEvent::peer_close,
                            LifeEvent::ended};

// COR-1: init, handshaking, connected, draining, closed; every pair of state and event, with or without a meaning.
TEST(LifeCycle, HasTheseTransitionsAndNoOthers) {
  const std::map<std::pair<SessionState, LifeEvent>, SessionState> expected{
      {{init, LifeEvent::begin}, handshaking},     {{init, LifeEvent::close}, draining},
      {{init, LifeEvent::peer_close}, draining},   {{handshaking, LifeEvent::established}, connected},
      {{handshaking, LifeEvent::close}, draining}, {{handshaking, LifeEvent::peer_close}, draining},
      {{connected, LifeEvent::close}, draining},   {{connected, LifeEvent::peer_close}, draining},
      {{draining, LifeEvent::ended}, closed},
  };
  for (const SessionState from : states) {
    for (const LifeEvent event : events) {
      const auto to = next_state(from, event);
      const auto found = expected.find({from, event});
      EXPECT_EQ(to.has_value(), found != expected.end()) << to_string(from);
      EXPECT_TRUE(!to || found == expected.end() || *to == found->second);
    }
  }
}

// COR-1: entering and leaving a state arms and disarms its timers.
TEST(LifeCycle, ArmsEachTimerInOneState) {
  for (const SessionState state : states) {
    EXPECT_EQ(timers_of(state).handshake, state == handshaking);
    EXPECT_EQ(timers_of(state).keep_alive, state == connected);
  }
}

TEST(LifeCycle, NamesItsStates) {
  EXPECT_EQ(to_string(init), "init");
  EXPECT_EQ(to_string(handshaking), "handshaking");
  EXPECT_EQ(to_string(connected), "connected");
  EXPECT_EQ(to_string(draining), "draining");
  EXPECT_EQ(to_string(closed), "closed");
  EXPECT_EQ(to_string(SessionState{77}), "unknown");
}

}  // namespace
}  // namespace riffle::core
