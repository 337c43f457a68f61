// Two engines on loopback, for the tests of the public handles: real sockets, certificates made on the spot, no fixed
// port, no sleep.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <riffle/riffle.hpp>

namespace riffle::test {

using namespace std::chrono_literals;

/// How long anything may take before it counts as lost: far above what a busy machine needs.
inline constexpr Timeout patience = std::chrono::seconds(20);

/// A certificate for the names that loopback has. Made once for the program.
inline const Certificate& identity() {
  static const Certificate made = make_self_signed({"localhost", "127.0.0.1", "::1", "riffle.test"}).value();
  return made;
}

/// What happened, told by a loop thread, awaited by the test's.
class Notes {
 public:
  void add(std::string note) {
    const std::lock_guard hold(lock_);
    notes_.push_back(std::move(note));
    changed_.notify_all();
  }
  /// Waits until `note` has come `times` times.
  bool wait_for(std::string_view note, std::ptrdiff_t times = 1) {
    std::unique_lock hold(lock_);
    return changed_.wait_for(hold, patience, [&] { return std::count(notes_.begin(), notes_.end(), note) >= times; });
  }
  std::vector<std::string> all() const {
    const std::lock_guard hold(lock_);
    return notes_;
  }
  std::ptrdiff_t count(std::string_view note) const {
    const std::lock_guard hold(lock_);
    return std::count(notes_.begin(), notes_.end(), note);
  }

 private:
  mutable std::mutex lock_;
  std::condition_variable changed_;
  std::vector<std::string> notes_;
};

/// A handler whose callbacks a test fills in; each leaves a note with its name.
class Script : public Handler {
 public:
  std::function<void(Context&)> connected;
  std::function<void(Context&, StreamId)> opened;
  std::function<void(Context&, StreamId, Bytes, bool)> data;
  std::function<void(Context&, StreamId)> writable;
  std::function<void(Context&, StreamId)> finished;
  std::function<void(Context&, const CloseReason&)> closed;
  Notes notes;

  void on_connected(Context& c) override {
    notes.add("connected");
    if (connected) connected(c);
  }
  void on_stream_opened(Context& c, StreamId id, Direction) override {
    notes.add("opened");
    if (opened) opened(c, id);
  }
  void on_stream_data(Context& c, StreamId id, Bytes bytes, bool is_last) override {
    notes.add("data");
    if (data) data(c, id, std::move(bytes), is_last);
  }
  void on_writable(Context& c, StreamId id) override {
    notes.add("writable");
    if (writable) writable(c, id);
  }
  void on_stream_finished(Context& c, StreamId id) override {
    notes.add("finished");
    if (finished) finished(c, id);
  }
  void on_flushed(Context&, StreamId) override { notes.add("flushed"); }
  void on_draining(Context&) override { notes.add("draining"); }
  void on_closed(Context& c, const CloseReason& reason) override {
    notes.add("closed");
    if (closed) closed(c, reason);
  }
};

struct Echo : Handler {
  void on_stream_data(Context& c, StreamId id, Bytes bytes, bool is_last) override {
    c.write(id, std::move(bytes), is_last);
  }
};

/// A server without a handler: the test accepts.
inline quic::Server server_options(std::string address = "127.0.0.1:0") {
  return {.address = std::move(address), .certificate = identity(), .alpn = {"test"}};
}

inline quic::Server echo_options(std::string address = "127.0.0.1:0") {
  quic::Server options = server_options(std::move(address));
  options.handler = [](const Peer&) { return std::make_shared<Echo>(); };
  return options;
}

inline quic::Client client_options(const Listener& listener) {
  return {.address = "127.0.0.1:" + std::to_string(listener.address().port),
          .trust = pinned(pin_of(identity()).value()),
          .alpn = {"test"}};
}

/// A server's engine and a client's, each with a loop thread.
class Loopback : public testing::Test {
 protected:
  Listener listen(quic::Server options) {
    auto listener = server.listen(std::move(options));
    EXPECT_TRUE(listener) << listener.error().message();
    return listener ? *listener : Listener();
  }
  Session connect(quic::Client options) {
    Session session = client.connect(std::move(options));
    auto connected = session.wait_connected(patience);
    EXPECT_TRUE(connected) << connected.error().message();
    return session;
  }
  /// The error that `options` come to.
  Error connect_error(quic::Client options) {
    auto connected = client.connect(std::move(options)).wait_connected(patience);
    return connected ? Error(Code::internal, "it connected") : connected.error();
  }

  Engine server = Engine::start().value();
  Engine client = Engine::start().value();
};

/// A connected pair without handlers: both ends in the test's hands.
class ConnectedPair : public Loopback {
 protected:
  void SetUp() override {
    listener = listen(server_options());
    near = connect(client_options(listener));
    far = listener.accept(patience).value();
  }
  Listener listener;
  Session near, far;
};

/// Bytes that tell their place.
inline std::string pattern(std::size_t size, std::uint32_t seed = 1) {
  std::string text(size, '\0');
  std::uint32_t state = seed * 2654435761u + 1;
  for (char& c : text) {
    state = state * 1664525u + 1013904223u;
    c = static_cast<char>(state >> 24);
  }
  return text;
}

/// Sends `text` on a new stream while another thread reads the answer.
std::string echo(const Session& session, const std::string& text);

}  // namespace riffle::test
