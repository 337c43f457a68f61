// The deadlines of a loop's machines, the earliest first.
#pragma once

#include <cstddef>
#include <vector>

#include "base/instant.hpp"

namespace riffle::runtime {

class Machine;

/// Purpose: a binary heap whose entries know their place. A deadline that moves later is left where it is: it fires
/// early, and the machine just computes again (facts/toolchain.md, "Loops").
class Timers {
 public:
  /// `never` takes the machine out when it is next looked at.
  void schedule(Machine& machine, Instant deadline);
  void remove(Machine& machine) noexcept;
  Instant earliest() const noexcept;
  /// The next machine whose time has come, or null. It is out of the heap then.
  Machine* pop_due(Instant now) noexcept;

 private:
  void place(std::size_t index, Machine* machine) noexcept;
  void sift_up(std::size_t index) noexcept;
  void sift_down(std::size_t index) noexcept;
  std::vector<Machine*> heap_;
};

}  // namespace riffle::runtime
