#include "core/smux/options.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "core/smux/engine.hpp"

namespace riffle::core::smux {
namespace {

TEST(SmuxOptions, TheDefaultsAreValid) { EXPECT_TRUE(validate(Options{}).has_value()); }

// MUX-1: "validated".
TEST(SmuxOptions, EveryNonsenseIsRefusedWithItsName) {
  struct Case {
    std::function<void(Options&)> spoil;
    std::string_view word;
  };
  const Case cases[] = {
      {[](Options& o) { o.max_frame_size = 0; }, "max_frame_size"},
      {[](Options& o) { o.max_frame_size = 65536; }, "max_frame_size"},
      {[](Options& o) { o.quantum = 0; }, "quantum"},
      {[](Options& o) { o.window = o.first_window = 0; }, "window"},
      {[](Options& o) { o.window = 1u << 31; }, "window"},
      {[](Options& o) { o.first_window = 0; }, "first_window"},
      {[](Options& o) { o.first_window = o.window + 1; }, "never shrinks"},
      {[](Options& o) { o.peer_window = 0; }, "peer_window"},
      {[](Options& o) { o.peer_window = 1u << 31; }, "peer_window"},
      {[](Options& o) { o.receive_budget = unasked_window - 1; }, "receive_budget"},
      {[](Options& o) { o.send_queue = 0; }, "send_queue"},
      {[](Options& o) { o.max_streams = 0; }, "max_streams"},
      {[](Options& o) { o.accept_hold = -Duration(1); }, "negative"},
      {[](Options& o) { o.keep_alive_timeout = o.keep_alive_interval; }, "keep_alive_timeout"},
  };
  for (const Case& broken : cases) {
    Options options;
    broken.spoil(options);
    const auto result = validate(options);
    ASSERT_FALSE(result.has_value()) << broken.word;
    EXPECT_EQ(result.error().code(), Code::invalid_argument);
    EXPECT_NE(result.error().evidence().find(broken.word), std::string::npos) << result.error().evidence();
  }
}

TEST(SmuxOptionsDeathTest, AnEngineOfInvalidOptionsIsTrapped) {
  Options options;
  options.quantum = 0;
  EXPECT_DEATH(Engine(options, Instant{}), "options that validate");
}

}  // namespace
}  // namespace riffle::core::smux
