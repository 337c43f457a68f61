#include "core/smux/frame.hpp"

#include <gtest/gtest.h>

#include "core/smux/test_support.hpp"

namespace riffle::core::smux {
namespace {

using namespace test;

/// The frames as one line of text, whatever the chunking.
std::string decode(Decoder& decoder, const Raw& bytes, std::size_t chunk) {
  std::string text;
  bool in_data = false;
  for (std::size_t at = 0; at < bytes.size(); at += chunk) {
    std::span<const std::byte> input = std::span(bytes).subspan(at, std::min(chunk, bytes.size() - at));
    for (;;) {
      const Frame found = decoder.next(input);
      if (found.kind == Frame::Kind::none) {
        EXPECT_TRUE(input.empty());
        break;
      }
      if (found.kind == Frame::Kind::violation) return text + "! " + decoder.violation();
      if (found.kind == Frame::Kind::data) {
        EXPECT_TRUE(in_data);
        text += to_hex(found.data);
        continue;
      }
      in_data = found.kind == Frame::Kind::data_begins;
      static constexpr std::array names{"SYN", "FIN", "PSH", "NOP", "UPD"};
      text += std::string(text.empty() ? "" : " ") + names[static_cast<std::size_t>(found.command)] + "/" +
              std::to_string(found.stream) + ":";
      if (found.command == Command::upd)
        text += std::to_string(found.update.consumed) + "," + std::to_string(found.update.window);
      else
        text += std::to_string(found.length) + "=";
    }
  }
  return text;
}

// facts/smux-and-websocket.md: "Golden bytes, v2 client that opens a stream, writes "hi" and half-closes". (MUX-1)
constexpr std::string_view golden = "02 00 0000 03000000 02 02 0200 03000000 6869 02 01 0000 03000000";

TEST(SmuxFrame, TheGoldenBytesOfTheGoModuleAreWritten) {
  EXPECT_EQ(join({frame(Command::syn, 3), frame(Command::psh, 3, "hi"), frame(Command::fin, 3)}), from_hex(golden));
}

TEST(SmuxFrame, AnUpdateIsWrittenInLittleEndian) {
  EXPECT_EQ(to_hex(update(0x01020304, {.consumed = 0xa1b2c3d4, .window = 0x00040000})),
            "0204080004030201d4c3b2a100000400");
}

TEST(SmuxFrame, EveryChunkingGivesTheSameFrames) {
  const Raw bytes = join({from_hex(golden), update(7, {.consumed = 4294967295u, .window = 65536}),
                          frame(Command::nop, 0), frame(Command::psh, 9), frame(Command::psh, 9, "abc")});
  const std::string expected = "SYN/3:0= PSH/3:2=6869 FIN/3:0= UPD/7:4294967295,65536 NOP/0:0= PSH/9:0= PSH/9:3=616263";
  for (std::size_t chunk = 1; chunk <= bytes.size(); ++chunk) {
    Decoder decoder;
    EXPECT_EQ(decode(decoder, bytes, chunk), expected) << "chunks of " << chunk;
    EXPECT_TRUE(decoder.violation().empty());
  }
}

TEST(SmuxFrame, TheLargestPayloadPasses) {
  const Raw bytes = frame(Command::psh, 3, std::string(largest_payload, 'x'));
  Decoder decoder;
  const std::string text = decode(decoder, bytes, 4096);
  EXPECT_EQ(text.size(), std::string_view("PSH/3:65535=").size() + 2 * largest_payload);
}

TEST(SmuxFrame, EveryBreachOfTheHeaderIsToldInASentence) {
  struct Case {
    std::string_view hex;
    std::string_view sentence;
  };
  // "A non-zero length on SYN, FIN, NOP, or a UPD that is not 8 long, is a protocol error since v1.5.56. An unknown
  // command is a protocol error." (facts, smux on the wire)
  static constexpr std::array cases{
      Case{"01 00 0000 03000000", "has version 1, this session speaks smux version 2"},
      Case{"48 54 5450 2f312e31", "has version 72, this session speaks smux version 2"},
      Case{"02 05 0000 03000000", "has the unknown command 5"},
      Case{"02 ff 0000 03000000", "has the unknown command 255"},
      Case{"02 00 0100 03000000", "is a SYN with 1 bytes of payload, it must have 0"},
      Case{"02 01 0001 03000000", "is a FIN with 256 bytes of payload, it must have 0"},
      Case{"02 03 0200 00000000", "is a NOP with 2 bytes of payload, it must have 0"},
      Case{"02 04 0000 03000000", "is a UPD with 0 bytes of payload, it must have 8"},
      Case{"02 04 0700 03000000", "is a UPD with 7 bytes of payload, it must have 8"},
      Case{"02 04 0900 03000000", "is a UPD with 9 bytes of payload, it must have 8"},
  };
  for (const Case& broken : cases) {
    const Raw bytes = join({frame(Command::syn, 3), from_hex(broken.hex), frame(Command::syn, 5)});
    for (std::size_t chunk = 1; chunk <= bytes.size(); ++chunk) {
      Decoder decoder;
      const std::string text = decode(decoder, bytes, chunk);
      EXPECT_NE(text.find(broken.sentence), std::string::npos) << text;
      EXPECT_NE(text.find("smux frame 2 (stream "), std::string::npos) << text;
      std::span<const std::byte> more = bytes;
      EXPECT_EQ(decoder.next(more).kind, Frame::Kind::violation) << "a broken stream stays broken";
    }
  }
}

}  // namespace
}  // namespace riffle::core::smux
