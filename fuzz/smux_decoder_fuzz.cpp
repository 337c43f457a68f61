// The smux decoder over any bytes: however they are cut, it finds the same frames, or the same violation. Frames that
// it accepts are the bytes that our own writer makes of them.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/check.hpp"
#include "core/smux/frame.hpp"

namespace {

using riffle::core::smux::Command;
using riffle::core::smux::Decoder;
using riffle::core::smux::Frame;
using riffle::core::smux::header_size;
using riffle::core::smux::update_frame_size;

/// What was found, written out again: equal to the input as far as whole frames and pieces of payload go.
std::vector<std::byte> rewrite(std::span<const std::byte> bytes, std::size_t chunk, std::string& violation) {
  Decoder decoder;
  std::vector<std::byte> out;
  std::size_t payload_left = 0;
  for (std::size_t at = 0; at < bytes.size(); at += chunk) {
    std::span<const std::byte> input = bytes.subspan(at, std::min(chunk, bytes.size() - at));
    for (;;) {
      const Frame frame = decoder.next(input);
      if (frame.kind == Frame::Kind::none) {
        RIFFLE_CHECK(input.empty(), "the decoder wants more and left some");
        break;
      }
      if (frame.kind == Frame::Kind::violation) {
        violation = decoder.violation();
        RIFFLE_CHECK(!violation.empty(), "a violation without a sentence");
        return out;
      }
      if (frame.kind == Frame::Kind::data) {
        RIFFLE_CHECK(!frame.data.empty() && frame.data.size() <= payload_left, "payload beyond its frame");
        payload_left -= frame.data.size();
        out.insert(out.end(), frame.data.begin(), frame.data.end());
        continue;
      }
      RIFFLE_CHECK(payload_left == 0, "a frame inside another's payload");
      const std::size_t begin = out.size();
      const bool is_update = frame.command == Command::upd;
      out.resize(begin + (is_update ? update_frame_size : header_size));
      if (is_update)
        riffle::core::smux::write_update(std::span(out).subspan(begin), frame.stream, frame.update);
      else
        riffle::core::smux::write_header(std::span(out).subspan(begin), frame.command, frame.length, frame.stream);
      if (frame.kind == Frame::Kind::data_begins) payload_left = frame.length;
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  std::string whole_violation;
  const auto whole = rewrite(bytes, bytes.size() + 1, whole_violation);
  RIFFLE_CHECK(whole.size() <= bytes.size() && std::equal(whole.begin(), whole.end(), bytes.begin()),
               "what was decoded is not what was there");
  std::string cut_violation;
  const auto cut = rewrite(bytes, 1 + data[0] % 32, cut_violation);
  RIFFLE_CHECK(cut == whole && cut_violation == whole_violation, "another chunking gave other frames");
  return 0;
}
