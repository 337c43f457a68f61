// What still arrives for a session whose loop has let it go (design/streams.md, "Lifetimes").
#pragma once

#include "meet/session_meet.hpp"
#include "meet/stream_meet.hpp"

namespace riffle::core {

/// Answers every caller, refuses every open and every write, with the reason for which the session ended. For attention
/// to an object whose `core` is null. Threads: the loop's.
void settle_late(meet::SessionMeet& session);
void settle_late(meet::StreamMeet& stream);

}  // namespace riffle::core
