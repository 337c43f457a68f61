// Two connections in memory, with virtual time and a network that does what a test says.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/quic/quic_port.hpp"
#include "quiche/quiche_stack.hpp"
#include "quiche/virtual_clock_test.hpp"

namespace riffle::quiche {

/// Blocks for `offer`, counted: what was made and what the transport has let go.
class BlockPool {
 public:
  ~BlockPool() { EXPECT_EQ(made_, freed()) << "blocks were kept"; }

  base::SendBlock* make(std::string text, Fin end = Fin::no) {
    base::SendBlock* const block = base::SendBlock::make(Bytes::adopt(std::move(text)), end == Fin::yes);
    block->released = &released_;
    ++made_;
    return block;
  }
  int made() const { return made_; }
  /// Blocks whose last reference has gone.
  int freed() {
    while (base::SendBlock* const gone = released_.first) {
      released_.first = gone->next;
      base::SendBlock::destroy(gone);
      ++freed_;
    }
    return freed_;
  }

 private:
  base::ReleasedBlocks released_;
  int made_ = 0;
  int freed_ = 0;
};

struct Datagram {
  std::vector<std::byte> bytes;
  core::Arrival arrival;
};

/// A client and a server. Every option may be changed before `start`.
class Pair {
 public:
  Pair();
  ~Pair();

  /// Configures both and makes the connections; `error` holds what `configure` refused.
  void start();
  /// Carries datagrams until both sides are silent; time stands still.
  void exchange();
  /// Exchanges, and lets time pass to the next deadline while `until` is false. Fails after a virtual minute.
  void run(const std::function<bool()>& until);
  /// Lets time pass, with all that falls due.
  void run_for(std::chrono::nanoseconds duration);
  /// Until both have finished the handshake.
  void connect();

  /// All that one side wants to send, as datagrams; the shape of each batch is checked.
  std::vector<Datagram> pull(core::QuicConnection& from);
  void push(core::QuicConnection& to, std::vector<Datagram> datagrams);

  /// Writes `text` to a stream of `from`, block by block, running the pair as long as the peer reads it with
  /// `read_all`.
  void write(core::QuicConnection& from, StreamId id, std::string text, Fin fin);
  /// Reads what is there; false when the stream has ended.
  bool read_some(core::QuicConnection& from, StreamId id, std::string& into);

  VirtualClock clock;
  BlockPool blocks;
  QuicheStack stack;
  Certificate identity;
  std::string name = "riffle.test";
  quic::Client client_options;
  quic::Server server_options;
  std::unique_ptr<core::QuicConfiguration> client_configuration;
  std::unique_ptr<core::QuicConfiguration> server_configuration;
  std::unique_ptr<core::QuicConnection> client;
  std::unique_ptr<core::QuicConnection> server;
  /// Whether a datagram arrives.
  std::function<bool(const Datagram&)> arrives = [](const Datagram&) { return true; };
  std::size_t largest_batch = 0;  ///< in datagrams
  std::vector<core::Batch> shapes;

  Address client_address = Address::loopback_v4(40001);
  Address server_address = Address::loopback_v4(443);

 private:
  bool carry(core::QuicConnection& from, core::QuicConnection& to);
  void fire();

  std::vector<std::byte> buffer_ = std::vector<std::byte>(65536);
};

core::ConnectionId connection_id(std::uint8_t fill);

/// Whether `part` stands in `text`.
inline testing::AssertionResult holds(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << '"' << text << "\" does not hold \"" << part << '"';
}

}  // namespace riffle::quiche
