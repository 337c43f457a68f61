// From errno to riffle's errors.
#pragma once

#include <string>
#include <string_view>

#include <riffle/address.hpp>
#include <riffle/error.hpp>

namespace riffle::net {

/// The failure of `call` on `address` with `system` (errno). The evidence is the address alone where the code says
/// the rest (address_in_use), else "call address"; what the system says to errno is added by Error::message.
Error system_failure(std::string_view call, const Address& address, int system);

}  // namespace riffle::net
