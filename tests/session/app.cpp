#include "tests/session/app.hpp"

#include <algorithm>
#include <cstring>
#include <random>

namespace riffle::test {

bool AppStream::write(Bytes data, bool end) const {
  meet::StreamMeet& stream = *ref_;
  const auto size = static_cast<std::int64_t>(data.size());
  if (stream.write_state.load() != meet::WriteState::open) return false;
  if (size != 0) {
    if (!stream.credit.take(size)) {
      stream.credit.want();
      return false;
    }
    if (!stream.session->credit.take(size)) {
      stream.credit.give_back(size);
      stream.credit.want();
      stream.session->credit.want();
      return false;
    }
  }
  auto open = meet::WriteState::open;
  if (end && !stream.write_state.compare_exchange_strong(open, meet::WriteState::ended)) return false;
  stream.mailbox.push(base::SendBlock::make(std::move(data), end));
  stream.session->loop->attend(stream, meet::stream_write);
  return true;
}

std::size_t AppStream::write_some(std::string_view text) const {
  const std::int64_t part = ref_->credit.take_some(static_cast<std::int64_t>(text.size()));
  const std::int64_t of_session = part != 0 ? ref_->session->credit.take_some(part) : 0;
  ref_->credit.give_back(part - of_session);
  if (of_session == 0) {
    ref_->credit.want();
    ref_->session->credit.want();
    return 0;
  }
  const auto bytes = std::as_bytes(std::span(text)).first(static_cast<std::size_t>(of_session));
  ref_->mailbox.push(base::SendBlock::make_copy(bytes, false));
  ref_->session->loop->attend(*ref_, meet::stream_write);
  return bytes.size();
}

template <class F>
meet::Taken AppStream::attempt(F&& take) const {
  meet::StreamMeet& stream = *ref_;
  bool word = false;
  meet::Taken taken = stream.reading.acquire(word);
  std::uint32_t bits = word ? std::uint32_t{meet::stream_deliver} : 0;
  if (taken == meet::Taken::data) {
    taken = take(stream.reading);
    if (stream.reading.wants_refill()) bits |= meet::stream_refill;
    if (stream.reading.release()) bits |= meet::stream_deliver;
  }
  if (bits != 0) stream.session->loop->attend(stream, bits);
  return taken;
}

std::optional<Error> AppStream::error_of(meet::Taken taken) const {
  switch (taken) {
    case meet::Taken::wrong_mode:
      return Error(Code::wrong_mode);
    case meet::Taken::concurrent_read:
      return Error(Code::concurrent_read);
    case meet::Taken::reset:
      return Error::with_wire(Code::stream_reset, ref_->reading.end_code());
    case meet::Taken::closed: {
      const auto told = static_cast<std::uint16_t>(ref_->reading.end_code());
      return Error(told != 0 ? Code{told} : Code::closed);
    }
    default:
      return std::nullopt;
  }
}

Got AppStream::read(std::size_t max) const {
  Got got;
  Bytes bytes;
  const meet::Taken taken = attempt([&](meet::ReadPath& reading) {
    const meet::Taken what = reading.take(max, bytes);
    got.fin = reading.at_fin();
    return what;
  });
  got.text = bytes.view();
  got.error = error_of(taken);
  return got;
}

Got AppStream::read_into(std::size_t max) const {
  Got got;
  std::string to(max, '\0');
  std::size_t size = 0;
  const meet::Taken taken = attempt([&](meet::ReadPath& reading) {
    const meet::Taken what = reading.take_into(std::as_writable_bytes(std::span(to)), size);
    got.fin = reading.at_fin();
    return what;
  });
  to.resize(size);
  got.text = std::move(to);
  got.error = error_of(taken);
  return got;
}

bool AppStream::drain(std::string& into) const {
  for (;;) {
    const Got got = read();
    into += got.text;
    if (got.fin) return true;
    if (got.text.empty()) return false;
  }
}

void AppStream::shutdown(Side side, std::uint64_t code) const {
  std::uint32_t bits = 0;
  if (side != Side::reading) {
    ref_->reset_code.store(code);
    bits |= meet::stream_reset;
    auto open = meet::WriteState::open;
    ref_->write_state.compare_exchange_strong(open, meet::WriteState::reset);
  }
  if (side != Side::writing) {
    ref_->stop_code.store(code);
    bits |= meet::stream_stop;
  }
  ref_->session->loop->attend(*ref_, bits);
}

void AppStream::set_delivery(Delivery delivery) const {
  ref_->wanted_delivery.store(meet::StreamMeet::pack(delivery));
  ref_->session->loop->attend(*ref_, meet::stream_mode);
}

void AppStream::set_priority(std::uint8_t urgency, bool incremental) const {
  ref_->priority.store(static_cast<std::uint32_t>(urgency) << 1 | (incremental ? 1u : 0u));
  ref_->session->loop->attend(*ref_, meet::stream_priority);
}

std::string random_bytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(&bytes[i], &word, std::min<std::size_t>(8, size - i));
  }
  return bytes;
}

Bytes Lender::lend(std::string text) {
  struct Loan {
    std::string text;
    Lender* lender;
  };
  auto* loan = new Loan{std::move(text), this};
  ++made;
  return Bytes::lend(
      loan->text.data(), loan->text.size(),
      [](void* context) noexcept {
        auto* back = static_cast<Loan*>(context);
        ++back->lender->released;
        delete back;
      },
      loan);
}

}  // namespace riffle::test
