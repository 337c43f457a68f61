// The smux engine under a script: each step is one byte and its operands. The peer's bytes come from the script as
// whole frames (valid or not) or raw; the application opens, offers, reads, stops, resets and closes as the script
// says. Held: the output is always valid frames with the bytes of their stream, what is buffered keeps to the budget,
// reads give the bytes of their stream, every block comes back, and the engine's own books (is_consistent).
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/check.hpp"
#include "core/smux/engine.hpp"

namespace {

using namespace riffle;
using namespace riffle::core;
using namespace riffle::core::smux;

class Script {
 public:
  explicit Script(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  bool is_over() const { return bytes_.empty(); }
  std::uint32_t number(std::uint32_t below) {
    std::uint32_t value = 0;
    for (std::uint32_t scale = 1; scale < below && !bytes_.empty(); scale <<= 8) {
      value = (value << 8) | bytes_[0];
      bytes_ = bytes_.subspan(1);
      if (scale >= 1u << 24) break;
    }
    return value % below;
  }
  std::vector<std::byte> take(std::size_t size) {
    size = std::min(size, bytes_.size());
    const auto part = std::as_bytes(bytes_.first(size));
    bytes_ = bytes_.subspan(size);
    return {part.begin(), part.end()};
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

struct Bench {
  explicit Bench(Script& source) : script(source) {
    Options options;
    options.role = script.number(2) == 0 ? Role::client : Role::server;
    options.max_frame_size = 1 + script.number(200);
    options.quantum = 1 + script.number(200);
    options.window = options.first_window = 1 + script.number(2000);
    options.first_window = 1 + script.number(options.window);
    options.peer_window = 1 + script.number(2000);
    options.send_queue = 1 + script.number(2000);
    options.max_streams = 1 + script.number(8);
    options.receive_budget = unasked_window;
    options.half_close_grace = std::chrono::milliseconds(script.number(3));
    options.hash_seed = script.number(4);
    budget = options.receive_budget;
    engine = std::make_unique<Engine>(options, now);
  }
  ~Bench() {
    engine.reset();
    std::size_t back = 0;
    while (released.first != nullptr) {
      base::SendBlock* block = released.first;
      released.first = block->next;
      base::SendBlock::destroy(block);
      ++back;
    }
    RIFFLE_CHECK(back == made, "a block was lost");
  }

  StreamId stream() { return StreamId{2 + script.number(14)}; }

  void feed(std::vector<std::byte> bytes) {
    const std::size_t chunk = 1 + script.number(64);
    for (std::size_t at = 0; at < bytes.size(); at += chunk)
      engine->on_input(std::span(bytes).subspan(at, std::min(chunk, bytes.size() - at)), {}, now);
  }

  void peer_frame() {
    const auto id = static_cast<std::uint32_t>(raw(stream()));
    const auto command = static_cast<Command>(script.number(5));
    std::vector<std::byte> bytes(update_frame_size);
    if (command == Command::upd) {
      write_update(bytes, id, {.consumed = script.number(4000), .window = script.number(4000)});
    } else if (command == Command::psh) {
      // Payload that says where in its stream it stands, so that the reads can be checked.
      const std::uint32_t length = script.number(3000);
      bytes.resize(header_size);
      write_header(bytes, command, static_cast<std::uint16_t>(length), id);
      for (std::uint32_t i = 0; i < length; ++i) bytes.push_back(static_cast<std::byte>(id));
    } else {
      bytes.resize(header_size);
      write_header(bytes, command, 0, id);
    }
    feed(std::move(bytes));
  }

  void offer() {
    const StreamId id = stream();
    const std::vector<std::byte> bytes(script.number(3000), static_cast<std::byte>(raw(id)));
    base::SendBlock* block = base::SendBlock::make_copy(bytes, script.number(4) == 0);
    block->released = &released;
    ++made;
    const Offered offered = engine->offer(id, *block);
    RIFFLE_CHECK(offered.size == block->offered && block->offered <= block->size, "an offer was miscounted");
    block->release();
  }

  void read() {
    const StreamId id = stream();
    std::vector<std::byte> to(script.number(3000));
    const ReadInto result = engine->read_into(id, to);
    RIFFLE_CHECK(result.size <= to.size(), "more was read than there was room for");
    if (is_raw) return;
    for (std::size_t i = 0; i < result.size; ++i)
      RIFFLE_CHECK(to[i] == static_cast<std::byte>(raw(id)), "a stream gave the bytes of another");
  }

  void poll() {
    std::vector<std::byte> buffer(1 + script.number(300));
    const Batch batch = engine->poll_output(buffer, now);
    RIFFLE_CHECK(batch.bytes <= buffer.size() && batch.segment == 0, "output beyond its buffer");
    std::span<const std::byte> rest = std::span(buffer).first(batch.bytes);
    for (;;) {
      const Frame frame = output.next(rest);
      if (frame.kind == Frame::Kind::none) break;
      RIFFLE_CHECK(frame.kind != Frame::Kind::violation, "our own output breaks the protocol");
      for (const std::byte byte : frame.data)
        RIFFLE_CHECK(byte == static_cast<std::byte>(frame.stream), "a stream sent the bytes of another");
    }
  }

  void step() {
    switch (script.number(13)) {
      case 0:
      case 1:
      case 2:
        peer_frame();
        break;
      case 3:
        is_raw = true;
        feed(script.take(script.number(40)));
        break;
      case 4:
        (void)engine->open(bidirectional);
        break;
      case 5:
      case 6:
        offer();
        break;
      case 7:
        read();
        break;
      case 8:
        poll();
        break;
      case 9:
        engine->stop(stream(), AppCode{});
        break;
      case 10:
        engine->reset(stream(), AppCode{});
        break;
      case 11:
        now += std::chrono::milliseconds(script.number(12'000));
        if (engine->next_deadline() <= now) engine->on_deadline(now);
        break;
      default:
        if (script.number(8) == 0)
          engine->close(StreamPort::CloseKind::application, 0, "the script");
        else if (script.number(8) == 0)
          engine->on_carrier_end(Error(Code::peer_closed));
        while (engine->next_readable()) {
        }
        while (engine->next_writable()) {
        }
    }
    RIFFLE_CHECK(engine->buffered() <= budget, "more is buffered than the budget allows");
    RIFFLE_CHECK(engine->state() != PortState::closed || engine->next_deadline() == never, "a deadline after the end");
  }

  Script& script;
  Instant now = Instant{} + std::chrono::hours(1);
  base::ReleasedBlocks released;
  std::size_t made = 0;
  std::size_t budget = 0;
  bool is_raw = false;  ///< raw bytes were fed: what a stream brings is no longer known
  Decoder output;
  std::unique_ptr<Engine> engine;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Script script(std::span(data, std::min<std::size_t>(size, 4096)));
  Bench bench(script);
  while (!script.is_over()) bench.step();
  return 0;
}
