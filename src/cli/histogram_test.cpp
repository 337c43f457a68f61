#include "cli/histogram.hpp"

#include <gtest/gtest.h>

namespace riffle::cli {
namespace {

using namespace std::chrono_literals;

TEST(Histogram, WithoutSamplesEveryQuantileIsZero) { EXPECT_EQ(Histogram().quantile_us(0.5), 0); }

TEST(Histogram, QuantilesAreRightToThreeDigits) {
  Histogram histogram;
  for (int us = 1; us <= 100'000; ++us) histogram.add(std::chrono::microseconds(us));
  EXPECT_EQ(histogram.count(), 100'000U);
  for (const double part : {0.001, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    EXPECT_NEAR(histogram.quantile_us(part), part * 100'000, part * 100'000 * 0.001);
  }
}

TEST(Histogram, OneSampleIsEveryQuantile) {
  Histogram histogram;
  histogram.add(777us);
  EXPECT_NEAR(histogram.quantile_us(0), 777, 0.8);
  EXPECT_NEAR(histogram.quantile_us(1), 777, 0.8);
}

TEST(Histogram, WhatIsOutOfRangeIsCountedAtItsEnds) {
  Histogram histogram;
  histogram.add(-5ns);
  histogram.add(24h);
  EXPECT_EQ(histogram.quantile_us(0.5), 0);
  EXPECT_NEAR(histogram.quantile_us(1), 1.0995e9, 1.1e6);
}

TEST(Histogram, TwoCanBecomeOne) {
  Histogram one, other;
  one.add(1us);
  other.add(9us);
  one.add(other);
  EXPECT_EQ(one.count(), 2U);
  EXPECT_NEAR(one.quantile_us(1), 9, 0.01);
}

}  // namespace
}  // namespace riffle::cli
