#include "net/system_error.hpp"

#include <cerrno>

namespace riffle::net {
namespace {

Code code_of(int system) noexcept {
  switch (system) {
    case EADDRINUSE:
      return Code::address_in_use;
    case EACCES:
    case EPERM:
      return Code::permission_denied;
    case EMFILE:
    case ENFILE:
      return Code::descriptors_exhausted;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case ETIMEDOUT:
      return Code::unreachable;
    case ECONNREFUSED:
      return Code::refused;
    case ECONNRESET:
    case EPIPE:
      return Code::peer_closed;
    case EAFNOSUPPORT:
      return Code::unsupported;
    default:
      return Code::system_error;
  }
}

}  // namespace

Error system_failure(std::string_view call, const Address& address, int system) {
  const Code code = code_of(system);
  if (code == Code::address_in_use) return Error::with_errno(code, system, address.to_string());
  std::string evidence(call);
  evidence += ' ';
  evidence += address.to_string();
  return Error::with_errno(code, system, std::move(evidence));
}

}  // namespace riffle::net
