// An echo server with a handler: every byte of every stream goes back on the same stream.
//
// Run:      echo_server [ADDRESS [CERT_FILE KEY_FILE]]       for example: echo_server '[::]:4433'
// You see:  its address and the pin of its key, which echo_client wants; Ctrl-C ends it.
#include <iostream>

#include <riffle/riffle.hpp>

struct Echo final : riffle::Handler {
  void on_stream_data(riffle::Context& context, riffle::StreamId stream, riffle::Bytes data, bool fin) override {
    context.write(stream, std::move(data), fin);
  }
};

int main(int argc, char** argv) {
  auto certificate = argc > 3 ? riffle::from_files(argv[2], argv[3]) : riffle::make_self_signed({"localhost"});
  if (!certificate) return riffle::explain(certificate.error());
  auto engine = riffle::Engine::start();
  if (!engine) return riffle::explain(engine.error());
  auto listener =
      engine->listen(riffle::quic::Server{.address = argc > 1 ? argv[1] : "127.0.0.1:0",
                                          .certificate = *certificate,
                                          .alpn = {"echo"},
                                          .handler = [](const riffle::Peer&) { return std::make_shared<Echo>(); }});
  if (!listener) return riffle::explain(listener.error());
  std::cout << listener->address().to_string() << ' ' << riffle::pin_of(*certificate).value_or("") << std::endl;
  engine->join();
}
