// The application's side of a session, without threads: what src/api does with the shared blocks, less the sleeping.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include <riffle/ref.hpp>
#include <riffle/stream.hpp>
#include "meet/session_meet.hpp"
#include "meet/stream_meet.hpp"

namespace riffle::test {

class CountingWaker final : public meet::Wakeable {
 public:
  void wake() noexcept override { ++count; }
  int count = 0;
};

/// A caller that waits. It gives up when it is destroyed unanswered.
template <class T = bool>
class Ask {
 public:
  explicit Ask(meet::Question question)
      : node_(meet::Held<meet::AskingFor<T>>::adopt(new meet::AskingFor<T>(question))) {
    node_->waiter = &waker_;
  }
  Ask(const Ask&) = delete;
  Ask& operator=(const Ask&) = delete;
  ~Ask() { node_->abandon(); }

  Ask& post(meet::SessionMeet& session) { return post(session, session, meet::session_wait); }
  Ask& post(meet::StreamMeet& stream) { return post(stream, *stream.session, meet::stream_wait); }
  /// The deadline has passed. False: the answer came first.
  bool give_up() { return node_->abandon(); }

  int times_answered() const { return waker_.count; }
  bool is_answered() const { return waker_.count != 0; }
  /// Empty: answered with success, or not at all.
  std::optional<Error> error() const { return is_answered() ? node_->error : std::nullopt; }
  bool is_success() const { return is_answered() && !node_->error; }
  std::optional<T>& value() { return node_->value; }

 private:
  template <class Target>
  Ask& post(Target& target, meet::SessionMeet& session, std::uint32_t bit) {
    node_->retain();
    session.asking_count.fetch_add(1);
    target.asking.push(node_.get());
    session.loop->attend(target, bit);
    return *this;
  }

  CountingWaker waker_;
  meet::Held<meet::AskingFor<T>> node_;
};

/// What a read came to: `text`, or `code` of an error, or neither.
struct Got {
  std::string text;
  bool fin = false;  ///< these are the last bytes, or the end itself
  std::optional<Error> error;
  bool is_nothing() const { return text.empty() && !fin && !error; }
  bool is(Code code) const { return error && error->code() == code; }
};

/// A stream's handle.
class AppStream {
 public:
  AppStream() = default;
  explicit AppStream(Ref<meet::StreamMeet> ref) : ref_(std::move(ref)) {}
  explicit operator bool() const { return static_cast<bool>(ref_); }
  meet::StreamMeet& meet() const { return *ref_; }
  StreamId id() const { return StreamId{ref_->id.load()}; }
  bool is_open() const { return ref_->id.load() != meet::StreamMeet::no_id; }
  bool is_finished() const { return ref_->is_finished.load(); }
  meet::WriteState write_state() const { return ref_->write_state.load(); }
  void drop() { ref_ = {}; }

  /// Whole or not at all. False: would_block, or the sending side is over.
  bool write(Bytes data, bool end = false) const;
  bool write(std::string_view text, bool end = false) const { return write(Bytes::copy(text), end); }
  bool finish() const { return write(Bytes{}, true); }
  std::size_t write_some(std::string_view text) const;
  /// One read of at most `max` bytes.
  Got read(std::size_t max = 65536) const;
  /// The same by copying.
  Got read_into(std::size_t max) const;
  /// All that is there, appended. True: that was the end.
  bool drain(std::string& into) const;
  void shutdown(Side side, std::uint64_t code) const;
  void set_delivery(Delivery delivery) const;
  void set_priority(std::uint8_t urgency, bool incremental) const;

 private:
  template <class F>
  meet::Taken attempt(F&& take) const;
  std::optional<Error> error_of(meet::Taken taken) const;

  Ref<meet::StreamMeet> ref_;
};

/// `size` bytes that only `seed` knows.
std::string random_bytes(std::size_t size, std::uint64_t seed);

/// Lent bytes whose release is counted.
class Lender {
 public:
  Bytes lend(std::string text);
  int made = 0;
  int released = 0;
};

}  // namespace riffle::test
