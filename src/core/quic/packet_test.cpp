// Headers of datagrams, as far as routing needs them (RFC 8999, RFC 9000 section 17; SRV-1).
#include "core/quic/packet.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace riffle::core {
namespace {

std::vector<std::byte> bytes_of(std::string_view hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

std::string hex_of(const ConnectionId& id) {
  std::string hex;
  for (const std::uint8_t byte : id.span()) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

TEST(Packet, TheClientInitialOfRfc9001IsParsed) {
  // RFC 9001 appendix A.2: the protected header.
  const auto header = parse_header(bytes_of("c000000001088394c8f03e5157080000449e7b9aec34"));
  ASSERT_TRUE(header);
  EXPECT_TRUE(header->is_long);
  EXPECT_TRUE(header->is_initial);
  EXPECT_EQ(header->version, 1u);
  EXPECT_EQ(hex_of(header->destination), "8394c8f03e515708");
  EXPECT_EQ(hex_of(header->source), "");
}

TEST(Packet, TheServerInitialOfRfc9001IsParsed) {
  // RFC 9001 appendix A.3.
  const auto header = parse_header(bytes_of("cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a"));
  ASSERT_TRUE(header);
  EXPECT_TRUE(header->is_initial);
  EXPECT_EQ(hex_of(header->destination), "");
  EXPECT_EQ(hex_of(header->source), "f067a5502a4262b5");
}

TEST(Packet, TheRetryOfRfc9001IsNoInitial) {
  // RFC 9001 appendix A.4.
  const auto header =
      parse_header(bytes_of("ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba"));
  ASSERT_TRUE(header);
  EXPECT_TRUE(header->is_long);
  EXPECT_FALSE(header->is_initial);
  EXPECT_EQ(hex_of(header->source), "f067a5502a4262b5");
}

TEST(Packet, TheTypesOfLongHeadersAreToldApart) {
  // RFC 9000 section 17.2, table 5: 0x00 Initial, 0x01 0-RTT, 0x02 Handshake, 0x03 Retry.
  for (const auto& [first, is_initial] : {std::pair{"c0", true}, {"d0", false}, {"e0", false}, {"f0", false}}) {
    const auto header = parse_header(bytes_of(std::string(first) + "000000010100" + "00"));
    ASSERT_TRUE(header) << first;
    EXPECT_EQ(header->is_initial, is_initial) << first;
  }
}

TEST(Packet, AShortHeaderHasAnIdOfOurSize) {
  const auto header = parse_header(bytes_of("4c000102030405060708090a0b0c0d0e0fffffff"));
  ASSERT_TRUE(header);
  EXPECT_FALSE(header->is_long);
  EXPECT_FALSE(header->is_initial);
  EXPECT_EQ(hex_of(header->destination), "000102030405060708090a0b0c0d0e0f");
  EXPECT_EQ(header->source.size, 0);
}

TEST(Packet, AnotherVersionIsParsedAndIsNoInitial) {
  // RFC 8999 section 5.1: the ids stand at the same place in every version; the type bits do not.
  const auto header = parse_header(bytes_of("c00a0a0a0a02aabb03ccddee"));
  ASSERT_TRUE(header);
  EXPECT_EQ(header->version, 0x0a0a0a0au);
  EXPECT_FALSE(header->is_initial);
  EXPECT_EQ(hex_of(header->destination), "aabb");
  EXPECT_EQ(hex_of(header->source), "ccddee");
}

TEST(Packet, AVersionNegotiationPacketHasVersionNull) {
  // RFC 9000 section 17.2.1.
  const auto header = parse_header(bytes_of("800000000002aabb000000000100000002"));
  ASSERT_TRUE(header);
  EXPECT_EQ(header->version, 0u);
  EXPECT_FALSE(header->is_initial);
}

TEST(Packet, EveryTruncationOfAHeaderIsRefused) {
  for (const char* hex : {"c0000000010511223344550311223300", "4c000102030405060708090a0b0c0d0e0f",
                          "c00a0a0a0a02aabb03ccddee", "c00000000114000102030405060708090a0b0c0d0e0f1011121300"}) {
    const std::vector<std::byte> whole = bytes_of(hex);
    const auto full = parse_header(whole);
    ASSERT_TRUE(full) << hex;
    const std::size_t needed = full->is_long ? 7u + full->destination.size + full->source.size : 1 + our_id_size;
    for (std::size_t size = 0; size < whole.size(); ++size) {
      // In memory of just that size, so that a sanitizer sees the byte that is one too far.
      const std::vector<std::byte> part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_EQ(parse_header(part).has_value(), size >= needed) << hex << " cut to " << size;
    }
  }
}

TEST(Packet, IdsOfMoreThanTwentyBytesAreNoneOfOurs) {
  // RFC 9000 section 17.2: "In QUIC version 1, this value MUST NOT exceed 20 bytes."
  const std::string twenty_one(42, '0');
  EXPECT_FALSE(parse_header(bytes_of("c00000000115" + twenty_one + "00")));
  EXPECT_FALSE(
      parse_header(bytes_of("c00000000100"
                            "15" +
                            twenty_one)));
  EXPECT_FALSE(parse_header(bytes_of("c000000001ff" + std::string(510, '0') + "00")));
}

TEST(ConnectionIds, AreEqualByTheirBytesAndSize) {
  const std::vector<std::uint8_t> four{1, 2, 3, 4};
  EXPECT_EQ(ConnectionId::from(four), ConnectionId::from(four));
  EXPECT_NE(ConnectionId::from(four), ConnectionId::from(std::span(four).first(3)));
  const std::vector<std::uint8_t> zeros(3, 0);
  EXPECT_NE(ConnectionId::from(zeros), ConnectionId::from(std::span(zeros).first(2)));
  EXPECT_EQ(ConnectionId::from(std::vector<std::uint8_t>(30, 7)).size, ConnectionId::max_size);
}

}  // namespace
}  // namespace riffle::core
