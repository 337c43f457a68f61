/* What the simulator's library (libriffle_quiche_sim.so.0) has beyond riffle_bridge.h. */
#ifndef RIFFLE_BRIDGE_SIM_H
#define RIFFLE_BRIDGE_SIM_H

#include "riffle_bridge.h"

#ifdef __cplusplus
extern "C" {
#endif

/* From now on this thread's RAND_bytes follows the seed. Make fresh configurations afterwards: ticket keys are drawn on
 * first use. BoringSSL's own keys and signatures stay random in their bytes; with an RSA certificate they are constant
 * in their lengths. The program must also define getrandom, or quiche's hash sets differ from run to run. */
void rqb_sim_seed(uint64_t seed);
/* The system's randomness again. */
void rqb_sim_unseed(void);

#ifdef __cplusplus
}
#endif

#endif
