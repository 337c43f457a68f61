// The transports that pass the suite.
#pragma once

#include <memory>
#include <string>

#include "core/session/stream_port.hpp"
#include "tests/session/fake_port.hpp"

namespace riffle::test {

enum class Family { fake, smux, quiche };
std::string to_string(Family family);

/// Two joined ports, and what must outlive them.
struct Ports {
  std::shared_ptr<void> keep;
  std::unique_ptr<core::StreamPort> client;
  std::unique_ptr<core::StreamPort> server;
};

/// `client` and `server` are what each side grants the other. smux knows no limit of streams that one side tells the
/// other: both keep to the smaller one.
Ports make_ports(Family family, FakeWindows client, FakeWindows server, Instant now);

}  // namespace riffle::test
