// Streams of checked data in both directions, written and read by handlers.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include <riffle/riffle.hpp>
#include "random.hpp"
#include "simulation.hpp"

namespace riffle::sim {

/// How much goes where: stream number i of the client carries size(i, client) bytes up and size(i, server) down.
struct TransferPlan {
  std::uint64_t key = 0;  ///< of the data
  std::uint64_t streams = 1;
  std::uint64_t least = 0;  ///< bytes, each direction of each stream
  std::uint64_t most = 0;
  std::uint64_t most_up = ~std::uint64_t{0};  ///< what the client sends on a stream is no more
  std::uint64_t size(std::uint64_t stream, Role sender) const noexcept {
    const std::uint64_t draw = mix(key ^ (sender == Role::client ? 0x5555 : 0xaaaa), stream);
    const std::uint64_t drawn = least + (most == least ? 0 : draw % (most - least + 1));
    return sender == Role::client && drawn > most_up ? most_up : drawn;
  }
  std::uint64_t data_key(std::uint64_t stream, Role sender) const noexcept {
    return mix(key ^ (sender == Role::client ? 0x1234 : 0x4321), stream);
  }
};

/// Purpose: one end of it. The client opens the streams; each end writes its part as credit allows, in pieces of random
/// size, and holds every byte that arrives against the plan: none lost, doubled, out of order or changed.
class TransferHandler : public Handler, public std::enable_shared_from_this<TransferHandler> {
 public:
  TransferHandler(Simulation& simulation, Role role, const TransferPlan& plan)
      : simulation_(simulation), role_(role), plan_(plan), random_(mix(plan.key, role == Role::client ? 7 : 8)) {}

  /// Every stream was read to its end, and everything written was acknowledged.
  bool is_complete() const noexcept { return finished_ == plan_.streams; }
  std::uint64_t finished() const noexcept { return finished_; }
  std::uint64_t received() const noexcept { return received_; }
  bool is_closed() const noexcept { return closed_; }

  void on_connected(Context& context) override;
  void on_stream_opened(Context& context, StreamId stream, Direction direction) override;
  void on_stream_data(Context& context, StreamId stream, Bytes data, bool fin) override;
  void on_stream_finished(Context& context, StreamId stream) override;
  void on_writable(Context& context, StreamId stream) override { pump(context, stream); }
  void on_write_failed(Context&, StreamId stream, const Error& error) override;
  void on_stream_reset(Context&, StreamId stream, AppCode code) override;
  void on_stop_sending(Context&, StreamId stream, AppCode code) override;
  void on_closed(Context&, const CloseReason&) override { closed_ = true; }

 protected:
  struct Flow {
    std::uint64_t number = 0;
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    bool end_sent = false;
    bool end_received = false;
  };
  /// A stream of this end has just begun.
  virtual void on_begun(Context&, StreamId) {}
  void take(StreamId stream, std::span<const std::byte> data, bool fin);
  void fail(StreamId stream, const std::string& what);
  void pump(Context& context, StreamId stream);
  /// Writes what is left, a piece at a time, while `write` takes it.
  template <class Write>
  void pump_by(Flow& to, Write&& write);
  Flow* flow(StreamId stream);
  Role peer() const noexcept { return role_ == Role::client ? Role::server : Role::client; }

  Simulation& simulation_;
  const Role role_;
  const TransferPlan plan_;
  Random random_;
  std::map<StreamId, Flow> flows_;

 private:
  void open_streams(Context& context);
  void open_waiting_streams();
  void begin(Context& context, StreamId stream);

  std::uint64_t opened_ = 0;
  std::vector<Stream> waiting_;           ///< until the peer allows more streams
  std::map<StreamId, Stream> by_handle_;  ///< those that were opened so; their handles must live on
  bool closed_ = false;
  std::uint64_t finished_ = 0;
  std::uint64_t received_ = 0;
};

}  // namespace riffle::sim
