#include "core/smux/frame.hpp"

#include <algorithm>
#include <cstring>

namespace riffle::core::smux {
namespace {

struct Rule {
  std::string_view name;
  std::uint16_t least;
  std::uint16_t most;
};

/// What each command may carry. Since smux v1.5.56 a length where none belongs is a protocol error; a PSH of length 0
/// is tolerated.
constexpr std::array<Rule, 5> rules{{
    {"SYN", 0, 0},
    {"FIN", 0, 0},
    {"PSH", 0, largest_payload},
    {"NOP", 0, 0},
    {"UPD", update_size, update_size},
}};

void put(std::byte* to, std::uint32_t value, std::size_t bytes) noexcept {
  for (std::size_t i = 0; i < bytes; ++i) to[i] = static_cast<std::byte>((value >> (8 * i)) & 0xff);
}

std::uint32_t take(const std::byte* from, std::size_t bytes) noexcept {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value |= std::to_integer<std::uint32_t>(from[i]) << (8 * i);
  return value;
}

}  // namespace

void write_header(std::span<std::byte> to, Command command, std::uint16_t length, std::uint32_t stream) noexcept {
  to[0] = static_cast<std::byte>(protocol_version);
  to[1] = static_cast<std::byte>(command);
  put(&to[2], length, 2);
  put(&to[4], stream, 4);
}

void write_update(std::span<std::byte> to, std::uint32_t stream, Update update) noexcept {
  write_header(to, Command::upd, update_size, stream);
  put(&to[header_size], update.consumed, 4);
  put(&to[header_size + 4], update.window, 4);
}

bool Decoder::gather(std::span<const std::byte>& input, std::size_t wanted) noexcept {
  const std::size_t size = std::min<std::size_t>(wanted - have_, input.size());
  if (size != 0) std::memcpy(&head_[have_], input.data(), size);
  have_ = static_cast<std::uint8_t>(have_ + size);
  input = input.subspan(size);
  return have_ == wanted;
}

bool Decoder::is_header_valid() noexcept {
  const auto version = std::to_integer<unsigned>(head_[0]);
  const auto command = std::to_integer<unsigned>(head_[1]);
  const auto length = take(&head_[2], 2);
  std::string what;
  if (version != protocol_version) {
    what = "has version " + std::to_string(version) + ", this session speaks smux version 2";
  } else if (command >= rules.size()) {
    what = "has the unknown command " + std::to_string(command);
  } else if (length < rules[command].least || length > rules[command].most) {
    what = "is a " + std::string(rules[command].name) + " with " + std::to_string(length) +
           " bytes of payload, it must have " + std::to_string(rules[command].least);
  } else {
    return true;
  }
  violation_ = "smux frame " + std::to_string(frames_) + " (stream " + std::to_string(take(&head_[4], 4)) + ") " + what;
  return false;
}

Frame Decoder::next(std::span<const std::byte>& input) noexcept {
  if (!violation_.empty()) return {.kind = Frame::Kind::violation};
  if (payload_left_ != 0) {
    if (input.empty()) return {};
    const std::size_t size = std::min<std::size_t>(payload_left_, input.size());
    const auto piece = input.first(size);
    input = input.subspan(size);
    payload_left_ -= static_cast<std::uint32_t>(size);
    return {.kind = Frame::Kind::data, .command = Command::psh, .stream = stream_, .data = piece};
  }
  if (have_ < header_size) {
    if (!gather(input, header_size)) return {};
    ++frames_;
    if (!is_header_valid()) return {.kind = Frame::Kind::violation};
  }
  Frame frame{.kind = Frame::Kind::control,
              .command = static_cast<Command>(head_[1]),
              .length = static_cast<std::uint16_t>(take(&head_[2], 2)),
              .stream = take(&head_[4], 4)};
  if (frame.command == Command::upd) {
    if (!gather(input, update_frame_size)) return {};
    frame.update = {.consumed = take(&head_[header_size], 4), .window = take(&head_[header_size + 4], 4)};
  } else if (frame.command == Command::psh) {
    frame.kind = Frame::Kind::data_begins;
    payload_left_ = frame.length;
    stream_ = frame.stream;
  }
  have_ = 0;
  return frame;
}

}  // namespace riffle::core::smux
