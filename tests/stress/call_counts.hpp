// Who allocates and who locks: counts of malloc, free, operator new and pthread_mutex_lock, by the caller's object
// file.
#pragma once

#include <cstdint>
#include <string>

namespace riffle::stress {

struct CallCounts {
  std::uint64_t ours = 0;    ///< this program (riffle's C++, linked statically) and libstdc++, which works for it
  std::uint64_t quiche = 0;  ///< libriffle_quiche.so.0
  std::uint64_t others = 0;  ///< libc and the rest
};

struct Counts {
  CallCounts allocations;
  CallCounts locks;
};

/// Between `start_counting` and `stop_counting` every thread's calls are counted.
void start_counting();
Counts stop_counting();
/// The call sites of `ours` since the start, one a line, for addr2line.
std::string sites_of_ours();

}  // namespace riffle::stress
