// The simulator's command line.
#pragma once

#include <string>
#include <vector>

namespace riffle::sim {

/// The program's exit code: 0 all well, 1 a run failed or did not replay, 2 wrong arguments.
int run_command(const std::vector<std::string>& arguments);

}  // namespace riffle::sim
