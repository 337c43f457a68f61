// Every callback of a handler, and every action of its context (HND-1, HND-2), over real sockets.
#include <memory>
#include <optional>
#include <string>

#include "api/loopback_test.hpp"

namespace riffle::test {
namespace {

/// Leaves a note of everything, with its arguments.
struct Witness : Handler {
  std::function<void(Context&)> connected;
  std::function<void(Context&, StreamId)> opened;
  std::function<void(Context&, StreamId)> readable;
  std::function<void(Context&, StreamId, Bytes, bool)> data;
  std::function<void(Context&, StreamId)> used_up;
  Notes notes;

  void on_connected(Context& c) override {
    notes.add("connected");
    if (connected) connected(c);
  }
  void on_stream_opened(Context& c, StreamId id, Direction way) override {
    notes.add("opened " + std::to_string(raw(id)) + (way == bidirectional ? " bidirectional" : " unidirectional"));
    if (opened) opened(c, id);
  }
  void on_stream_readable(Context& c, StreamId id) override {
    notes.add("readable " + std::to_string(raw(id)));
    if (readable) readable(c, id);
  }
  void on_stream_data(Context& c, StreamId id, Bytes bytes, bool is_last) override {
    notes.add("data " + std::to_string(raw(id)) + (is_last ? " fin" : ""));
    if (data) data(c, id, std::move(bytes), is_last);
  }
  void on_stream_finished(Context&, StreamId id) override { notes.add("finished " + std::to_string(raw(id))); }
  void on_writable(Context&, StreamId id) override { notes.add("writable " + std::to_string(raw(id))); }
  void on_flushed(Context&, StreamId id) override { notes.add("flushed " + std::to_string(raw(id))); }
  void on_write_failed(Context&, StreamId id, const Error& error) override {
    notes.add("write failed " + std::to_string(raw(id)) + " " + std::string(error.name()));
  }
  void on_stream_reset(Context&, StreamId id, AppCode code) override {
    notes.add("reset " + std::to_string(raw(id)) + " " + std::to_string(raw(code)));
  }
  void on_stop_sending(Context&, StreamId id, AppCode code) override {
    notes.add("stop " + std::to_string(raw(id)) + " " + std::to_string(raw(code)));
  }
  void on_deliveries_used_up(Context& c, StreamId id) override {
    notes.add("used up " + std::to_string(raw(id)));
    if (used_up) used_up(c, id);
  }
  void on_draining(Context&) override { notes.add("draining"); }
  void on_closed(Context&, const CloseReason&) override { notes.add("closed"); }
};

/// A server with a witness, and a client whose side the test plays by plain calls.
class Handled : public Loopback {
 protected:
  void start(std::optional<Delivery> delivery = std::nullopt) {
    quic::Server options = server_options();
    options.handler = [this](const Peer&) { return witness; };
    options.delivery = delivery;
    listener = listen(options);
    session = connect(client_options(listener));
  }
  std::shared_ptr<Witness> witness = std::make_shared<Witness>();
  Listener listener;
  Session session;
};

TEST_F(Handled, DataFlushedAndFinishedAreTold) {
  witness->data = [](Context& c, StreamId id, Bytes bytes, bool is_last) { c.write(id, std::move(bytes), is_last); };
  start();
  const Stream stream = session.open().value();
  ASSERT_TRUE(stream.write("hello", fin, patience));
  EXPECT_EQ(stream.read_to_end(10, patience)->view(), "hello");
  for (const char* note : {"connected", "opened 0 bidirectional", "data 0 fin", "flushed 0", "finished 0"}) {
    EXPECT_TRUE(witness->notes.wait_for(note)) << note;
  }
  EXPECT_EQ(witness->notes.count("finished 0"), 1);
}

TEST_F(Handled, TheKindOfAStreamIsTold) {
  start();
  ASSERT_TRUE(session.open(unidirectional)->write("one way", fin, patience));
  EXPECT_TRUE(witness->notes.wait_for("opened 2 unidirectional"));
  EXPECT_TRUE(witness->notes.wait_for("data 2 fin"));
  EXPECT_TRUE(witness->notes.wait_for("finished 2"));
}

TEST_F(Handled, ResetsAndStopsAreToldWithTheirCodes) {
  start();
  const Stream stream = session.open().value();
  ASSERT_TRUE(stream.write("x", Fin::no, patience));
  ASSERT_TRUE(witness->notes.wait_for("data 0"));
  ASSERT_TRUE(stream.shutdown(Side::writing, AppCode{11}));
  EXPECT_TRUE(witness->notes.wait_for("reset 0 11"));
  ASSERT_TRUE(stream.shutdown(Side::reading, AppCode{12}));
  EXPECT_TRUE(witness->notes.wait_for("stop 0 12"));
}

TEST_F(Handled, AWriteBehindTheFinFailsAloud) {
  witness->data = [](Context& c, StreamId id, Bytes bytes, bool) {
    if (bytes.view() == "1") c.finish(id);
    if (bytes.view() == "2") c.write(id, "behind the fin");
  };
  start();
  const Stream stream = session.open().value();
  ASSERT_TRUE(stream.write("1", Fin::no, patience));
  ASSERT_TRUE(stream.read_to_end(10, patience));
  ASSERT_TRUE(stream.write("2", Fin::no, patience));
  EXPECT_TRUE(witness->notes.wait_for("write failed 0 stream_finished"));
}

TEST_F(Handled, APassiveStreamIsReadWhenItIsReadable) {
  std::string got;
  witness->readable = [&](Context& c, StreamId id) {
    for (;;) {
      const auto read = c.read(id, 3);
      if (!read || read->status != Read::Status::data) break;
      EXPECT_LE(read->data.size(), 3u);
      got += read->data.view();
      if (read->fin) c.write(id, got, fin);
    }
  };
  start(passive);
  const Stream stream = session.open().value();
  ASSERT_TRUE(stream.write("0123456789", fin, patience));
  EXPECT_EQ(stream.read_to_end(100, patience)->view(), "0123456789");
  EXPECT_EQ(witness->notes.count("data 0"), 0);
}

TEST_F(Handled, ActiveNIsUsedUpAndGoesOnWhenAskedTo) {
  witness->data = [](Context& c, StreamId id, Bytes bytes, bool is_last) { c.write(id, std::move(bytes), is_last); };
  witness->used_up = [](Context& c, StreamId id) { c.set_delivery(id, active_times(2)); };
  start(active_times(2));
  const Stream stream = session.open().value();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(stream.write("ping", Fin::no, patience));
    std::string answer;
    while (answer.size() < 4) answer += stream.read(4, patience)->data.view();
    EXPECT_EQ(answer, "ping");
  }
  EXPECT_TRUE(witness->notes.wait_for("used up 0", 2));
}

TEST_F(Handled, AHandlerOpensWritesAndIsToldOfCredit) {
  // HND-2: open, send data, priority; HND-1: writable once there is credit again.
  const std::string text = pattern(2'000'000);
  witness->connected = [&](Context& c) {
    const StreamId id = c.open().value();
    c.set_priority(id, 3, true);
    EXPECT_GT(c.writable_bytes(id), 0);
    c.write(id, Bytes::copy(text));
    EXPECT_LE(c.writable_bytes(id), 0);
    c.finish(id);
    const StreamId way = c.open(unidirectional).value();
    c.write(way, "one way", fin);
  };
  start();
  const Stream in = session.accept_stream(patience).value();
  const Stream second = session.accept_stream(patience).value();
  EXPECT_TRUE(in.read_to_end(text.size(), patience)->view() == text);
  EXPECT_EQ(second.read_to_end(100, patience)->view(), "one way");
  EXPECT_EQ(raw(in.id().value()), 1u);
  EXPECT_EQ(raw(second.id().value()), 3u);
}

TEST_F(Handled, WritableComesOnceAfterCreditWasUsedUp) {
  witness->connected = [&](Context& c) { c.write(c.open().value(), Bytes::copy(pattern(3'000'000))); };
  start();
  const Stream in = session.accept_stream(patience).value();
  std::size_t got = 0;
  while (got < 3'000'000) got += in.read(1 << 20, patience)->data.size();
  ASSERT_TRUE(witness->notes.wait_for("flushed 1"));
  EXPECT_EQ(witness->notes.count("writable 1"), 1);
}

TEST_F(Handled, AHandlerRefusesAStreamWithACode) {
  witness->opened = [](Context& c, StreamId id) { c.refuse(id, AppCode{99}); };
  start();
  const Stream stream = session.open().value();
  ASSERT_TRUE(stream.write("x", Fin::no, patience));
  const auto read = stream.read(10, patience);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Code::stream_reset);
  EXPECT_EQ(read.error().wire(), 99u);
  const auto give_up = std::chrono::steady_clock::now() + patience;
  Result<WriteStatus> written = WriteStatus::accepted;
  while (written && std::chrono::steady_clock::now() < give_up) written = stream.try_write(Bytes::copy("y"));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code(), Code::stream_stopped) << written.error().message();
  EXPECT_EQ(written.error().wire(), 99u);
}

TEST_F(Handled, AHandlerGivesStreamsAndSessionsToOtherThreads) {
  std::optional<Session> given;
  std::optional<Stream> stream_given;
  witness->opened = [&](Context& c, StreamId id) {
    c.set_delivery(id, passive);
    given = c.session();
    stream_given = c.stream(id);
    witness->notes.add("given");
  };
  start();
  const Stream stream = session.open().value();
  ASSERT_TRUE(stream.write("for a thread", fin, patience));
  ASSERT_TRUE(witness->notes.wait_for("given"));
  EXPECT_EQ(stream_given->read_to_end(100, patience)->view(), "for a thread");
  ASSERT_TRUE(stream_given->write("from a thread", fin, patience));
  EXPECT_EQ(stream.read_to_end(100, patience)->view(), "from a thread");
  EXPECT_EQ(given->info(patience)->role, Role::server);
  EXPECT_EQ(given->accept_stream(patience).error().code(), Code::unsupported);
}

TEST_F(Handled, OpenTellsOfThePeersLimit) {
  Code code{};
  witness->connected = [&](Context& c) {
    while (c.open()) {
    }
    code = c.open().error().code();
    witness->notes.add("full");
  };
  start();
  ASSERT_TRUE(witness->notes.wait_for("full"));
  EXPECT_EQ(code, Code::would_block);
}

}  // namespace
}  // namespace riffle::test
