#include "net/resolver.hpp"
#include "net/udp_socket.hpp"
#include "quiche/quiche_stack.hpp"
#include "shell/platform.hpp"

namespace riffle::shell {
namespace {

class RealPlatform final : public Platform {
 public:
  Result<std::unique_ptr<runtime::Poller>> make_poller(const EngineOptions& options) override {
    return runtime::make_epoll_poller(options.eventfd);
  }
  Result<std::unique_ptr<net::DatagramPort>> open_udp(const Address& local, std::optional<Address> peer,
                                                      const net::DatagramOptions& options) override {
    auto socket = net::UdpSocket::open(local, peer, options);
    if (!socket) return std::unexpected(socket.error());
    return std::unique_ptr<net::DatagramPort>(std::move(*socket));
  }
  void resolve(const HostPort& target, Resolved answer) override {
    // The resolver does not call back when it refuses, and the callback has moved by then: share it.
    auto shared = std::make_shared<Resolved>(std::move(answer));
    const auto begun =
        resolver_.look_up(target, [shared](Result<std::vector<Address>> result) { (*shared)(std::move(result)); });
    if (!begun) (*shared)(std::unexpected(begun.error()));
  }
  core::QuicStack& quic() override { return quic_; }

 private:
  quiche::QuicheStack quic_;
  net::Resolver resolver_;
};

}  // namespace

std::unique_ptr<Platform> make_real_platform() { return std::make_unique<RealPlatform>(); }

}  // namespace riffle::shell
