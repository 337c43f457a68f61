// What the drivers of one loop share.
#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include <riffle/options.hpp>
#include "core/session/session.hpp"
#include "meet/loop_link.hpp"
#include "net/datagram_port.hpp"
#include "runtime/loop.hpp"
#include "shell/platform.hpp"

namespace riffle::shell {

struct LoopContext {
  Platform& platform;
  runtime::Loop& loop;
  meet::Held<meet::LoopLink> link;
  core::LoopStock& stock;
  net::ReceiveBuffers& buffers;
  EngineOptions options;
  /// The largest batch: 64 segments, or 65,507 bytes (UDP_SEGMENT).
  std::unique_ptr<std::array<std::byte, 65536>> batch = std::make_unique<std::array<std::byte, 65536>>();

  net::DatagramOptions datagram_options() const noexcept {
    return {.socket_buffer = options.socket_buffer, .gso = options.gso, .gro = options.gro};
  }
};

}  // namespace riffle::shell
