// riffle_sim: runs scenarios under faults in virtual time. `riffle_sim --help`.
#include "command.hpp"

int main(int argc, char** argv) { return riffle::sim::run_command({argv, argv + argc}); }
