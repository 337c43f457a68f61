// riffle bench (CLI-4): the command line, and what is printed.
#include "cli/bench.hpp"

#include <algorithm>
#include <atomic>
#include <memory>

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/perf_server.hpp"

namespace riffle::cli {
namespace bench {
namespace {

using namespace std::chrono_literals;

/// Of each peer at once; more requests than that wait for a stream.
constexpr std::uint64_t streams_at_once = 65'536;

std::string counters_json(const Usage& used, const std::optional<UdpStats>& udp) {
  const auto number = [&udp](std::uint64_t count) { return udp ? std::to_string(count) : "null"; };
  const UdpStats counted = udp.value_or(UdpStats{});
  return fmt::format(
      R"("datagrams_sent":{},"datagrams_received":{},"udp_send_calls":{},"udp_receive_calls":{},"max_rss_kb":{})",
      number(counted.sent.datagrams), number(counted.received.datagrams), number(counted.sent.calls),
      number(counted.received.calls), used.max_rss_kb);
}

bool is_bulk(const ClientOptions& options) { return options.mode == "download" || options.mode == "upload"; }

void print_json(const ClientOptions& options, const Report& report, const Usage& used) {
  const auto quantile = [&](double part) {
    return report.latency.count() == 0 ? std::string("null") : fmt::format("{:.2f}", report.latency.quantile_us(part));
  };
  const double seconds = std::max(report.seconds, 1e-9);
  const std::string figure =
      is_bulk(options) ? fmt::format(R"("gbps":{:.4f})", static_cast<double>(report.bytes) * 8e-9 / seconds)
                       : fmt::format(R"("per_second":{:.1f})", static_cast<double>(report.operations) / seconds);
  fmt::print(R"({{"mode":"{}","bytes":{},"seconds":{:.6f},{},"cpu_seconds":{:.6f},)", options.mode, report.bytes,
             report.seconds, figure, used.cpu_seconds);
  fmt::print(R"("p50_us":{},"p99_us":{},"p999_us":{},)", quantile(0.5), quantile(0.99), quantile(0.999));
  fmt::print("{}}}\n", counters_json(used, report.udp));
}

void print_table(const ClientOptions& options, const Report& report, const Usage& used) {
  const double seconds = std::max(report.seconds, 1e-9);
  const auto row = [](const char* name, const std::string& value) { fmt::print("  {:<22}{}\n", name, value); };
  fmt::print("{} with {}\n", options.mode, options.connect);
  row("time", fmt::format("{:.3f} s", report.seconds));
  if (is_bulk(options)) {
    row("bytes", fmt::format("{}", report.bytes));
    row("rate", fmt::format("{:.2f} Gbit/s", static_cast<double>(report.bytes) * 8e-9 / seconds));
    row("CPU, this end", fmt::format("{:.2f} s, {:.2f} s/GB", used.cpu_seconds,
                                     used.cpu_seconds / std::max(static_cast<double>(report.bytes) * 1e-9, 1e-9)));
  } else {
    row(options.mode == "rps"   ? "requests"
        : options.mode == "hps" ? "handshakes"
                                : "connections",
        fmt::format("{}", report.operations));
    row("rate", fmt::format("{:.0f} a second", static_cast<double>(report.operations) / seconds));
    row("CPU, this end", fmt::format("{:.2f} s", used.cpu_seconds));
  }
  if (report.latency.count() > 0) {
    row(options.rate > 0 ? "latency (open loop)" : "service time",
        fmt::format("p50 {:.1f} µs, p99 {:.1f} µs, p99.9 {:.1f} µs", report.latency.quantile_us(0.5),
                    report.latency.quantile_us(0.99), report.latency.quantile_us(0.999)));
  }
  const auto one_way = [](const UdpStats::OneWay& way) {
    return fmt::format("{} datagrams in {} calls, {:.1f} a call", way.datagrams, way.calls, way.datagrams_per_call());
  };
  if (report.udp) {
    row("sent", one_way(report.udp->sent));
    row("received", one_way(report.udp->received));
  }
  row("memory", fmt::format("{} KiB at most", used.max_rss_kb));
}

Run chosen_run(const ClientOptions& options) {
  if (options.mode == "hps") return run_handshakes;
  if (options.mode == "idle") return run_idle;
  if (is_bulk(options)) return options.callers > 0 ? run_bulk_by_callers : run_bulk;
  if (options.rate > 0) return run_requests_at_rate;
  return options.callers > 0 ? run_requests_by_callers : run_requests;
}

}  // namespace

int run_server(const ServerOptions& options, Signals& signals) {
  Certificate certificate = from_files(options.certificate, options.key);
  if (options.certificate.empty()) {
    auto made = make_self_signed({"localhost", "127.0.0.1", "::1"}, 1);
    if (!made) return explain(made.error());
    certificate = std::move(*made);
  }
  auto engine = Engine::start();
  if (!engine) return explain(engine.error());
  quic::Server server{.address = options.listen,
                      .certificate = certificate,
                      .alpn = std::vector<std::string>{std::string(perf::alpn)},
                      .handler = [](const Peer&) { return std::make_shared<perf::Server>(); },
                      .delivery = active};
  server.transport.max_streams_bidi = streams_at_once;
  const auto listener = engine->listen(server);
  if (!listener) return explain(listener.error());
  for (const std::string& warning : engine->take_warnings()) fmt::print(stderr, "riffle: {}\n", warning);
  fmt::print("listening {}\n", listener->address().to_string());

  signals.wait();
  const auto udp = listener->udp_stats(1s);
  engine->stop(300ms);
  engine->join();
  if (options.json) {
    const Usage used = usage();
    fmt::print("{{\"cpu_seconds\":{:.6f},{}}}\n", used.cpu_seconds,
               counters_json(used, udp ? std::optional(*udp) : std::nullopt));
  }
  return 0;
}

int run_client(const ClientOptions& options, Signals& signals) {
  auto engine = Engine::start();
  if (!engine) return explain(engine.error());
  for (const std::string& warning : engine->take_warnings()) fmt::print(stderr, "riffle: {}\n", warning);
  Completion done;
  const Error interrupted(Code::closed, "a signal came before the run was over");
  std::atomic<bool> is_interrupted = false;
  const auto watch = signals.on_first([&] {
    is_interrupted = true;
    done.fail(interrupted);
    engine->stop(300ms);
  });
  const auto report = chosen_run(options)(*engine, options, done);
  const Usage used = usage();
  engine->stop(300ms);
  engine->join();
  if (!report || is_interrupted) return explain(is_interrupted ? interrupted : report.error());
  (options.json ? print_json : print_table)(options, *report, used);
  return 0;
}

}  // namespace bench

namespace {

/// What both ends offer and only QUIC has so far.
struct Protocol {
  std::string name = "quic";
  unsigned smux_version = 2;
  unsigned threads = 1;
};

int check(const Protocol& protocol) {
  if (protocol.name != "quic") {
    return explain(Error(Code::unsupported, "--proto smux: this version measures QUIC only"));
  }
  if (protocol.threads != 1) {
    return explain(Error(Code::unsupported, "--threads: this version has one loop"));
  }
  return 0;
}

void add_protocol(CLI::App& command, Protocol& protocol) {
  command.add_option("--proto", protocol.name, "What is measured")
      ->check(CLI::IsMember({"quic", "smux"}))
      ->capture_default_str();
  command.add_option("--smux-version", protocol.smux_version, "With --proto smux")->check(CLI::IsMember({1U, 2U}));
}

void add_server(CLI::App& bench, Chosen& chosen) {
  auto options = std::make_shared<bench::ServerOptions>();
  auto protocol = std::make_shared<Protocol>();
  CLI::App* command =
      bench.add_subcommand("server", "Answer until SIGTERM; without a certificate, with one made for the run");
  command->add_option("--listen", options->listen, "UDP address; port 0 takes a free one")
      ->required()
      ->type_name("ADDR:PORT");
  CLI::Option* certificate =
      command->add_option("--cert", options->certificate, "Certificate chain, PEM")->type_name("FILE");
  CLI::Option* key = command->add_option("--key", options->key, "Its private key, PEM")->type_name("FILE");
  certificate->needs(key);
  key->needs(certificate);
  command->add_option("--threads", protocol->threads, "Loop threads")
      ->check(CLI::Range(1U, 1024U))
      ->capture_default_str();
  add_protocol(*command, *protocol);
  command->add_flag("--json", options->json, "At the end print what was used as one JSON object");
  command->footer("Example:\n  riffle bench server --listen 127.0.0.1:4433");
  command->callback([options, protocol, &chosen] {
    chosen = [options, protocol](Signals& signals) {
      const int code = check(*protocol);
      return code != 0 ? code : bench::run_server(*options, signals);
    };
  });
}

void add_client(CLI::App& bench, Chosen& chosen) {
  auto options = std::make_shared<bench::ClientOptions>();
  auto protocol = std::make_shared<Protocol>();
  CLI::App* command = bench.add_subcommand("client", "Measure against a server of the QUIC perf protocol");
  const auto positive = CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 50);
  command->add_option("--connect", options->connect, "Where the server is")->required()->type_name("ADDR:PORT");
  command->add_option("--mode", options->mode, "What is measured")
      ->required()
      ->check(CLI::IsMember({"download", "upload", "rps", "hps", "idle"}));
  command->add_option("--bytes", options->bytes, "download, upload: bytes of all streams together")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--streams", options->streams, "download, upload: at once")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--req-bytes", options->request_bytes, "rps: sent behind the 8-byte header")
      ->capture_default_str();
  command->add_option("--resp-bytes", options->response_bytes, "rps: sent back")->capture_default_str();
  command->add_option("--concurrency", options->concurrency, "rps, hps: at once (default 64, hps 16)")->check(positive);
  command->add_option("--conns", options->connections, "Connections; idle: to hold")
      ->check(positive)
      ->capture_default_str();
  command->add_option("--callers", options->callers, "Application threads with plain calls; 0: handlers on the loop")
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1024}))
      ->capture_default_str();
  command
      ->add_option("--rate", options->rate,
                   "rps: requests a second at fixed instants (open loop); 0: each follows an answer")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--secs", options->seconds, "rps, hps: for so long")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  CLI::Option* ca =
      command->add_option("--ca", options->ca, "Trust this CA (PEM) instead of the system's")->type_name("FILE");
  command->add_flag("--insecure", options->insecure, "Do not verify the server's certificate")->excludes(ca);
  command->add_option("--keylog", options->key_log, "Append TLS secrets there, for Wireshark")->type_name("FILE");
  add_protocol(*command, *protocol);
  command->add_flag("--json", options->json, "Print one JSON object");
  command->footer(
      "Examples:\n"
      "  riffle bench client --connect 127.0.0.1:4433 --mode download --bytes 2000000000 --insecure\n"
      "  riffle bench client --connect 127.0.0.1:4433 --mode rps --concurrency 64 --secs 5 --insecure --json\n"
      "  riffle bench client --connect 127.0.0.1:4433 --mode rps --rate 20000 --callers 2 --insecure");
  command->callback([options, protocol, &chosen] {
    if (options->concurrency == 0) options->concurrency = options->mode == "hps" ? 16 : 64;
    chosen = [options, protocol](Signals& signals) {
      const int code = check(*protocol);
      return code != 0 ? code : bench::run_client(*options, signals);
    };
  });
}

}  // namespace

void add_bench(CLI::App& app, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("bench", "Measure a link, or this machine, by the QUIC perf protocol");
  add_server(*command, chosen);
  add_client(*command, chosen);
}

}  // namespace riffle::cli
