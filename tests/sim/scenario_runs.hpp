// The scenarios' bodies, gathered by scenarios.cpp.
#pragma once

#include "simulation.hpp"

namespace riffle::sim {

void run_handshake(Simulation& simulation);
void run_one_stream(Simulation& simulation);
void run_hundred_streams(Simulation& simulation);
void run_mode_switches(Simulation& simulation);
void run_stalled_reader(Simulation& simulation);
void run_close_client(Simulation& simulation);
void run_close_server(Simulation& simulation);
void run_idle_timeout(Simulation& simulation);
void run_vanished_peer(Simulation& simulation);

}  // namespace riffle::sim
