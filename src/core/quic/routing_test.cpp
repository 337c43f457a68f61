// What becomes of a datagram whose id nobody has, and the table of those whose id somebody has (SRV-1, SRV-2).
#include "core/quic/routing.hpp"

#include <array>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace riffle::core {
namespace {

ConnectionId id_of(std::size_t size, std::uint8_t fill) {
  const std::vector<std::uint8_t> bytes(size, fill);
  return ConnectionId::from(bytes);
}

PacketHeader initial() {
  PacketHeader header;
  header.is_long = header.is_initial = true;
  header.version = 1;
  header.destination = id_of(8, 1);
  header.source = id_of(16, 2);
  return header;
}

/// One datagram, and what should become of it.
struct Row {
  const char* what;
  Arriving expected;
  PacketHeader header = initial();
  std::size_t size = 1200;
  bool version_is_known = true;
  ListenerLoad load{.sessions = 0, .max_sessions = 10, .handshakes = 0, .max_handshakes = 5};
};

PacketHeader with(PacketHeader header, auto&& change) {
  change(header);
  return header;
}

std::vector<Row> rows() {
  const auto short_header = with(initial(), [](PacketHeader& h) {
    h.is_long = h.is_initial = false;
    h.version = 0;
  });
  const auto negotiation = with(initial(), [](PacketHeader& h) { h.is_initial = false, h.version = 0; });
  const auto handshake = with(initial(), [](PacketHeader& h) { h.is_initial = false; });
  const auto unknown = with(initial(), [](PacketHeader& h) { h.is_initial = false, h.version = 0x0a0a0a0a; });
  const auto seven = with(initial(), [](PacketHeader& h) { h.destination = id_of(7, 1); });
  const auto nameless = with(unknown, [](PacketHeader& h) { h.destination = h.source = ConnectionId{}; });
  return {
      {.what = "an Initial of the smallest size", .expected = Arriving::accept},
      {.what = "a larger Initial", .expected = Arriving::accept, .size = 1452},
      {.what = "an Initial that is one byte short", .expected = Arriving::ignore, .size = 1199},
      {.what = "a short header", .expected = Arriving::ignore, .header = short_header},
      {.what = "version negotiation", .expected = Arriving::ignore, .header = negotiation},
      {.what = "version negotiation of an unknown version",
       .expected = Arriving::ignore,
       .header = negotiation,
       .version_is_known = false},
      {.what = "a Handshake packet", .expected = Arriving::ignore, .header = handshake},
      {.what = "an Initial with an id of 7 bytes", .expected = Arriving::ignore, .header = seven},
      {.what = "an unknown version",
       .expected = Arriving::negotiate_version,
       .header = unknown,
       .version_is_known = false},
      {.what = "an unknown version without ids",
       .expected = Arriving::negotiate_version,
       .header = nameless,
       .version_is_known = false},
      {.what = "an unknown version, too short to answer",
       .expected = Arriving::ignore,
       .header = unknown,
       .size = 1199,
       .version_is_known = false},
      {.what = "an unknown version while all is full",
       .expected = Arriving::negotiate_version,
       .header = unknown,
       .version_is_known = false,
       .load = {.sessions = 10, .max_sessions = 10, .handshakes = 5, .max_handshakes = 5}},
      {.what = "the last place",
       .expected = Arriving::accept,
       .load = {.sessions = 9, .max_sessions = 10, .handshakes = 4, .max_handshakes = 5}},
      {.what = "one session too many",
       .expected = Arriving::refuse,
       .load = {.sessions = 10, .max_sessions = 10, .handshakes = 0, .max_handshakes = 5}},
      {.what = "one handshake too many",
       .expected = Arriving::ignore,
       .load = {.sessions = 5, .max_sessions = 10, .handshakes = 5, .max_handshakes = 5}},
      {.what = "one of both too many: no state is spent on saying so",
       .expected = Arriving::ignore,
       .load = {.sessions = 10, .max_sessions = 10, .handshakes = 5, .max_handshakes = 5}},
  };
}

TEST(Decision, EveryKindOfDatagramHasItsAnswer) {
  for (const Row& row : rows()) {
    EXPECT_EQ(decide(row.header, row.size, row.version_is_known, row.load), row.expected) << row.what;
  }
}

TEST(RoutingTable, FindsWhatWasAddedUntilItIsRemoved) {
  RoutingTable<int> table(42);
  int one = 1;
  int two = 2;
  table.add(id_of(16, 1), one);
  table.add(id_of(8, 1), two);
  EXPECT_EQ(table.find(id_of(16, 1)), &one);
  EXPECT_EQ(table.find(id_of(8, 1)), &two) << "the size is part of an id";
  EXPECT_EQ(table.find(id_of(16, 2)), nullptr);
  table.remove(id_of(16, 1));
  table.remove(id_of(16, 1));
  EXPECT_EQ(table.find(id_of(16, 1)), nullptr);
  EXPECT_EQ(table.size(), 1u);
}

TEST(RoutingTable, TheLatestTargetOfAnIdCounts) {
  RoutingTable<int> table(42);
  int one = 1;
  int two = 2;
  table.add(id_of(0, 0), one);
  table.add(id_of(0, 0), two);
  EXPECT_EQ(table.find(id_of(0, 0)), &two);
  EXPECT_EQ(table.size(), 1u);
}

TEST(RoutingTable, AgreesWithAMapOverRandomIds) {
  std::mt19937 random(20'240'601);
  std::array<int, 64> targets{};
  RoutingTable<int> table(random());
  std::map<std::vector<std::uint8_t>, int*> model;
  for (int i = 0; i < 20'000; ++i) {
    // Few values, so that ids meet again.
    std::vector<std::uint8_t> bytes(random() % 3 * 8);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random() % 2);
    const ConnectionId id = ConnectionId::from(bytes);
    if (random() % 2 == 0) {
      int& target = targets[random() % targets.size()];
      table.add(id, target);
      model[bytes] = &target;
    } else if (random() % 2 == 0) {
      table.remove(id);
      model.erase(bytes);
    }
    const auto found = model.find(bytes);
    ASSERT_EQ(table.find(id), found == model.end() ? nullptr : found->second);
    ASSERT_EQ(table.size(), model.size());
  }
}

}  // namespace
}  // namespace riffle::core
