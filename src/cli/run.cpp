#include "cli/run.hpp"

#include <cstdio>

#include "cli/commands.hpp"

namespace riffle::cli {
namespace {

constexpr int usage_code = 2;  // spec/command.md, "Common to all"

}  // namespace

int usage_error(const std::string& sentence) {
  std::fprintf(stderr, "riffle: %s\n  riffle --help shows how it is used\n", sentence.c_str());
  return usage_code;
}

int run(int argc, char** argv, Signals& signals) {
  // Whole lines at once, also into a pipe: whoever reads them may be waiting for one.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  raise_descriptor_limit();

  Chosen chosen;
  CLI::App app{"riffle keeps connections alive."};
  app.name("riffle");
  app.set_version_flag("--version", "riffle " RIFFLE_VERSION);
  app.footer(
      "Examples:\n"
      "  riffle serve --allow localhost:80            on the machine that has the web server\n"
      "  riffle tunnel rfl1... -L 8080:localhost:80   on the other one, with the ticket that serve has printed\n"
      "  riffle bench server --listen 127.0.0.1:4433  then: riffle bench client --connect 127.0.0.1:4433 --insecure\n"
      "Exit codes: 0 ok, 1 a check failed, 2 usage, 3 unreachable, 4 refused or not trusted, 5 protocol,\n"
      "  6 a local limit, 70 a defect of riffle.");
  add_serve(app, chosen);
  add_tunnel(app, chosen);
  add_bench(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    return usage_error(error.what());
  }
  if (!chosen) return usage_error("a sub-command is needed: serve, tunnel, bench server or bench client");
  return chosen(signals);
}

}  // namespace riffle::cli
