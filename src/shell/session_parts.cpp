#include "shell/session_parts.hpp"

namespace riffle::shell {

core::SessionOptions session_options(const StreamLimits& limits, const quic::Transport& transport,
                                     const std::optional<Delivery>& delivery, bool has_handler) {
  return {.delivery = delivery.value_or(has_handler ? active : passive),
          .limits = limits,
          .stream_window = transport.stream_window,
          .handshake_timeout = transport.handshake_timeout};
}

}  // namespace riffle::shell
