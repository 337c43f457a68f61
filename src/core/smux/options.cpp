#include "core/smux/options.hpp"

#include <string>

#include "core/smux/frame.hpp"

namespace riffle::core::smux {

Result<void> validate(const Options& options) {
  // In flight is a signed 32-bit difference on both ends (stream.go), so no window may reach 2^31.
  constexpr std::uint32_t largest_window = (1u << 31) - 1;
  const auto bad = [](std::string what) { return fail(Code::invalid_argument, std::move(what)); };
  if (options.max_frame_size == 0 || options.max_frame_size > largest_payload)
    return bad("smux max_frame_size is " + std::to_string(options.max_frame_size) + ", it must be 1 to 65535 bytes");
  if (options.quantum == 0) return bad("smux quantum is 0, no stream would ever send");
  if (options.window == 0 || options.window > largest_window)
    return bad("smux window is " + std::to_string(options.window) + ", it must be 1 to 2^31 - 1 bytes");
  if (options.first_window == 0 || options.first_window > options.window)
    return bad("smux first_window is " + std::to_string(options.first_window) + ", it must be 1 to window (" +
               std::to_string(options.window) + ") bytes, for a window never shrinks");
  if (options.peer_window == 0 || options.peer_window > largest_window)
    return bad("smux peer_window is " + std::to_string(options.peer_window) + ", it must be 1 to 2^31 - 1 bytes");
  if (options.receive_budget < options.window || options.receive_budget < unasked_window)
    return bad("smux receive_budget is " + std::to_string(options.receive_budget) +
               " bytes, one stream alone may bring the larger of its window and 256 KiB");
  if (options.send_queue == 0) return bad("smux send_queue is 0, no block would ever be taken");
  if (options.max_streams == 0) return bad("smux max_streams is 0, no stream could be opened");
  if (options.keep_alive_interval < Duration::zero() || options.keep_alive_timeout < Duration::zero() ||
      options.accept_hold < Duration::zero() || options.half_close_grace < Duration::zero())
    return bad("a smux duration is negative");
  if (options.keep_alive_timeout != Duration::zero() && options.keep_alive_timeout <= options.keep_alive_interval)
    return bad("smux keep_alive_timeout must be longer than keep_alive_interval, or a healthy idle peer is given up");
  return {};
}

}  // namespace riffle::core::smux
