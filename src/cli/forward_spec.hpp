// What `-L` says: [addr:]port:host:hostport.
#pragma once

#include <string>
#include <string_view>

#include <riffle/error.hpp>
#include <riffle/forward.hpp>

namespace riffle::cli {

/// "8080:localhost:80", "127.0.0.1:8080:localhost:80", "[::1]:8080:[2001:db8::1]:80"; without an address 127.0.0.1,
/// "localhost" is that too, "*" is every address of the host; port 0 takes a free one.
Result<forward::Forward> parse_forward(std::string_view text);

}  // namespace riffle::cli
