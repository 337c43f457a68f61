// An echo client with a handler: says something on a stream and prints what comes back.
//
// Run:      echo_client ADDRESS PIN [TEXT]       both as echo_server prints them
// You see:  TEXT, after it went to the server and back.
#include <iostream>

#include <riffle/riffle.hpp>

struct Say final : riffle::Handler {
  explicit Say(std::string said) : text(std::move(said)) {}

  void on_connected(riffle::Context& context) override {
    if (auto stream = context.open()) context.write(*stream, text, riffle::fin);
  }
  void on_stream_data(riffle::Context& context, riffle::StreamId, riffle::Bytes data, bool fin) override {
    std::cout << data.view();
    if (fin) context.close(riffle::AppCode{0}, "done");
  }

  std::string text;
};

int main(int argc, char** argv) {
  if (argc < 3) return std::cerr << "usage: echo_client ADDRESS PIN [TEXT]\n", 2;
  auto engine = riffle::Engine::start();
  if (!engine) return riffle::explain(engine.error());
  auto session =
      engine->connect(riffle::quic::Client{.address = argv[1],
                                           .trust = riffle::pinned(argv[2]),
                                           .alpn = {"echo"},
                                           .handler = std::make_shared<Say>(argc > 3 ? argv[3] : "hello, riffle")});
  auto reason = session.wait_closed();
  if (!reason) return riffle::explain(reason.error());
  if (reason->by != riffle::CloseReason::By::us) return riffle::explain(reason->error);
  std::cout << std::endl;
}
