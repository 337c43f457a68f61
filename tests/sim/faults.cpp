// The faults: each makes the conditions of a run out of its randomness.
#include <array>
#include <cstdio>
#include <utility>

#include "scenarios.hpp"

namespace riffle::sim {
namespace {

using std::chrono::milliseconds;

template <class... A>
std::string text(const char* format, A... values) {
  std::array<char, 160> out{};
  std::snprintf(out.data(), out.size(), format, values...);
  return out.data();
}

double ms(Duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

void on_both(Conditions& conditions, double LinkOptions::* what, double value) {
  conditions.up.*what = conditions.down.*what = value;
}

void none(Conditions& conditions, Random&) { conditions.text = "a clean path"; }

void loss(Conditions& conditions, Random& random) {
  on_both(conditions, &LinkOptions::loss, random.fraction(0.02, 0.2));
  conditions.may_lose = true;
  conditions.text = text("%.1f %% of the datagrams are lost", conditions.up.loss * 100);
}

void reordering(Conditions& conditions, Random& random) {
  on_both(conditions, &LinkOptions::reorder, random.fraction(0.05, 0.5));
  conditions.up.reorder_by = conditions.down.reorder_by = random.duration(milliseconds(1), milliseconds(60));
  conditions.text = text("%.0f %% of the datagrams arrive up to %.0f ms late", conditions.up.reorder * 100,
                         ms(conditions.up.reorder_by));
}

void duplication(Conditions& conditions, Random& random) {
  on_both(conditions, &LinkOptions::duplicate, random.fraction(0.05, 0.5));
  conditions.text = text("%.0f %% of the datagrams arrive twice", conditions.up.duplicate * 100);
}

void corruption(Conditions& conditions, Random& random) {
  on_both(conditions, &LinkOptions::corrupt, random.fraction(0.01, 0.15));
  conditions.may_lose = true;
  conditions.text = text("%.1f %% of the datagrams arrive with flipped bits", conditions.up.corrupt * 100);
}

void delay(Conditions& conditions, Random& random) {
  for (LinkOptions* link : {&conditions.up, &conditions.down}) {
    link->latency = random.duration(milliseconds(20), milliseconds(300));
    link->jitter = random.duration(milliseconds(10), milliseconds(200));
  }
  conditions.text = text("latency %.0f and %.0f ms, up to %.0f and %.0f ms more", ms(conditions.up.latency),
                         ms(conditions.down.latency), ms(conditions.up.jitter), ms(conditions.down.jitter));
}

void tiny_mtu(Conditions& conditions, Random& random) {
  // RFC 9000 section 14: "The maximum datagram size MUST be at least 1200 bytes."
  const std::size_t mtu = random.between(1200, 1300);
  const bool told = random.chance(0.5);
  for (LinkOptions* link : {&conditions.up, &conditions.down}) {
    link->mtu = mtu;
    link->mtu_is_told = told;
  }
  conditions.text = text("an MTU of %zu bytes; longer datagrams %s", mtu, told ? "give EMSGSIZE" : "vanish");
}

void partition(Conditions& conditions, Random& random) {
  conditions.may_lose = true;
  conditions.outlives_idle = random.chance(0.4);
  const Duration begin = random.duration(milliseconds(0), milliseconds(400));
  Duration length = random.duration(milliseconds(500), milliseconds(5'000));
  if (conditions.outlives_idle) {
    conditions.idle_timeout = milliseconds(random.between(2'000, 5'000));
    // Longer than both ends' patience, the handshake's included.
    length = std::chrono::seconds(90);
  }
  const Partition cut{.from = VirtualClock::start + begin, .until = VirtualClock::start + begin + length};
  const bool one_way = !conditions.outlives_idle && random.chance(0.3);
  const bool is_up = random.chance(0.5);
  if (!one_way || is_up) conditions.up.partitions.push_back(cut);
  if (!one_way || !is_up) conditions.down.partitions.push_back(cut);
  conditions.text = text("nothing gets through %s from %.0f ms on, for %.0f ms",
                         !one_way ? "either way"
                         : is_up  ? "to the server"
                                  : "to the client",
                         ms(begin), ms(length));
}

void sysfaults(Conditions& conditions, Random& random) {
  conditions.system = {.would_block = random.fraction(0.02, 0.3),
                       .no_buffers = random.fraction(0, 0.1),
                       .short_receive = random.fraction(0, 0.5),
                       .spurious = random.fraction(0, 0.2)};
  conditions.refuses_opens = random.chance(0.5);
  conditions.may_lose = true;  // ENOBUFS
  conditions.text = text("EAGAIN %.0f %%, ENOBUFS %.0f %%, short receives %.0f %%, false readiness %.0f %%%s",
                         conditions.system.would_block * 100, conditions.system.no_buffers * 100,
                         conditions.system.short_receive * 100, conditions.system.spurious * 100,
                         conditions.refuses_opens ? ", first EMFILE" : "");
}

constexpr std::array all{
    Fault{"none", "a clean path of random latency and rate", none},
    Fault{"loss", "2 to 20 % of the datagrams are lost", loss},
    Fault{"reordering", "5 to 50 % of the datagrams are overtaken", reordering},
    Fault{"duplication", "5 to 50 % of the datagrams arrive twice", duplication},
    Fault{"corruption", "1 to 15 % of the datagrams have flipped bits", corruption},
    Fault{"delay", "20 to 300 ms each way, with as much jitter", delay},
    Fault{"tiny_mtu", "1200 to 1300 bytes, told or not", tiny_mtu},
    Fault{"partition", "nothing gets through for seconds, or for longer than the idle timeout", partition},
    Fault{"sysfaults", "EAGAIN, ENOBUFS, EMFILE, batches cut short, short receives, false readiness", sysfaults},
};

}  // namespace

std::span<const Fault> faults() noexcept { return all; }

Conditions make_conditions(const Fault& fault, std::uint64_t seed) {
  Random random(mix(seed, hash_of(fault.name)));
  Conditions conditions;
  conditions.up.latency = conditions.down.latency = random.duration(milliseconds(1), milliseconds(30));
  conditions.up.rate = conditions.down.rate = random.between(2'000'000, 50'000'000);
  fault.apply(conditions, random);
  return conditions;
}

}  // namespace riffle::sim
