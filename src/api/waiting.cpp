#include "api/waiting.hpp"

#include <algorithm>

namespace riffle::api {
namespace {

/// A question can be left lying when the loop ends in the very moment in which it is posted: look again so often.
constexpr auto look_again = std::chrono::milliseconds(500);

}  // namespace

Result<void> wait_for(meet::Asking& asking, runtime::Parker& parker, const meet::LoopLink& link,
                      std::chrono::steady_clock::time_point deadline) {
  for (;;) {
    const auto next_look = std::chrono::steady_clock::now() + look_again;
    if (parker.sleep_until(std::min(deadline, next_look))) break;
    const bool has_ended = link.list.is_closed();
    if (!has_ended && std::chrono::steady_clock::now() < deadline) continue;
    if (asking.abandon())
      return fail(has_ended ? Code::closed : Code::timed_out, has_ended ? "the engine has ended" : "");
    parker.sleep();  // the answer was a moment away
    break;
  }
  if (asking.error) return std::unexpected(*asking.error);
  return {};
}

}  // namespace riffle::api
