#include "base/check.hpp"

#include <cstdio>
#include <cstdlib>

namespace riffle::base {

void trap(const char* what, const char* file, int line) noexcept {
  std::fprintf(stderr, "riffle: broken contract: %s (%s:%d)\n", what, file, line);
  std::abort();
}

}  // namespace riffle::base
