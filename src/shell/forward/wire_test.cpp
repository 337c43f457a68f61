#include "shell/forward/wire.hpp"

#include <gtest/gtest.h>

#include <cstring>

namespace riffle::forwarding::wire {
namespace {

/// Gives the reader `text` in pieces of at most `piece` bytes, as long as it wants some. How much it took.
std::size_t feed(HeaderReader& reader, std::string_view text, std::size_t piece) {
  std::size_t fed = 0;
  while (fed < text.size()) {
    const auto wanted = reader.wanted();
    if (wanted.empty()) break;
    const std::size_t size = std::min({piece, wanted.size(), text.size() - fed});
    std::memcpy(wanted.data(), text.data() + fed, size);
    reader.on_filled(size);
    fed += size;
  }
  return fed;
}

// CLI-2: each stream begins with a u16 length and host:port.
TEST(ForwardHeader, IsReadFromAnyPiecesAndNoByteFurther) {
  const std::string header = header_for("db.lan:5432");
  EXPECT_EQ(header.substr(0, 2), std::string("\0\x0b", 2));
  for (std::size_t piece = 1; piece <= header.size() + 7; ++piece) {
    HeaderReader reader;
    EXPECT_EQ(feed(reader, header + "payload", piece), header.size()) << piece;
    EXPECT_TRUE(reader.is_complete());
    EXPECT_EQ(reader.target(), "db.lan:5432");
  }
}

TEST(ForwardHeader, IsNotCompleteBeforeItsLastByte) {
  const std::string header = header_for("db.lan:5432");
  HeaderReader reader;
  feed(reader, header.substr(0, header.size() - 1), 64);
  EXPECT_FALSE(reader.is_complete());
  EXPECT_FALSE(reader.is_bad());
  EXPECT_EQ(reader.wanted().size(), 1U);
}

TEST(ForwardHeader, OfNoLengthOrTooGreatALengthIsBad) {
  for (const std::string_view text :
       {std::string_view("\0\0", 2), std::string_view("\x01\x05", 2), std::string_view("\xff\xff", 2)}) {
    HeaderReader reader;
    feed(reader, text, 2);
    EXPECT_TRUE(reader.is_bad());
    EXPECT_FALSE(reader.is_complete());
    EXPECT_TRUE(reader.wanted().empty());
  }
}

TEST(ForwardHeader, OfTheGreatestLengthIsGood) {
  const std::string target(max_target, 'h');
  HeaderReader reader;
  feed(reader, header_for(target), 100);
  EXPECT_EQ(reader.target(), target);
  EXPECT_EQ(header_for(target + "h"), "");
  EXPECT_EQ(header_for(""), "");
}

TEST(ForwardSecret, EqualsOnlyItself) {
  forward::Secret a{}, b{};
  EXPECT_TRUE(equal_in_constant_time(a, b));
  for (std::size_t i = 0; i < b.size(); ++i) {
    b = a;
    b[i] ^= 0x80;
    EXPECT_FALSE(equal_in_constant_time(a, b)) << i;
  }
  EXPECT_FALSE(equal_in_constant_time(a, std::span(a).first(15)));
}

}  // namespace
}  // namespace riffle::forwarding::wire
