#include "quiche/pair_test.hpp"

#include <algorithm>

namespace riffle::quiche {

core::ConnectionId connection_id(std::uint8_t fill) {
  core::ConnectionId id;
  id.size = 16;
  std::fill_n(id.bytes.begin(), 16, fill);
  return id;
}

Pair::Pair()
    : identity(make_self_signed({"riffle.test"}).value()),
      client_options{.address = "riffle.test:443", .trust = {}, .alpn = {"riffle"}},
      server_options{.address = ":443", .certificate = identity, .alpn = {"riffle"}} {
  client_options.trust.ca_pem = identity.chain_pem;
}

Pair::~Pair() {
  client.reset();
  server.reset();
}

void Pair::start() {
  auto server_made = stack.configure(server_options);
  ASSERT_TRUE(server_made) << server_made.error().message();
  auto client_made = stack.configure(client_options);
  ASSERT_TRUE(client_made) << client_made.error().message();
  server_configuration = std::move(*server_made);
  client_configuration = std::move(*client_made);
  auto client_connection = client_configuration->connect(name, connection_id(0xc1), client_address, server_address);
  ASSERT_TRUE(client_connection) << client_connection.error().message();
  auto server_connection = server_configuration->accept(connection_id(0x5e), nullptr, server_address, client_address);
  ASSERT_TRUE(server_connection) << server_connection.error().message();
  client = std::move(*client_connection);
  server = std::move(*server_connection);
}

std::vector<Datagram> Pair::pull(core::QuicConnection& from) {
  std::vector<Datagram> out;
  for (int batches = 0; batches < 1000; ++batches) {
    const core::Batch batch = from.poll_output(buffer_, clock.now());
    if (batch.bytes == 0) return out;
    shapes.push_back(batch);
    EXPECT_LE(batch.bytes, buffer_.size());
    std::size_t datagrams = 0;
    for (std::size_t at = 0; at < batch.bytes; at += batch.segment) {
      const std::size_t size = std::min(batch.segment, batch.bytes - at);
      Datagram datagram;
      datagram.bytes.assign(buffer_.begin() + static_cast<std::ptrdiff_t>(at),
                            buffer_.begin() + static_cast<std::ptrdiff_t>(at + size));
      datagram.arrival = {.local = batch.peer, .peer = batch.local};
      out.push_back(std::move(datagram));
      ++datagrams;
    }
    EXPECT_LE(datagrams, 64u) << "more segments than UDP_SEGMENT takes";
    largest_batch = std::max(largest_batch, datagrams);
  }
  ADD_FAILURE() << "output without an end";
  return out;
}

void Pair::push(core::QuicConnection& to, std::vector<Datagram> datagrams) {
  for (Datagram& datagram : datagrams) {
    if (arrives(datagram)) to.on_input(datagram.bytes, datagram.arrival, clock.now());
  }
}

bool Pair::carry(core::QuicConnection& from, core::QuicConnection& to) {
  std::vector<Datagram> datagrams = pull(from);
  if (datagrams.empty()) return false;
  push(to, std::move(datagrams));
  return true;
}

void Pair::exchange() {
  for (int rounds = 0; rounds < 10'000; ++rounds) {
    const bool there = carry(*client, *server);
    const bool back = carry(*server, *client);
    if (!there && !back) return;
  }
  ADD_FAILURE() << "the two never fell silent";
}

void Pair::fire() {
  for (core::QuicConnection* one : {client.get(), server.get()}) {
    if (one->next_deadline() <= clock.now()) one->on_deadline(clock.now());
  }
}

void Pair::run_for(std::chrono::nanoseconds duration) {
  const Instant end = clock.now() + duration;
  for (;;) {
    exchange();
    const Instant next = std::min(client->next_deadline(), server->next_deadline());
    if (next > end) break;
    clock.advance_to(next);
    fire();
  }
  clock.advance_to(end);
}

void Pair::run(const std::function<bool()>& until) {
  const Instant end = clock.now() + std::chrono::minutes(1);
  for (;;) {
    exchange();
    if (until()) return;
    const Instant next = std::min(client->next_deadline(), server->next_deadline());
    if (next > end) {
      ADD_FAILURE() << "it did not come about within a minute";
      return;
    }
    clock.advance_to(next);
    fire();
  }
}

void Pair::connect() {
  run([this] {
    return client->state() == core::PortState::established && server->state() == core::PortState::established;
  });
}

void Pair::write(core::QuicConnection& from, StreamId id, std::string text, Fin fin) {
  base::SendBlock* const block = blocks.make(std::move(text), fin);
  const core::Offered offered = from.offer(id, *block);
  EXPECT_EQ(offered.status, core::Offered::Status::taken);
  block->release();
}

bool Pair::read_some(core::QuicConnection& from, StreamId id, std::string& into) {
  std::array<std::byte, 4096> chunk;
  for (;;) {
    const core::ReadInto read = from.read_into(id, chunk);
    if (read.status != core::ReadInto::Status::data) return read.status == core::ReadInto::Status::nothing;
    into.append(reinterpret_cast<const char*>(chunk.data()), read.size);
    if (read.fin) return false;
  }
}

}  // namespace riffle::quiche
