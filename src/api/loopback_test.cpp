#include "api/loopback_test.hpp"

#include <thread>

namespace riffle::test {

std::string echo(const Session& session, const std::string& text) {
  auto stream = session.open();
  EXPECT_TRUE(stream) << stream.error().message();
  if (!stream) return {};
  std::thread writer([&] {
    auto written = stream->write(text, fin, patience);
    EXPECT_TRUE(written) << written.error().message();
  });
  auto answer = stream->read_to_end(text.size() + 1, patience);
  writer.join();
  EXPECT_TRUE(answer) << answer.error().message();
  return answer ? std::string(answer->view()) : std::string();
}

namespace {

// HND-5
TEST_F(Loopback, BytesComeBackFromAnEcho) {
  const Listener listener = listen(echo_options());
  const Session session = connect(client_options(listener));
  for (const std::size_t size : {1u, 1000u, 300'000u}) {
    const std::string text = pattern(size);
    EXPECT_TRUE(echo(session, text) == text) << size;
  }
}

TEST_F(ConnectedPair, BothEndsOpenStreamsOfBothKinds) {
  for (const Session* from : {&near, &far}) {
    const Session& to = from == &near ? far : near;
    for (const Direction direction : {bidirectional, unidirectional}) {
      const Stream out = from->open(direction).value();
      ASSERT_TRUE(out.write("hello", fin, patience));
      const Stream in = to.accept_stream(patience).value();
      EXPECT_EQ(in.read_to_end(100, patience)->view(), "hello");
      if (direction == bidirectional) {
        ASSERT_TRUE(in.write("and back", fin, patience));
        EXPECT_EQ(out.read_to_end(100, patience)->view(), "and back");
      }
      // COR-4, RFC 9000 section 2.1: bit 0 names the opener, bit 1 the direction.
      const std::uint64_t expected = (from == &near ? 0u : 1u) + (direction == bidirectional ? 0u : 2u);
      EXPECT_EQ(raw(out.wait_open(patience).value()) & 3, expected);
      EXPECT_EQ(in.id(), out.id());
    }
  }
}

}  // namespace
}  // namespace riffle::test
