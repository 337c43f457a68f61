// The far end of the perf protocol, as a handler on the loop.
#pragma once

#include <cstdint>
#include <unordered_map>

#include <riffle/handler.hpp>
#include "cli/perf_wire.hpp"

namespace riffle::cli::perf {

/// Purpose: answers every stream with as many bytes as its header asks for. A request that comes in one piece and is
/// answered in one leaves nothing behind. Threads: the session's loop.
class Server final : public Handler {
 public:
  void on_stream_data(Context& context, StreamId stream, Bytes data, bool fin) override;
  void on_writable(Context& context, StreamId stream) override;
  void on_stream_reset(Context& context, StreamId stream, AppCode code) override;
  void on_stop_sending(Context& context, StreamId stream, AppCode code) override;

 private:
  struct Request {
    Header header{};
    std::size_t header_filled = 0;
    std::uint64_t left = 0;  // of the answer
    bool is_answering = false;
  };
  static void fill_header(Request& request, const Bytes& data) noexcept;
  void answer(Context& context, StreamId stream, std::uint64_t wanted);

  std::unordered_map<std::uint64_t, Request> requests_;
};

/// Writes of `left` payload bytes what the credit takes, and one block more at most; a fin behind the last. True once
/// all is written. Otherwise `on_writable` follows.
bool send_payload(Context& context, StreamId stream, std::uint64_t& left);

}  // namespace riffle::cli::perf
