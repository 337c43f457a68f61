// An echo server with blocking calls: a thread for each session, which takes its streams one after the other.
//
// Run:      echo_server_blocking [ADDRESS [CERT_FILE KEY_FILE]]
// You see:  its address and the pin of its key, which the clients want; Ctrl-C ends it.
#include <iostream>
#include <thread>

#include <riffle/riffle.hpp>

riffle::Result<void> echo(const riffle::Stream& stream) {
  for (;;) {
    auto read = stream.read();
    if (!read) return std::unexpected(read.error());
    if (auto written = stream.write(std::move(read->data)); !written) return written;
    if (read->fin || read->status == riffle::Read::Status::end_of_stream) return stream.finish();
  }
}

void serve(const riffle::Session& session) {
  while (auto stream = session.accept_stream(riffle::forever)) {
    if (auto done = echo(*stream); !done) riffle::explain(done.error());
  }
}

int main(int argc, char** argv) {
  auto certificate = argc > 3 ? riffle::from_files(argv[2], argv[3]) : riffle::make_self_signed({"localhost"});
  if (!certificate) return riffle::explain(certificate.error());
  auto engine = riffle::Engine::start();
  if (!engine) return riffle::explain(engine.error());
  auto listener = engine->listen(riffle::quic::Server{
      .address = argc > 1 ? argv[1] : "127.0.0.1:0", .certificate = *certificate, .alpn = {"echo"}});
  if (!listener) return riffle::explain(listener.error());
  std::cout << listener->address().to_string() << ' ' << riffle::pin_of(*certificate).value_or("") << std::endl;
  while (auto session = listener->accept(riffle::forever)) std::thread(serve, *session).detach();
}
