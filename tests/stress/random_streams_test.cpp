// Four application threads do everything to streams at random, against an echo, byte for byte (ENG-3, STR-3, STR-5;
// the stated proof of issue 3).
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "tests/stress/rig.hpp"

namespace riffle::stress {
namespace {

/// What one stream's echo must be. Whoever gets bytes, the reader or the handler, checks them here.
class Model {
 public:
  explicit Model(std::uint32_t key) : key_(key) {}

  void take(std::string_view bytes, bool is_last) {
    const std::lock_guard hold(lock_);
    if (has_ended_ && !bytes.empty()) add_failure("bytes behind the end");
    if (!Text::is(key_, taken_, bytes)) add_failure("wrong bytes at " + std::to_string(taken_));
    taken_ += bytes.size();
    if (is_last) has_ended_ = true;
    changed_.notify_all();
  }
  /// Held from a read until its bytes were taken: a switch that is on its way may hand the next bytes to the handler in
  /// between, in another thread, and only the order in which both were given out is riffle's.
  std::mutex& order() noexcept { return order_; }
  /// A while, or until it has ended.
  bool wait_for_end(std::chrono::milliseconds time) {
    std::unique_lock hold(lock_);
    return changed_.wait_for(hold, time, [&] { return has_ended_; });
  }
  std::uint64_t taken() const {
    const std::lock_guard hold(lock_);
    return taken_;
  }
  std::string failure() const {
    const std::lock_guard hold(lock_);
    return failure_;
  }

 private:
  void add_failure(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }
  const std::uint32_t key_;
  std::mutex order_;
  mutable std::mutex lock_;
  std::condition_variable changed_;
  std::uint64_t taken_ = 0;
  bool has_ended_ = false;
  std::string failure_;
};

/// The client's handler: active deliveries go to their stream's model.
class Collector : public Handler {
 public:
  void add(StreamId id, std::shared_ptr<Model> model) {
    const std::lock_guard hold(lock_);
    models_[raw(id)] = std::move(model);
  }
  void remove(StreamId id) {
    const std::lock_guard hold(lock_);
    models_.erase(raw(id));
  }
  void on_stream_data(Context&, StreamId id, Bytes bytes, bool is_last) override {
    std::shared_ptr<Model> model;
    {
      const std::lock_guard hold(lock_);
      const auto found = models_.find(raw(id));
      if (found != models_.end()) model = found->second;
    }
    if (!model) return;
    const std::lock_guard in_order(model->order());
    model->take(bytes.view(), is_last);
  }

 private:
  std::mutex lock_;
  std::map<std::uint64_t, std::shared_ptr<Model>> models_;
};

/// Handles that another thread lets go.
class Graveyard {
 public:
  void bury(Stream stream) {
    const std::lock_guard hold(lock_);
    streams_.push_back(std::move(stream));
  }
  void clear() {
    std::vector<Stream> gone;
    {
      const std::lock_guard hold(lock_);
      gone.swap(streams_);
    }
  }

 private:
  std::mutex lock_;
  std::vector<Stream> streams_;
};

struct Tally {
  std::atomic<std::uint64_t> whole{0}, reset{0}, dropped{0}, switches{0}, bytes{0};
};

struct Stage {
  Session with_handler, plain;
  std::shared_ptr<Collector> collector;
  Graveyard graveyard;
  Tally tally;
  Clock::time_point end;
};

/// One stream's life, as one thread leads it.
class Walk {
 public:
  Walk(Stage& stage, std::uint32_t key, std::mt19937& random)
      : stage_(stage),
        random_(random),
        key_(key),
        is_handled_(random() % 2 == 0),
        model_(std::make_shared<Model>(key)) {}

  void run() {
    const Session& session = is_handled_ ? stage_.with_handler : stage_.plain;
    auto opened = session.open();
    ASSERT_TRUE(opened) << opened.error().message();
    stream_ = std::move(*opened);
    const auto id = stream_.wait_open(patience);
    ASSERT_TRUE(id) << id.error().message();
    id_ = *id;
    if (is_handled_) {
      stage_.collector->add(id_, model_);
      if (chance(2)) switch_mode();
    }
    total_ = chance(8) ? 0 : random_() % (chance(4) ? 1'000'000 : 40'000);
    const std::uint64_t turns_until_reset = chance(5) ? random_() % 20 : ~std::uint64_t{0};
    const std::uint64_t turns_until_drop = !is_handled_ && chance(8) ? random_() % 20 : ~std::uint64_t{0};
    const auto give_up = Clock::now() + patience;
    for (std::uint64_t turn = 0; !is_over(); ++turn) {
      ASSERT_LT(Clock::now(), give_up) << "lost: wrote " << written_ << " of " << total_ << ", got " << model_->taken();
      if (turn == turns_until_reset) return reset();
      if (turn == turns_until_drop) return drop();
      step();
    }
    EXPECT_EQ(model_->taken(), total_);
    ++stage_.tally.whole;
    leave();
  }

 private:
  bool chance(std::uint32_t of) { return random_() % of == 0; }
  bool is_over() { return has_finished_ && model_->wait_for_end(0ms); }

  void step() {
    if (!has_finished_) write();
    if (is_handled_ && chance(16)) switch_mode();
    if (chance(64)) {
      ASSERT_TRUE(stream_.set_priority(static_cast<std::uint8_t>(random_() % 256), chance(2)));
    }
    if (chance(64)) {
      EXPECT_LE(stream_.stats().bytes_consumed, total_);
    }
    read();
  }

  void write() {
    std::string piece(std::min<std::uint64_t>(total_ - written_, 1 + random_() % (chance(3) ? 100'000 : 2'000)), '\0');
    Text::fill(key_, written_, piece);
    const bool is_last = written_ + piece.size() == total_;
    if (is_last && chance(2)) {
      finish_by_write(std::move(piece));
      return;
    }
    if (chance(3)) {
      const auto part = stream_.write_some(std::as_bytes(std::span(piece)));
      ASSERT_TRUE(part) << part.error().message();
      written_ += *part;
    } else if (!piece.empty()) {
      const std::size_t size = piece.size();
      const auto status = stream_.try_write(Bytes::adopt(std::move(piece)));
      ASSERT_TRUE(status) << status.error().message();
      if (*status == WriteStatus::accepted) written_ += size;
    }
    if (written_ == total_ && chance(2)) {
      ASSERT_TRUE(stream_.finish());
      has_finished_ = true;
    }
  }

  void finish_by_write(std::string piece) {
    const std::size_t size = piece.size();
    const auto status = stream_.try_write(Bytes::adopt(std::move(piece)), fin);
    ASSERT_TRUE(status) << status.error().message();
    if (*status != WriteStatus::accepted) return;
    written_ += size;
    has_finished_ = true;
  }

  void read() {
    if (model_->wait_for_end(0ms)) return;
    const std::lock_guard in_order(model_->order());
    const std::size_t most = 1 + random_() % 70'000;
    const bool may_wait = chance(4);
    if (chance(2)) {
      const auto got = may_wait ? stream_.read(most, 1ms) : stream_.try_read(most);
      if (got) {
        model_->take(got->data.view(), got->fin || got->status == Read::Status::end_of_stream);
      } else {
        expect_patience(got.error());
      }
    } else {
      buffer_.resize(most);
      const auto to = std::as_writable_bytes(std::span(buffer_));
      const auto got = may_wait ? stream_.read_into(to, 1ms) : stream_.try_read_into(to);
      if (got) {
        model_->take({buffer_.data(), got->size}, got->fin || got->status == Read::Status::end_of_stream);
      } else {
        expect_patience(got.error());
      }
    }
  }

  /// Why a read may have nothing: the handler has the stream, or there is nothing yet.
  void expect_patience(const Error& error) {
    EXPECT_TRUE(error == Code::timed_out || (is_handled_ && error == Code::wrong_mode)) << error.message();
    if (error == Code::wrong_mode) model_->wait_for_end(1ms);
  }

  void switch_mode() {
    constexpr Delivery modes[] = {passive, active, active_once, active_times(3)};
    ASSERT_TRUE(stream_.set_delivery(modes[random_() % std::size(modes)]));
    ++stage_.tally.switches;
  }

  void reset() {
    const Side sides[] = {Side::reading, Side::writing, Side::both};
    ASSERT_TRUE(stream_.shutdown(sides[random_() % 3], AppCode{random_() % 100}));
    ++stage_.tally.reset;
    if (chance(2)) {
      const auto late = stream_.try_write(Bytes::copy("late"));
      EXPECT_TRUE(late || late.error() == Code::stream_finished || late.error() == Code::stream_stopped);
    }
    ASSERT_TRUE(stream_.shutdown(Side::both, AppCode{0}));
    leave();
  }

  void drop() {
    ++stage_.tally.dropped;
    leave();
  }

  void leave() {
    stage_.tally.bytes += model_->taken();
    EXPECT_EQ(model_->failure(), "");
    if (is_handled_) stage_.collector->remove(id_);
    if (chance(2)) {
      stage_.graveyard.bury(std::move(stream_));
    } else {
      stream_ = Stream();
    }
  }

  Stage& stage_;
  std::mt19937& random_;
  const std::uint32_t key_;
  const bool is_handled_;
  const std::shared_ptr<Model> model_;
  Stream stream_;
  StreamId id_{};
  std::string buffer_;
  std::uint64_t total_ = 0;
  std::uint64_t written_ = 0;
  bool has_finished_ = false;
};

TEST(RandomStreams, FourThreadsDoEverythingToTheirStreamsAndEveryByteIsRight) {
  const std::uint32_t chosen = seed();
  const Engine server = Engine::start().value();
  const Engine client = Engine::start().value();
  const Listener listener = server.listen(echo_options()).value();
  Stage stage;
  stage.collector = std::make_shared<Collector>();
  quic::Client handled = client_options(listener);
  handled.handler = stage.collector;
  handled.delivery = passive;
  stage.with_handler = client.connect(handled);
  stage.plain = client.connect(client_options(listener));
  ASSERT_TRUE(stage.with_handler.wait_connected(patience));
  ASSERT_TRUE(stage.plain.wait_connected(patience));
  stage.end = Clock::now() + duration();

  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < 4; ++i) {
    threads.emplace_back([&stage, i, chosen] {
      std::mt19937 random(chosen + i);
      for (std::uint32_t n = 0; Clock::now() < stage.end && !testing::Test::HasFailure(); ++n) {
        Walk(stage, i * 1'000'003 + n, random).run();
        if (random() % 4 == 0) stage.graveyard.clear();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  stage.graveyard.clear();
  EXPECT_TRUE(stage.plain.is_connected());
  EXPECT_TRUE(stage.with_handler.is_connected());
  const Tally& tally = stage.tally;
  std::printf("%llu streams whole, %llu reset, %llu dropped, %llu mode switches, %.1f MB echoed\n",
              static_cast<unsigned long long>(tally.whole), static_cast<unsigned long long>(tally.reset),
              static_cast<unsigned long long>(tally.dropped), static_cast<unsigned long long>(tally.switches),
              static_cast<double>(tally.bytes) / 1e6);
  EXPECT_GT(tally.whole.load(), 10u);
}

}  // namespace
}  // namespace riffle::stress
