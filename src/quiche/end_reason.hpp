// Why a connection ended, in riffle's terms (CON-1).
#pragma once

#include <cstdint>
#include <string>

#include <riffle/error.hpp>

namespace riffle::quiche {

/// What is known about an end; plain values, so that the judgement is tested without a connection.
struct EndFacts {
  struct Close {
    bool present = false;
    bool is_application = false;
    std::uint64_t code = 0;
    std::string reason;
  };
  enum class Evidence { none, certificate, pin, alpn, tls };

  bool is_server = false;
  bool was_established = false;
  bool closed_by_us = false;         ///< by `close`, not by a fault
  bool timed_out = false;            ///< quiche's idle timer
  bool version_unsupported = false;  ///< version negotiation found none
  Close local;
  Close peer;
  Evidence evidence = Evidence::none;
  std::string evidence_text;
  std::string offered_alpn;  ///< ours
};

/// One error that tells the truth about the end; the wire code where there was one.
Error end_reason(const EndFacts& facts);

}  // namespace riffle::quiche
