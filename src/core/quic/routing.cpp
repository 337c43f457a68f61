#include "core/quic/routing.hpp"

namespace riffle::core {

Arriving decide(const PacketHeader& header, std::size_t datagram_size, bool version_is_known,
                const ListenerLoad& load) noexcept {
  // A short header of no connection of ours: it is over, or never was.
  if (!header.is_long || header.version == 0) return Arriving::ignore;
  if (datagram_size < smallest_initial) return Arriving::ignore;
  if (!version_is_known) return Arriving::negotiate_version;
  // RFC 9000 section 7.2: "This Destination Connection ID MUST be at least 8 bytes in length."
  if (!header.is_initial || header.destination.size < 8) return Arriving::ignore;
  if (load.handshakes >= load.max_handshakes) return Arriving::ignore;
  return load.sessions >= load.max_sessions ? Arriving::refuse : Arriving::accept;
}

}  // namespace riffle::core
