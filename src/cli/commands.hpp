// The sub-commands: each adds itself to the command line and is run when it was asked for.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

#include <riffle/error.hpp>
#include "cli/process.hpp"

namespace riffle::cli {

/// What was chosen; the result is the exit code.
using Chosen = std::function<int(Signals&)>;

void add_serve(CLI::App& app, Chosen& chosen);
void add_tunnel(CLI::App& app, Chosen& chosen);
void add_bench(CLI::App& app, Chosen& chosen);

/// A usage error found after parsing.
int usage_error(const std::string& sentence);

}  // namespace riffle::cli
