#include "shell/forward/incoming.hpp"

#include <utility>

namespace riffle::forwarding {

Incoming::Incoming(Pump& pump, Owner& owner, Stream stream, Ref<Notice> notice, Duration connect_timeout)
    : pump_(pump),
      owner_(owner),
      stream_(std::move(stream)),
      notice_(std::move(notice)),
      connect_timeout_(connect_timeout) {
  notice_->target = this;
}

Incoming::~Incoming() {
  stop_connecting();
  if (notice_) notice_->link->forget(*notice_);
}

void Incoming::on_notice(std::uint32_t happened) noexcept {
  if ((happened & stream_readable) != 0 && stage_ == Stage::header) read_header();
}

void Incoming::read_header() noexcept {
  stage_ = Stage::header;
  while (!header_.wanted().empty()) {
    const auto read = stream_.try_read_into(header_.wanted());
    if (read && read->status == Read::Status::would_block) return;
    if (read) header_.on_filled(read->size);
    if (!read || (read->size == 0 && read->status == Read::Status::end_of_stream)) break;
  }
  if (header_.is_complete()) {
    on_header();
  } else {
    stage_ = Stage::decided;
    owner_.on_broken(*this);
  }
}

void Incoming::on_header() noexcept {
  target_ = header_.target();
  if (!owner_.allows(target_)) return refuse(forward::Refusal::not_allowed);
  const auto name = HostPort::parse(target_);
  if (!name) return refuse(forward::Refusal::unresolvable);
  stage_ = Stage::resolving;
  if (!owner_.resolve(*this, *name)) refuse(forward::Refusal::busy);
}

void Incoming::on_resolved(std::vector<Address> addresses) noexcept {
  if (stage_ != Stage::resolving) return;
  if (addresses.empty()) return refuse(forward::Refusal::unresolvable);
  addresses_ = std::move(addresses);
  stage_ = Stage::connecting;
  connect_next();
}

void Incoming::connect_next() noexcept {
  while (next_address_ < addresses_.size()) {
    auto socket = net::TcpSocket::connect(addresses_[next_address_++]);
    if (!socket && socket.error() == Code::descriptors_exhausted) return refuse(forward::Refusal::busy);
    if (!socket) continue;
    if (!pump_.poller().add(socket->handle(), *this, false, true)) return refuse(forward::Refusal::busy);
    connecting_ = std::move(*socket);
    // An address that answers nothing leaves the others their share of the time.
    pump_.arm(*this, connect_timeout_ / static_cast<std::int64_t>(addresses_.size()));
    return;
  }
  refuse(forward::Refusal::unreachable);
}

void Incoming::on_ready(bool, bool) noexcept {
  if (!connecting_) return;
  const auto connected = connecting_->connect_result();
  if (connected && !*connected) return;
  pump_.disarm(*this);
  pump_.poller().remove(connecting_->handle());
  net::TcpSocket socket = std::move(*connecting_);
  connecting_.reset();
  if (connected) {
    stage_ = Stage::decided;
    owner_.on_connected(*this, std::move(socket));
  } else {
    connect_next();
  }
}

void Incoming::on_deadline() noexcept {
  stop_connecting();
  connect_next();
}

void Incoming::stop_connecting() noexcept {
  pump_.disarm(*this);
  if (!connecting_) return;
  pump_.poller().remove(connecting_->handle());
  connecting_.reset();
}

void Incoming::refuse(forward::Refusal refusal) noexcept {
  stage_ = Stage::decided;
  owner_.on_refused(*this, refusal);
}

}  // namespace riffle::forwarding
