// From the user's options to what a session's core is made with.
#pragma once

#include <riffle/options.hpp>
#include "core/session/session.hpp"

namespace riffle::shell {

/// The defaults that depend on others, filled in (StreamLimits, quic::Transport).
core::SessionOptions session_options(const StreamLimits& limits, const quic::Transport& transport,
                                     const std::optional<Delivery>& delivery, bool has_handler);

}  // namespace riffle::shell
