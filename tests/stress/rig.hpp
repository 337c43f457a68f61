// What the stress tests share: seeds that are printed, the time they have, and bytes that tell their place.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <riffle/riffle.hpp>

namespace riffle::stress {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// How long one step may take before it counts as lost.
inline constexpr Timeout patience = 120s;

inline std::chrono::seconds duration() {
  const char* text = std::getenv("RIFFLE_STRESS_SECONDS");
  return std::chrono::seconds(text != nullptr ? std::atoi(text) : 5);
}

/// RIFFLE_STRESS_SEED repeats a run, as far as threads allow.
inline std::uint32_t seed() {
  const char* text = std::getenv("RIFFLE_STRESS_SEED");
  const auto chosen =
      text != nullptr ? static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10)) : std::random_device{}();
  std::printf("RIFFLE_STRESS_SEED=%u\n", chosen);
  return chosen;
}

/// An endless text for each key, of which any part can be compared.
class Text {
 public:
  static void fill(std::uint32_t key, std::uint64_t offset, std::span<char> to) {
    for (std::size_t done = 0; done < to.size();) {
      const std::size_t at = place(key, offset + done);
      const std::size_t part = std::min(to.size() - done, period - at);
      std::memcpy(to.data() + done, table().data() + at, part);
      done += part;
    }
  }
  static bool is(std::uint32_t key, std::uint64_t offset, std::string_view text) {
    for (std::size_t done = 0; done < text.size();) {
      const std::size_t at = place(key, offset + done);
      const std::size_t part = std::min(text.size() - done, period - at);
      if (std::memcmp(text.data() + done, table().data() + at, part) != 0) return false;
      done += part;
    }
    return true;
  }

 private:
  static constexpr std::size_t period = 65'521;  // a prime, so that no block size hides a shift
  static std::size_t place(std::uint32_t key, std::uint64_t offset) { return (key * 7919ull + offset) % period; }
  static const std::vector<char>& table() {
    static const std::vector<char> made = [] {
      std::vector<char> bytes(period);
      std::mt19937 random(1);
      for (char& byte : bytes) byte = static_cast<char>(random());
      return bytes;
    }();
    return made;
  }
};

inline const Certificate& identity() {
  static const Certificate made = make_self_signed({"127.0.0.1"}).value();
  return made;
}

/// Sends back what comes; a reset is answered with a reset.
struct Echo : Handler {
  void on_stream_data(Context& c, StreamId id, Bytes bytes, bool is_last) override {
    c.write(id, std::move(bytes), is_last);
  }
  void on_stream_reset(Context& c, StreamId id, AppCode code) override { c.shutdown(id, Side::writing, code); }
};

inline quic::Server echo_options() {
  quic::Server options{.address = "127.0.0.1:0", .certificate = identity(), .alpn = {"stress"}};
  options.handler = [](const Peer&) { return std::make_shared<Echo>(); };
  options.transport.idle_timeout = 120s;
  return options;
}

inline quic::Client client_options(const Listener& listener) {
  quic::Client options{.address = "127.0.0.1:" + std::to_string(listener.address().port),
                       .trust = pinned(pin_of(identity()).value()),
                       .alpn = {"stress"}};
  options.transport.idle_timeout = 120s;
  options.transport.handshake_timeout = 120s;
  return options;
}

}  // namespace riffle::stress
