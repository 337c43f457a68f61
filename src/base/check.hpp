// Assertions that hold in every build type.
#pragma once

namespace riffle::base {

/// Says where and what on stderr, then aborts. Never returns.
[[noreturn]] void trap(const char* what, const char* file, int line) noexcept;

}  // namespace riffle::base

/// A condition whose failure is a defect of riffle or a breach of its contract by the caller.
#define RIFFLE_CHECK(condition, what) \
  (static_cast<bool>(condition) ? void(0) : ::riffle::base::trap(what, __FILE__, __LINE__))
