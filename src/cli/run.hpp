// The command line, read and carried out.
#pragma once

#include "cli/process.hpp"

namespace riffle::cli {

/// The exit code: 0 ok, 2 usage, else what riffle::explain gave (spec/command.md).
int run(int argc, char** argv, Signals& signals);

}  // namespace riffle::cli
