// The addresses that a listener can be reached at.
#pragma once

#include <string>
#include <vector>

#include <riffle/address.hpp>

namespace riffle::cli {

/// Purpose: what a ticket says for a listener: its own address, or for a wildcard those of the host. Global addresses
/// first, loopback only where there is no other; link-local ones never, since they mean nothing elsewhere.
std::vector<std::string> reachable_addresses(const Address& listener);

}  // namespace riffle::cli
