// A stream's plain calls from threads of the application (ENG-4, ENG-5, STR-2, STR-5, STR-6, HND-5).
#include <array>
#include <atomic>
#include <thread>

#include "api/loopback_test.hpp"

namespace riffle::test {
namespace {

/// A pair of sessions, and one stream between them.
class OneStream : public ConnectedPair {
 protected:
  void SetUp() override {
    ConnectedPair::SetUp();
    out = near.open().value();
    ASSERT_TRUE(out.write("!", Fin::no, patience));
    in = far.accept_stream(patience).value();
    ASSERT_EQ(in.read(10, patience)->data.view(), "!");
  }
  Stream out, in;
};

TEST_F(OneStream, EveryWayToWriteKeepsTheOrder) {
  ASSERT_TRUE(out.write("a"));
  ASSERT_TRUE(out.write(Bytes::copy("b"), Fin::no, patience));
  ASSERT_EQ(out.try_write(Bytes::copy("c")).value(), WriteStatus::accepted);
  const std::string text = "d";
  ASSERT_EQ(out.try_write(std::as_bytes(std::span(text))).value(), WriteStatus::accepted);
  ASSERT_EQ(out.write_some(std::as_bytes(std::span(text))).value(), 1u);
  const std::array pieces{Bytes::copy("e"), Bytes::copy("f"), Bytes()};
  ASSERT_TRUE(out.write_gather(pieces, fin, patience));
  EXPECT_EQ(in.read_to_end(100, patience)->view(), "abcddef");
}

TEST_F(OneStream, EveryWayToReadTakesWhatItWasAskedTo) {
  ASSERT_TRUE(out.write("0123456789", Fin::no, patience));
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (in.stats().receive_buffered < 10 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  EXPECT_EQ(in.read(2, patience)->data.view(), "01");
  std::array<char, 3> to{};
  EXPECT_EQ(in.read_into(std::as_writable_bytes(std::span(to)), patience)->size, 3u);
  EXPECT_EQ(std::string_view(to.data(), 3), "234");
  EXPECT_EQ(in.try_read(100)->data.view(), "56789");
  EXPECT_EQ(in.try_read(100)->status, Read::Status::would_block);
  EXPECT_EQ(in.try_read_into(std::as_writable_bytes(std::span(to)))->status, Read::Status::would_block);
  EXPECT_EQ(in.read(100, 1ms).error().code(), Code::timed_out);
  EXPECT_EQ(in.read(0, 1ms).error().code(), Code::invalid_argument);
  EXPECT_EQ(in.read_into({}, 1ms).error().code(), Code::invalid_argument);
  ASSERT_TRUE(out.finish());
  EXPECT_EQ(in.read(100, patience)->status, Read::Status::end_of_stream);
  EXPECT_EQ(in.read(100, patience)->status, Read::Status::end_of_stream) << "and again";
  EXPECT_EQ(in.read_into(std::as_writable_bytes(std::span(to)), patience)->status, Read::Status::end_of_stream);
}

TEST_F(OneStream, ReadToEndKeepsToItsBound) {
  ASSERT_TRUE(out.write(pattern(1000), fin, patience));
  EXPECT_EQ(in.read_to_end(999, patience).error().code(), Code::too_large);
}

TEST_F(OneStream, ReadToEndKeepsToItsTime) {
  ASSERT_TRUE(out.write("no end", Fin::no, patience));
  EXPECT_EQ(in.read_to_end(999, 10ms).error().code(), Code::timed_out);
}

TEST_F(OneStream, NothingIsWrittenBehindAFin) {
  ASSERT_TRUE(out.finish());
  EXPECT_EQ(out.finish().error().code(), Code::stream_finished);
  EXPECT_EQ(out.write("x", Fin::no, patience).error().code(), Code::stream_finished);
  EXPECT_EQ(out.write_some(std::as_bytes(std::span("x", 1))).error().code(), Code::stream_finished);
  EXPECT_EQ(in.read(10, patience)->status, Read::Status::end_of_stream);
}

TEST_F(OneStream, FlushedMeansAcknowledged) {
  // ENG-4
  ASSERT_TRUE(out.write(pattern(100'000), fin, patience));
  ASSERT_TRUE(in.read_to_end(100'000, patience));
  ASSERT_TRUE(out.wait_flushed(patience));
  EXPECT_EQ(out.stats().bytes_acknowledged, 100'001u);
  EXPECT_EQ(out.stats().send_buffered, 0u);
}

TEST_F(OneStream, LentBytesAreGivenBackOnceAndOnlyAfterTheirLastUse) {
  // ENG-4: "not copied on the way to the transport"; the same buffer on many streams.
  static std::atomic<int> released;
  released = 0;
  const std::string text = pattern(300'000);
  {
    const Bytes lent = Bytes::lend(
        text.data(), text.size(), [](void* count) noexcept { ++*static_cast<std::atomic<int>*>(count); }, &released);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(near.open(unidirectional)->write(lent, fin, patience));
    EXPECT_EQ(released.load(), 0);
  }
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(far.accept_stream(patience)->read_to_end(text.size(), patience)->view() == text);
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (released.load() == 0 && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
  EXPECT_EQ(released.load(), 1);
}

TEST_F(OneStream, ManyWritersDoNotMixTheirWrites) {
  // Each write is atomic, in order of arrival.
  constexpr std::size_t record = 100;
  std::vector<std::thread> writers;
  for (char name = 'a'; name < 'e'; ++name) {
    writers.emplace_back([this, name] {
      for (int i = 0; i < 500; ++i) EXPECT_TRUE(out.write(std::string(record, name), Fin::no, patience));
    });
  }
  std::string got;
  while (got.size() < 4 * 500 * record) got += in.read(1 << 20, patience)->data.view();
  for (std::thread& writer : writers) writer.join();
  for (std::size_t at = 0; at < got.size(); at += record) {
    ASSERT_EQ(got.compare(at, record, std::string(record, got[at])), 0) << at;
  }
}

TEST_F(OneStream, ASecondReaderIsTurnedAway) {
  // STR-5: one consumer at a time.
  std::atomic<int> refused{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      const auto read = in.read(10, patience);
      if (!read && read.error() == Code::concurrent_read) {
        ++refused;
        EXPECT_TRUE(out.write("for the other", fin, patience));
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(refused.load(), 1);
}

TEST_F(OneStream, AResetReachesTheReaderAndAStopTheWriter) {
  // STR-6
  ASSERT_TRUE(out.shutdown(Side::writing, AppCode{21}));
  const auto read = in.read(10, patience);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Code::stream_reset);
  EXPECT_EQ(read.error().wire(), 21u);
  EXPECT_EQ(out.write("x", Fin::no, patience).error().code(), Code::stream_finished);

  ASSERT_TRUE(out.shutdown(Side::reading, AppCode{22}));
  EXPECT_EQ(out.read(10, patience).error().code(), Code::closed);
  const auto give_up = std::chrono::steady_clock::now() + patience;
  Result<WriteStatus> written = WriteStatus::accepted;
  while (written && std::chrono::steady_clock::now() < give_up) written = in.try_write(Bytes::copy("y"));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code(), Code::stream_stopped);
  EXPECT_EQ(written.error().wire(), 22u);
  EXPECT_EQ(in.wait_writable(patience).error().code(), Code::stream_stopped);
}

TEST_F(ConnectedPair, AStreamThatMovedNoDataIsShutDownAllTheSame) {
  const Stream stream = near.open().value();
  EXPECT_TRUE(stream.shutdown(Side::both, AppCode{1}));
  EXPECT_EQ(stream.read(1, patience).error().code(), Code::closed);
  EXPECT_TRUE(near.is_connected());
}

TEST_F(OneStream, ReadableAndWritableStreamsAreListed) {
  ASSERT_TRUE(out.write("to read", Fin::no, patience));
  const auto give_up = std::chrono::steady_clock::now() + patience;
  std::vector<StreamId> readable;
  while (readable.empty() && std::chrono::steady_clock::now() < give_up)
    readable = far.readable_streams(patience).value();
  EXPECT_EQ(readable, std::vector{in.id().value()});
  EXPECT_EQ(near.writable_streams(patience).value(), std::vector{out.id().value()});
  EXPECT_TRUE(near.readable_streams(patience)->empty());
}

TEST_F(OneStream, ActiveDeliveryNeedsAHandler) {
  EXPECT_EQ(in.set_delivery(active).error().code(), Code::unsupported);
  EXPECT_TRUE(in.set_delivery(passive));
  EXPECT_TRUE(in.set_priority(0, true));
}

TEST_F(OneStream, AStreamIsFinishedWhenBothSidesAre) {
  ASSERT_TRUE(out.finish());
  ASSERT_EQ(in.read(10, patience)->status, Read::Status::end_of_stream);
  EXPECT_FALSE(in.is_finished());
  ASSERT_TRUE(in.write("answer", fin, patience));
  EXPECT_EQ(out.read_to_end(10, patience)->view(), "answer");
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (!(in.is_finished() && out.is_finished()) && std::chrono::steady_clock::now() < give_up)
    std::this_thread::yield();
  EXPECT_TRUE(in.is_finished());
  EXPECT_TRUE(out.is_finished());
}

TEST_F(OneStream, TheLastHandleEndsBothSidesWithCodeZero) {
  in = Stream();
  const auto read = out.read(10, patience);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Code::stream_reset);
  EXPECT_EQ(read.error().wire(), 0u);
}

}  // namespace
}  // namespace riffle::test
