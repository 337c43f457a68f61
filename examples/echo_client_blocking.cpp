// An echo client with blocking calls: says something on a stream and prints what comes back.
//
// Run:      echo_client_blocking ADDRESS PIN [TEXT]       both as the echo servers print them
// You see:  TEXT, after it went to the server and back.
#include <iostream>

#include <riffle/riffle.hpp>

using namespace std::chrono_literals;

int main(int argc, char** argv) {
  if (argc < 3) return std::cerr << "usage: echo_client_blocking ADDRESS PIN [TEXT]\n", 2;
  auto engine = riffle::Engine::start();
  if (!engine) return riffle::explain(engine.error());
  auto session =
      engine->connect(riffle::quic::Client{.address = argv[1], .trust = riffle::pinned(argv[2]), .alpn = {"echo"}});
  if (auto connected = session.wait_connected(5s); !connected) return riffle::explain(connected.error());
  auto stream = session.open(riffle::bidirectional);
  if (!stream) return riffle::explain(stream.error());
  if (auto written = stream->write(argc > 3 ? argv[3] : "hello, riffle", riffle::fin); !written) {
    return riffle::explain(written.error());
  }
  auto answer = stream->read_to_end(64 * 1024, 5s);  // bounded: at most 64 KiB
  if (!answer) return riffle::explain(answer.error());
  std::cout << answer->view() << std::endl;
}
