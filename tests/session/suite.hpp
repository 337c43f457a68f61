// The fixture of the Session suite: every test runs unchanged over every transport.
#pragma once

#include <gtest/gtest.h>

#include <chrono>

#include "tests/session/rig.hpp"

namespace riffle::test {

using namespace std::chrono_literals;
using Kind = Event::Kind;

class SessionSuite : public testing::TestWithParam<Family> {
 protected:
  static Family family() { return GetParam(); }
};

/// Registers a suite over fake, smux and quiche.
#define RIFFLE_OVER_ALL_TRANSPORTS(suite)                                                        \
  INSTANTIATE_TEST_SUITE_P(, suite, testing::Values(Family::fake, Family::smux, Family::quiche), \
                           [](const testing::TestParamInfo<Family>& given) { return to_string(given.param); })

}  // namespace riffle::test
