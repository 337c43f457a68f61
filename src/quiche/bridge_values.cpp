#include "quiche/bridge_values.hpp"

#include "base/check.hpp"
#include "base/send_block.hpp"

namespace riffle::quiche {
namespace {

Code code_of(int32_t bridge_code) noexcept {
  switch (bridge_code) {
    case RQB_E_ARGUMENT:
    case RQB_E_OPTION:
      return Code::invalid_argument;
    case RQB_E_FILE:
      return Code::file_unreadable;
    case RQB_E_CERTIFICATE:
      return Code::certificate_unusable;
    case RQB_E_TLS:
    case RQB_E_CRYPTO:
      return Code::tls_failed;
    case RQB_E_VERSION:
      return Code::version_unsupported;
    case RQB_E_PROTOCOL:
      return Code::protocol_violation;
    default:
      return Code::internal;
  }
}

}  // namespace

// The bridge calls these inside its own calls, on the loop's thread.
extern "C" {
static void riffle_retain_block(void* owner) noexcept { static_cast<base::SendBlock*>(owner)->retain(); }
static void riffle_release_block(void* owner) noexcept { static_cast<base::SendBlock*>(owner)->release(); }
}

Error last_error() {
  rqb_error error;
  if (rqb_last_error(&error) != RQB_OK) return Error(Code::internal, "the bridge failed without saying why");
  std::string evidence = error.sentence;
  if (error.code == RQB_E_PANIC) evidence = std::string(error.operation) + ": " + evidence;
  return Error::with_errno(code_of(error.code), error.system, std::move(evidence));
}

void start_bridge() noexcept {
  RIFFLE_CHECK(rqb_init(riffle_retain_block, riffle_release_block) == RQB_OK,
               "the bridge was started by someone else with other functions");
}

}  // namespace riffle::quiche
