// The simulator's bridge: one seed, one trace (facts: packet-number skips, hash sets and signatures vary without it).
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include <riffle_bridge_sim.h>

#include "quiche/bridge_values.hpp"
#include "quiche/pair_test.hpp"

namespace {
thread_local constinit bool is_seeded = false;
}

extern "C" __attribute__((no_sanitize("address", "thread", "undefined"), visibility("default"))) ssize_t
getrandom(void* out, size_t size, unsigned int flags) {
  if (is_seeded) {
    std::memset(out, 0x5a, size);
    return static_cast<ssize_t>(size);
  }
  return syscall(SYS_getrandom, out, size, flags);
}

namespace riffle::quiche {
namespace {

Certificate rsa_identity() {
  start_bridge();
  const rqb_bytes name = to_bridge("riffle.test");
  rqb_text* chain = nullptr;
  rqb_text* key = nullptr;
  EXPECT_EQ(rqb_make_self_signed(&name, 1, 30, 1, &chain, &key), RQB_OK);
  Certificate out = from_pem(to_string(rqb_text_bytes(chain)), to_string(rqb_text_bytes(key)));
  rqb_text_free(chain);
  rqb_text_free(key);
  return out;
}

using Trace = std::vector<std::string>;

/// 200 KB over a path that loses every 20th datagram or so, as the seed has it.
Trace run(std::uint64_t seed, const Certificate& identity) {
  is_seeded = true;
  rqb_sim_seed(seed);
  Trace trace;
  {
    Pair pair;
    pair.identity = identity;
    pair.server_options.certificate = identity;
    pair.client_options.trust = {};
    pair.client_options.trust.ca_pem = identity.chain_pem;
    const Instant start = pair.clock.now();
    std::uint64_t state = seed;
    pair.arrives = [&](const Datagram& datagram) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      const bool is_lost = (state >> 33) % 20 == 0;
      trace.push_back(std::to_string((pair.clock.now() - start).count()) + " to " + datagram.arrival.local.to_string() +
                      " " + std::to_string(datagram.bytes.size()) + (is_lost ? " lost" : ""));
      return !is_lost;
    };
    pair.start();
    pair.connect();
    const StreamId id = pair.client->open(bidirectional).id;
    base::SendBlock* const block = pair.blocks.make(std::string(200'000, 'x'), Fin::yes);
    std::string received;
    bool is_over = false;
    pair.client->offer(id, *block);
    pair.run([&] {
      for (bool is_moving = true; is_moving && !is_over;) {
        is_moving = false;
        while (pair.client->next_writable()) is_moving = pair.client->offer(id, *block).size > 0;
        while (pair.server->next_readable()) {
          is_moving = true;
          if (!pair.read_some(*pair.server, id, received)) is_over = true;
        }
        pair.exchange();
      }
      return is_over;
    });
    block->release();
    EXPECT_EQ(received.size(), 200'000u);
    pair.exchange();
  }
  rqb_sim_unseed();
  is_seeded = false;
  return trace;
}

TEST(Replay, OneSeedGivesOneTrace) {
  const Certificate identity = rsa_identity();
  for (const std::uint64_t seed : {1, 2, 3, 4, 5}) {
    const Trace first = run(seed, identity);
    EXPECT_GT(first.size(), 150u);
    for (int again = 0; again < 5; ++again) EXPECT_EQ(run(seed, identity), first) << "seed " << seed;
  }
}

TEST(Replay, AnotherSeedGivesAnotherTrace) {
  const Certificate identity = rsa_identity();
  EXPECT_NE(run(1, identity), run(2, identity));
}

TEST(Replay, RandomBytesFollowTheSeed) {
  QuicheStack stack;
  std::array<std::uint8_t, 20> first{};
  std::array<std::uint8_t, 20> second{};
  rqb_sim_seed(7);
  stack.random(first);
  rqb_sim_seed(7);
  stack.random(second);
  EXPECT_EQ(first, second);
  stack.random(second);
  EXPECT_NE(first, second);
  rqb_sim_unseed();
}

}  // namespace
}  // namespace riffle::quiche
