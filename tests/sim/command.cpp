#include "command.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>

#include "scenarios.hpp"

namespace riffle::sim {
namespace {

struct Arguments {
  std::string program;
  std::string scenario;
  std::string fault;
  std::uint64_t seed = 1;
  std::uint64_t seeds = 20;
  std::uint64_t first = 1;
  unsigned jobs = std::max(1U, std::thread::hardware_concurrency());
  bool all = false;
  bool list = false;
  bool help = false;
  bool replay = false;
  bool trace = false;
  bool hash = false;
};

constexpr const char* usage =
    "usage: riffle_sim --scenario X --fault Y --seed S [--trace] [--hash]   one run, and what came of it\n"
    "       riffle_sim --all [--seeds N] [--first S] [--jobs J]             every pair, N seeds each; failures by "
    "name\n"
    "       riffle_sim --replay [--seeds N]                                 each run twice, and in a process of its "
    "own\n"
    "       riffle_sim --list                                               the scenarios and the faults\n"
    "--all and --replay keep to one scenario or fault where --scenario or --fault is given.\n";

// ---- arguments ---------------------------------------------------------------------------------------------------

template <class T>
bool read_number(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

std::optional<Arguments> read_arguments(const std::vector<std::string>& words) {
  Arguments out{.program = words.at(0)};
  const std::pair<std::string_view, bool*> switches[] = {{"--all", &out.all},     {"--list", &out.list},
                                                         {"--help", &out.help},   {"--replay", &out.replay},
                                                         {"--trace", &out.trace}, {"--hash", &out.hash}};
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (const auto found = std::ranges::find(switches, word, &std::pair<std::string_view, bool*>::first);
        found != std::end(switches)) {
      *found->second = true;
      continue;
    }
    if (++i == words.size()) return std::nullopt;
    const std::string& value = words[i];
    bool good = true;
    if (word == "--scenario")
      out.scenario = value;
    else if (word == "--fault")
      out.fault = value;
    else if (word == "--seed")
      good = read_number(value, out.seed);
    else if (word == "--seeds")
      good = read_number(value, out.seeds);
    else if (word == "--first")
      good = read_number(value, out.first);
    else if (word == "--jobs")
      good = read_number(value, out.jobs) && out.jobs > 0;
    else
      good = false;
    if (!good) return std::nullopt;
  }
  return out;
}

template <class T>
std::vector<const T*> chosen(std::span<const T> all, const std::string& name) {
  std::vector<const T*> out;
  for (const T& one : all) {
    if (name.empty() || one.name == name) out.push_back(&one);
  }
  if (out.empty()) std::fprintf(stderr, "riffle_sim: there is no \"%s\"; --list says what there is\n", name.c_str());
  return out;
}

std::string command_of(const Arguments& arguments, const Scenario& scenario, const Fault& fault, std::uint64_t seed) {
  return arguments.program + " --scenario " + std::string(scenario.name) + " --fault " + std::string(fault.name) +
         " --seed " + std::to_string(seed);
}

// ---- one run -----------------------------------------------------------------------------------------------------

int run_single(const Arguments& arguments, const Scenario& scenario, const Fault& fault) {
  const Outcome outcome = run(scenario, fault, arguments.seed, arguments.trace);
  if (arguments.hash) {
    std::printf("%016llx\n", static_cast<unsigned long long>(outcome.hash));
    return outcome.failures.empty() ? 0 : 1;
  }
  const NetworkCounts& n = outcome.network;
  const auto count = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf("%.*s under %.*s, seed %llu\n", static_cast<int>(scenario.name.size()), scenario.name.data(),
              static_cast<int>(fault.name.size()), fault.name.data(), count(outcome.seed));
  std::printf("  claim       %.*s\n", static_cast<int>(scenario.claim.size()), scenario.claim.data());
  std::printf("  conditions  %s\n", outcome.conditions.c_str());
  std::printf(
      "  datagrams   %llu sent, %llu delivered; lost %llu, cut %llu, reordered %llu, duplicated %llu, corrupted "
      "%llu, too long %llu, queue full %llu, buffer full %llu, nobody there %llu\n",
      count(n.sent), count(n.delivered), count(n.lost), count(n.cut), count(n.reordered), count(n.duplicated),
      count(n.corrupted), count(n.too_long), count(n.queue_full), count(n.buffer_full), count(n.nobody));
  std::printf("  time        %.3f s of virtual time, %llu cycles, %llu events\n",
              std::chrono::duration<double>(outcome.virtual_time).count(), count(outcome.cycles),
              count(outcome.events));
  std::printf("  trace hash  %016llx\n", count(outcome.hash));
  for (const std::string& failure : outcome.failures) std::printf("  FAILED      %s\n", failure.c_str());
  if (outcome.failures.empty()) std::printf("  ok\n");
  return outcome.failures.empty() ? 0 : 1;
}

int list() {
  std::puts("scenarios:");
  for (const Scenario& s : scenarios()) std::printf("  %-16s %s\n", s.name.data(), s.claim.data());
  std::puts("faults:");
  for (const Fault& f : faults()) std::printf("  %-16s %s\n", f.name.data(), f.effect.data());
  return 0;
}

// ---- many --------------------------------------------------------------------------------------------------------

struct Job {
  const Scenario* scenario;
  const Fault* fault;
  std::uint64_t seed;
  std::size_t cell;
};

/// Takes the jobs in turn on `jobs` threads; each is a run of its own.
template <class F>
void work_off(const std::vector<Job>& jobs, unsigned threads, F&& each) {
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < threads; ++i) {
    workers.emplace_back([&] {
      for (std::size_t at = next++; at < jobs.size(); at = next++) each(jobs[at]);
    });
  }
  for (std::thread& worker : workers) worker.join();
}

/// Runs that are known to fail and not mended yet, with what is known. They are shown by every run of the matrix that
/// contains them; one that passes is a failure too: then its line here must go.
struct KnownDefect {
  std::string_view scenario, fault;
  std::uint64_t seed;
  std::string_view why;
};
constexpr KnownDefect known_defects[] = {
    {"stalled_reader", "loss", 372,
     "the server's quiche took the last bytes of a stream, has nothing in flight, and never sends them; cause unknown"},
};

const KnownDefect* known(const Job& job) {
  for (const KnownDefect& defect : known_defects) {
    if (defect.scenario == job.scenario->name && defect.fault == job.fault->name && defect.seed == job.seed) {
      return &defect;
    }
  }
  return nullptr;
}

struct Cell {
  std::uint64_t failed = 0;
  double seconds = 0;
};

std::vector<Job> make_jobs(const std::vector<const Scenario*>& rows, const std::vector<const Fault*>& columns,
                           const Arguments& arguments) {
  std::vector<Job> jobs;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    for (std::size_t column = 0; column < columns.size(); ++column) {
      for (std::uint64_t seed = arguments.first; seed < arguments.first + arguments.seeds; ++seed) {
        jobs.push_back({rows[row], columns[column], seed, row * columns.size() + column});
      }
    }
  }
  return jobs;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int run_all(const Arguments& arguments, const std::vector<const Scenario*>& rows,
            const std::vector<const Fault*>& columns) {
  const std::vector<Job> jobs = make_jobs(rows, columns, arguments);
  std::vector<Cell> cells(rows.size() * columns.size());
  std::vector<std::string> failures, known_ones;
  std::mutex lock;
  const auto begin = std::chrono::steady_clock::now();
  work_off(jobs, arguments.jobs, [&](const Job& job) {
    const auto run_begin = std::chrono::steady_clock::now();
    const Outcome outcome = run(*job.scenario, *job.fault, job.seed);
    const double took = seconds_since(run_begin);
    const std::lock_guard hold(lock);
    cells[job.cell].seconds += took;
    const std::string command = command_of(arguments, *job.scenario, *job.fault, job.seed);
    if (const KnownDefect* defect = known(job)) {
      if (!outcome.failures.empty()) {
        known_ones.push_back(command + "\n    known: " + std::string(defect->why));
        return;
      }
      failures.push_back(command + "\n    passes now: take it off the known defects");
    } else if (!outcome.failures.empty()) {
      failures.push_back(command + "\n    " + outcome.failures[0]);
    } else {
      return;
    }
    ++cells[job.cell].failed;
  });
  std::printf("seeds %llu to %llu of each pair; the milliseconds of a run, and how many failed\n%-16s",
              static_cast<unsigned long long>(arguments.first),
              static_cast<unsigned long long>(arguments.first + arguments.seeds - 1), "");
  for (const Fault* fault : columns) std::printf(" %12s", fault->name.data());
  for (std::size_t row = 0; row < rows.size(); ++row) {
    std::printf("\n%-16s", rows[row]->name.data());
    for (std::size_t column = 0; column < columns.size(); ++column) {
      const Cell& cell = cells[row * columns.size() + column];
      const double each = cell.seconds * 1000 / static_cast<double>(std::max<std::uint64_t>(1, arguments.seeds));
      if (cell.failed == 0)
        std::printf(" %12.1f", each);
      else
        std::printf(" %5llu FAILED", static_cast<unsigned long long>(cell.failed));
    }
  }
  std::ranges::sort(failures);
  std::printf("\n%zu runs, %zu failed, %zu known to fail, in %.1f s\n", jobs.size(), failures.size(), known_ones.size(),
              seconds_since(begin));
  for (const std::string& one : known_ones) std::printf("  %s\n", one.c_str());
  for (const std::string& failure : failures) std::printf("  %s\n", failure.c_str());
  return failures.empty() ? 0 : 1;
}

/// The hash that a fresh process finds; empty if it cannot be had.
std::optional<std::uint64_t> hash_in_fresh_process(const std::string& command) {
  std::FILE* const pipe = ::popen((command + " --hash").c_str(), "r");
  if (pipe == nullptr) return std::nullopt;
  unsigned long long hash = 0;
  const int got = std::fscanf(pipe, "%llx", &hash);
  ::pclose(pipe);
  return got == 1 ? std::optional<std::uint64_t>(hash) : std::nullopt;
}

int run_replay(const Arguments& arguments, const std::vector<const Scenario*>& rows,
               const std::vector<const Fault*>& columns) {
  const std::vector<Job> jobs = make_jobs(rows, columns, arguments);
  std::atomic<std::size_t> different{0};
  work_off(jobs, arguments.jobs, [&](const Job& job) {
    const std::uint64_t first = run(*job.scenario, *job.fault, job.seed).hash;
    const std::uint64_t second = run(*job.scenario, *job.fault, job.seed).hash;
    const std::string command = command_of(arguments, *job.scenario, *job.fault, job.seed);
    const auto elsewhere = hash_in_fresh_process(command);
    if (first == second && elsewhere == first) return;
    ++different;
    std::printf("  not the same: %016llx, then %016llx, in a fresh process %016llx: %s\n",
                static_cast<unsigned long long>(first), static_cast<unsigned long long>(second),
                static_cast<unsigned long long>(elsewhere.value_or(0)), command.c_str());
  });
  std::printf("%zu runs three times each, once in a process of its own: %zu did not replay\n", jobs.size(),
              different.load());
  return different == 0 ? 0 : 1;
}

}  // namespace

int run_command(const std::vector<std::string>& words) {
  const auto arguments = read_arguments(words);
  if (!arguments || arguments->help || words.size() < 2) {
    std::fputs(usage, arguments ? stdout : stderr);
    return arguments && arguments->help ? 0 : 2;
  }
  if (arguments->list) return list();
  const auto rows = chosen(scenarios(), arguments->scenario);
  const auto columns = chosen(faults(), arguments->fault);
  if (rows.empty() || columns.empty()) return 2;
  if (arguments->replay) return run_replay(*arguments, rows, columns);
  if (arguments->all) return run_all(*arguments, rows, columns);
  if (rows.size() == 1 && columns.size() == 1) return run_single(*arguments, *rows[0], *columns[0]);
  std::fputs("riffle_sim: one run needs --scenario and --fault; or --all\n", stderr);
  return 2;
}

}  // namespace riffle::sim
