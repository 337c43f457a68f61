#include "net/resolver.hpp"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string>
#include <string_view>

#include "net/socket_address.hpp"

namespace riffle::net {
namespace {

bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

bool is_localhost(std::string_view host) noexcept {
  if (host.ends_with('.')) host.remove_suffix(1);
  constexpr std::string_view name = "localhost";
  if (host.size() < name.size() || !equals_ignoring_case(host.substr(host.size() - name.size()), name)) return false;
  return host.size() == name.size() || host[host.size() - name.size() - 1] == '.';
}

/// The index of an interface by its number or name; 0 if there is none.
std::uint32_t zone_index(const std::string& zone) noexcept {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(zone.data(), zone.data() + zone.size(), number);
  if (error == std::errc{} && end == zone.data() + zone.size()) return number;
  return if_nametoindex(zone.c_str());
}

std::optional<Address> numeric(const HostPort& target) noexcept {
  in_addr v4{};
  if (inet_pton(AF_INET, target.host.c_str(), &v4) == 1) return from_in4(v4, target.port);
  const auto percent = target.host.find('%');
  const std::uint32_t zone = percent == std::string::npos ? 0 : zone_index(target.host.substr(percent + 1));
  if (percent != std::string::npos && zone == 0) return std::nullopt;
  in6_addr v6{};
  if (inet_pton(AF_INET6, target.host.substr(0, percent).c_str(), &v6) != 1) return std::nullopt;
  return from_in6(v6, target.port, zone);
}

std::optional<Address> address_of(const addrinfo& entry, std::uint16_t port) noexcept {
  SocketAddress name;
  if (entry.ai_addr == nullptr || entry.ai_addrlen > sizeof name.v6) return std::nullopt;
  std::copy_n(reinterpret_cast<const std::byte*>(entry.ai_addr), entry.ai_addrlen,
              reinterpret_cast<std::byte*>(&name.v6));
  Address address = from_socket_address(name);
  if (address.family == Address::Family::none) return std::nullopt;
  address.port = port;
  return address;
}

}  // namespace

const NameCalls& NameCalls::real() noexcept {
  static constexpr NameCalls calls{.getaddrinfo = ::getaddrinfo, .freeaddrinfo = ::freeaddrinfo};
  return calls;
}

std::optional<std::vector<Address>> resolve_locally(const HostPort& target) {
  if (is_localhost(target.host)) {
    return std::vector<Address>{Address::loopback_v6(target.port), Address::loopback_v4(target.port)};
  }
  if (const auto address = numeric(target)) return std::vector<Address>{*address};
  return std::nullopt;
}

Result<std::vector<Address>> resolve(const HostPort& target, const NameCalls& calls) {
  if (target.host.empty()) return fail(Code::invalid_argument, "'" + target.to_string() + "' names no host");
  if (auto local = resolve_locally(target)) return std::move(*local);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_DGRAM;  // one entry for each address, not one for each kind of socket
  hints.ai_flags = AI_ADDRCONFIG;  // no IPv6 results for a machine without IPv6
  addrinfo* list = nullptr;
  const int error = calls.getaddrinfo(target.host.c_str(), nullptr, &hints, &list);
  if (error == EAI_SYSTEM) return std::unexpected(Error::with_errno(Code::name_not_found, errno, target.host));
  if (error != 0) return fail(Code::name_not_found, target.host + ": " + gai_strerror(error));
  std::vector<Address> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    const auto address = address_of(*entry, target.port);
    if (address && std::find(addresses.begin(), addresses.end(), *address) == addresses.end()) {
      addresses.push_back(*address);
    }
  }
  calls.freeaddrinfo(list);
  if (addresses.empty()) return fail(Code::name_not_found, target.host + ": no address");
  return interleaved(addresses);
}

std::vector<Address> interleaved(const std::vector<Address>& addresses) {
  std::vector<Address> families[2];  // IPv6, IPv4
  for (const Address& address : addresses) {
    families[address.family == Address::Family::ipv6 ? 0 : 1].push_back(address);
  }
  std::vector<Address> out;
  out.reserve(addresses.size());
  for (std::size_t i = 0; out.size() < addresses.size(); ++i) {
    for (const auto& family : families) {
      if (i < family.size()) out.push_back(family[i]);
    }
  }
  return out;
}

Resolver::~Resolver() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

Result<void> Resolver::look_up(HostPort target, Callback callback) {
  if (auto local = resolve_locally(target)) {
    callback(std::move(*local));
    return {};
  }
  {
    const std::lock_guard lock(mutex_);
    if (ending_) return fail(Code::closed, "the resolver is ending");
    if (questions_.size() >= bound_) {
      return fail(Code::busy, target.host + ": " + std::to_string(bound_) + " look-ups are waiting");
    }
    questions_.push_back({std::move(target), std::move(callback)});
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  }
  changed_.notify_one();
  return {};
}

void Resolver::run() {
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ending_ || !questions_.empty(); });
    if (questions_.empty()) return;  // only when ending
    Question question = std::move(questions_.front());
    questions_.pop_front();
    const bool ending = ending_;
    lock.unlock();
    question.callback(ending ? fail(Code::closed, question.target.host) : resolve(question.target, *calls_));
  }
}

}  // namespace riffle::net
