// The `riffle` command.
#include <cstdio>
#include <exception>

#include "cli/commands.hpp"
#include "cli/run.hpp"

int main(int argc, char** argv) {
  riffle::cli::Signals signals;  // before any thread
  try {
    return riffle::cli::run(argc, argv, signals);
  } catch (const std::exception& fault) {
    return riffle::explain(riffle::Error(riffle::Code::internal, fault.what()));
  }
}
