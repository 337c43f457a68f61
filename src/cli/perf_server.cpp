#include "cli/perf_server.hpp"

#include <algorithm>
#include <cstring>

namespace riffle::cli::perf {
namespace {

/// The protocol's violation: a stream that ends within its header.
constexpr AppCode short_header{1};

/// Large enough that a write is rare, small enough that what is queued stays near the credit.
constexpr std::uint64_t piece = 256 * 1024;

}  // namespace

const Bytes& payload() {
  static const Bytes bytes = [] {
    std::string text(payload_size, '\0');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i % 251);
    return Bytes::adopt(std::move(text));
  }();
  return bytes;
}

bool send_payload(Context& context, StreamId stream, std::uint64_t& left) {
  // Writes take effect after the callback, so the credit is counted down here.
  std::int64_t credit = context.writable_bytes(stream);
  while (credit > 0) {
    const std::uint64_t size = std::min(left, piece);
    left -= size;
    credit -= static_cast<std::int64_t>(size);
    context.write(stream, payload().slice(0, size), left == 0);
    if (left == 0) return true;
  }
  return false;
}

void Server::on_stream_data(Context& context, StreamId stream, Bytes data, bool fin) {
  const auto known = requests_.find(raw(stream));
  if (known == requests_.end() && fin) {
    Request request;
    fill_header(request, data);
    if (request.header_filled < header_size) return context.refuse(stream, short_header);
    return answer(context, stream, wanted_of(request.header));
  }
  Request& request = known == requests_.end() ? requests_[raw(stream)] : known->second;
  fill_header(request, data);
  if (!fin) return;
  const bool is_complete = request.header_filled == header_size;
  const std::uint64_t wanted = wanted_of(request.header);
  requests_.erase(raw(stream));
  if (!is_complete) return context.refuse(stream, short_header);
  answer(context, stream, wanted);
}

void Server::fill_header(Request& request, const Bytes& data) noexcept {
  const std::size_t size = std::min(header_size - request.header_filled, data.size());
  if (size == 0) return;  // a bare fin has no bytes to point at
  std::memcpy(request.header.data() + request.header_filled, data.data(), size);
  request.header_filled += size;
}

void Server::answer(Context& context, StreamId stream, std::uint64_t wanted) {
  if (send_payload(context, stream, wanted)) return;
  requests_[raw(stream)] = Request{.left = wanted, .is_answering = true};
}

void Server::on_writable(Context& context, StreamId stream) {
  const auto known = requests_.find(raw(stream));
  if (known == requests_.end() || !known->second.is_answering) return;
  if (send_payload(context, stream, known->second.left)) requests_.erase(known);
}

void Server::on_stream_reset(Context&, StreamId stream, AppCode) { requests_.erase(raw(stream)); }
void Server::on_stop_sending(Context&, StreamId stream, AppCode) { requests_.erase(raw(stream)); }

}  // namespace riffle::cli::perf
