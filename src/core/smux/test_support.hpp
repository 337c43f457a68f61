// For the tests of this folder: blocks that are counted, frames written by hand, and two engines joined by a pipe.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "core/smux/engine.hpp"

namespace riffle::core::smux::test {

using Raw = std::vector<std::byte>;
using namespace std::chrono_literals;

inline constexpr Instant start = Instant{} + 1h;

inline Raw raw_bytes(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}
inline Raw from_hex(std::string_view hex) {
  Raw bytes;
  std::string pair;
  for (const char digit : hex) {
    if (digit == ' ') continue;
    pair += digit;
    if (pair.size() < 2) continue;
    bytes.push_back(static_cast<std::byte>(std::stoi(pair, nullptr, 16)));
    pair.clear();
  }
  return bytes;
}
inline std::string to_hex(std::span<const std::byte> bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  for (const std::byte byte : bytes) {
    hex += digits[std::to_integer<unsigned>(byte) >> 4];
    hex += digits[std::to_integer<unsigned>(byte) & 15];
  }
  return hex;
}

inline Raw frame(Command command, std::uint32_t stream, std::string_view payload = {}) {
  Raw bytes(header_size);
  write_header(bytes, command, static_cast<std::uint16_t>(payload.size()), stream);
  const Raw tail = raw_bytes(payload);
  bytes.insert(bytes.end(), tail.begin(), tail.end());
  return bytes;
}
inline Raw update(std::uint32_t stream, Update what) {
  Raw bytes(update_frame_size);
  write_update(bytes, stream, what);
  return bytes;
}
inline Raw join(std::initializer_list<Raw> parts) {
  Raw all;
  for (const Raw& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

/// Makes send blocks and counts which came back. Must outlive the engine that they are offered to.
class Blocks {
 public:
  Blocks() = default;
  Blocks(const Blocks&) = delete;
  Blocks& operator=(const Blocks&) = delete;
  ~Blocks() {
    for (base::SendBlock* block : blocks_) base::SendBlock::destroy(block);
  }
  base::SendBlock& make(std::string_view bytes, bool fin = false) {
    return adopt(base::SendBlock::make(Bytes::copy(bytes), fin));
  }
  base::SendBlock& adopt(base::SendBlock* block) {
    block->released = &released_;
    blocks_.push_back(block);
    return *block;
  }
  std::size_t made() const { return blocks_.size(); }
  std::size_t released() const {
    std::size_t count = 0;
    for (const base::SendBlock* block = released_.first; block != nullptr; block = block->next) ++count;
    return count;
  }
  /// Offers a whole new block and lets go of our own reference. Fails the test when it is not taken.
  void send(Engine& engine, StreamId id, std::string_view bytes, bool fin = false) {
    base::SendBlock& block = make(bytes, fin);
    EXPECT_EQ(engine.offer(id, block).status, Offered::Status::taken);
    block.release();
  }

 private:
  std::vector<base::SendBlock*> blocks_;
  base::ReleasedBlocks released_;
};

inline void feed(Engine& engine, Raw bytes, Instant now = start) { engine.on_input(bytes, {}, now); }
/// All that the engine has to say, through buffers of `size` bytes.
inline Raw drain(Engine& engine, Instant now = start, std::size_t size = 65536) {
  Raw all;
  Raw buffer(size);
  for (;;) {
    const Batch batch = engine.poll_output(buffer, now);
    EXPECT_EQ(batch.segment, 0u);
    if (batch.bytes == 0) return all;
    all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(batch.bytes));
  }
}
struct Read {
  ReadInto::Status status;
  std::string bytes;
  bool fin;
};
inline Read read(Engine& engine, StreamId id, std::size_t most = 65536) {
  std::string to(most, '\0');
  const ReadInto result = engine.read_into(id, std::as_writable_bytes(std::span(to)));
  to.resize(result.size);
  return {result.status, to, result.fin};
}
inline StreamId open(Engine& engine) {
  const Opened opened = engine.open(bidirectional);
  EXPECT_EQ(opened.status, Opened::Status::opened);
  return opened.id;
}
inline Options server_options() {
  Options options;
  options.role = Role::server;
  return options;
}

}  // namespace riffle::core::smux::test
