#include "base/id_map.hpp"

#include <gtest/gtest.h>

#include <random>
#include <unordered_map>
#include <vector>

namespace riffle::base {
namespace {

TEST(IdMap, IsEmptyAtFirst) {
  IdMap<int> map;
  EXPECT_EQ(map.find(0), nullptr);
  EXPECT_EQ(map.any(), nullptr);
  EXPECT_EQ(map.size(), 0u);
  map.erase(4);
  map.clear();
  map.for_each([](int&) { FAIL(); });
}

// Against the standard map, with ids in steps of four as streams have them, and at random.
TEST(IdMap, AgreesWithTheStandardMapUnderRandomOperations) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    IdMap<int> map;
    std::unordered_map<std::uint64_t, int*> model;
    std::vector<int> values(1);
    const std::uint64_t range = 1 + random() % 400;
    for (int step = 0; step < 5000; ++step) {
      const std::uint64_t id = seed % 2 == 0 ? 4 * (random() % range) : random() % range * 0x9E3779B97F4A7C15ull;
      const auto found = model.find(id);
      if (found == model.end()) {
        ASSERT_EQ(map.find(id), nullptr);
        if (random() % 3 != 0) {
          map.insert(id, values.data());
          model[id] = values.data();
        }
      } else {
        ASSERT_EQ(map.find(id), found->second);
        if (random() % 2 == 0) {
          map.erase(id);
          model.erase(found);
        }
      }
      if (step % 997 == 996) {
        map.clear();
        model.clear();
      }
      ASSERT_EQ(map.size(), model.size());
    }
    std::size_t seen = 0;
    map.for_each([&seen](int&) { ++seen; });
    EXPECT_EQ(seen, model.size());
    EXPECT_EQ(map.any() != nullptr, !model.empty());
  }
}

// Erasing shifts the entries behind it back: what collides stays reachable.
TEST(IdMap, FindsWhatCollidedWithAnErasedId) {
  IdMap<int> map;
  std::vector<int> values(8);
  for (std::size_t i = 0; i < values.size(); ++i) map.insert(i * 4, &values[i]);
  for (std::size_t gone = 0; gone < values.size(); ++gone) {
    map.erase(gone * 4);
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(map.find(i * 4), i > gone ? &values[i] : nullptr);
  }
}

}  // namespace
}  // namespace riffle::base
