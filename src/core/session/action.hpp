// What a session asks its shell to do, in order, once no method of the core is on the stack (laws 1 and 6; COR-2).
#pragma once

#include <cstdint>
#include <type_traits>
#include <variant>
#include <vector>

#include <riffle/error.hpp>
#include <riffle/ids.hpp>

namespace riffle::meet {
class Asking;
class StreamMeet;
}  // namespace riffle::meet

namespace riffle::core {

namespace action {
struct Connected {};
struct StreamOpened {
  StreamId stream;
  Direction direction;
};
struct Deliver {
  StreamId stream;
};  ///< call `begin_delivery` until it gives nothing
struct Readable {
  StreamId stream;
};
struct Writable {
  StreamId stream;
};
struct Flushed {
  StreamId stream;
};
struct WriteFailed {
  StreamId stream;
  Code code;
  std::uint64_t wire;
};
struct PeerReset {
  StreamId stream;
  AppCode code;
};
struct PeerStopped {
  StreamId stream;
  AppCode code;
};
struct DeliveriesUsedUp {
  StreamId stream;
};
struct StreamFinished {
  StreamId stream;
};
struct SessionBlocked {
  std::uint64_t stalled;
};
struct Draining {};
struct Closed {};
struct Reply {
  meet::Asking* asking;
};  ///< the answer stands in it; holds a reference
struct WakeReader {
  meet::StreamMeet* stream;
};  ///< holds a reference
}  // namespace action

using Action =
    std::variant<action::Connected, action::StreamOpened, action::Deliver, action::Readable, action::Writable,
                 action::Flushed, action::WriteFailed, action::PeerReset, action::PeerStopped, action::DeliveriesUsedUp,
                 action::StreamFinished, action::SessionBlocked, action::Draining, action::Closed, action::Reply,
                 action::WakeReader>;
static_assert(std::is_trivially_copyable_v<Action> && sizeof(Action) <= 48);

/// Keeps its capacity: in steady state appending allocates nothing.
using Actions = std::vector<Action>;

}  // namespace riffle::core
