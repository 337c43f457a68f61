#include "quiche/end_reason.hpp"

#include <string_view>

namespace riffle::quiche {
namespace {

// RFC 9001 section 4.8: "The alert level of all TLS alerts is "fatal" … CRYPTO_ERROR … 0x0100 plus the
// AlertDescription".
constexpr std::uint64_t alert_base = 0x100;
constexpr std::uint64_t alert_end = 0x200;

// RFC 8446 section 6.
enum Alert : std::uint64_t {
  handshake_failure = 40,
  bad_certificate = 42,
  unsupported_certificate = 43,
  certificate_revoked = 44,
  certificate_expired = 45,
  certificate_unknown = 46,
  unknown_ca = 48,
  access_denied = 49,
  protocol_version = 70,
  certificate_required = 116,
  no_application_protocol = 120,
};

// RFC 9000 section 20.1.
constexpr std::uint64_t no_error = 0x0;
constexpr std::uint64_t connection_refused = 0x2;
constexpr std::uint64_t application_error = 0xc;

std::string_view alert_name(std::uint64_t alert) {
  switch (alert) {
    case handshake_failure:
      return "handshake failure";
    case bad_certificate:
      return "bad certificate";
    case unsupported_certificate:
      return "unsupported certificate";
    case certificate_revoked:
      return "certificate revoked";
    case certificate_expired:
      return "certificate expired";
    case certificate_unknown:
      return "certificate unknown";
    case unknown_ca:
      return "unknown CA";
    case access_denied:
      return "access denied";
    case protocol_version:
      return "protocol version";
    case certificate_required:
      return "certificate required";
    case no_application_protocol:
      return "no application protocol";
    default:
      return "";
  }
}

bool is_about_certificates(std::uint64_t alert) {
  switch (alert) {
    case bad_certificate:
    case unsupported_certificate:
    case certificate_revoked:
    case certificate_expired:
    case certificate_unknown:
    case unknown_ca:
    case access_denied:
    case certificate_required:
      return true;
    default:
      return false;
  }
}

bool is_alert(std::uint64_t code) { return code >= alert_base && code < alert_end; }

std::string describe_alert(std::uint64_t code) {
  const std::uint64_t alert = code - alert_base;
  const std::string_view name = alert_name(alert);
  std::string text = "TLS alert " + std::to_string(alert);
  if (!name.empty()) text += " (" + std::string(name) + ")";
  return text;
}

std::string with_reason(std::string text, const std::string& reason) {
  if (reason.empty()) return text;
  return text.empty() ? reason : text + ": " + reason;
}

/// We refused something.
Error local_fault(const EndFacts& facts) {
  const std::uint64_t code = facts.local.code;
  const std::string& text = facts.evidence_text;
  switch (facts.evidence) {
    case EndFacts::Evidence::certificate:
      return Error::with_wire(Code::certificate_rejected, code, text);
    case EndFacts::Evidence::pin:
      return Error::with_wire(Code::pin_mismatch, code, text);
    case EndFacts::Evidence::alpn:
      return Error::with_wire(Code::alpn_refused, code, text);
    case EndFacts::Evidence::tls:
    case EndFacts::Evidence::none:
      break;
  }
  if (is_alert(code)) {
    if (code == alert_base + certificate_required) {
      return Error::with_wire(Code::certificate_rejected, code, "the peer showed no certificate");
    }
    return Error::with_wire(Code::tls_failed, code, with_reason(describe_alert(code), text));
  }
  if (facts.evidence == EndFacts::Evidence::tls && !facts.was_established) {
    return Error::with_wire(Code::tls_failed, code, text);
  }
  return Error::with_wire(Code::protocol_violation, code, facts.local.reason);
}

Error peer_close(const EndFacts& facts) {
  const std::uint64_t code = facts.peer.code;
  const std::string& reason = facts.peer.reason;
  if (facts.peer.is_application) return Error::with_wire(Code::peer_closed, code, reason).as_application();
  if (is_alert(code)) {
    const std::uint64_t alert = code - alert_base;
    if (alert == no_application_protocol) {
      return Error::with_wire(Code::alpn_refused, code, "offered: " + facts.offered_alpn);
    }
    const Code kind = is_about_certificates(alert) ? Code::certificate_refused : Code::tls_failed;
    return Error::with_wire(kind, code, with_reason(describe_alert(code), reason));
  }
  // RFC 9000 section 10.2.3: "a CONNECTION_CLOSE of type 0x1d MUST be replaced by a CONNECTION_CLOSE of type 0x1c when
  // sending the frame in Initial or Handshake packets … using a code of APPLICATION_ERROR". So that code means that the
  // peer's application gave up before the peer had finished the handshake, whatever our own state.
  const bool is_refusal =
      code == connection_refused || code == application_error || (!facts.was_established && code == no_error);
  return Error::with_wire(is_refusal ? Code::refused : Code::peer_closed, code, reason);
}

}  // namespace

Error end_reason(const EndFacts& facts) {
  if (facts.version_unsupported) return Error(Code::version_unsupported);
  if (facts.closed_by_us) return Error::with_wire(Code::closed, facts.local.code, facts.local.reason);
  if (facts.peer.present) return peer_close(facts);
  if (facts.local.present) return local_fault(facts);
  if (facts.timed_out) return Error(facts.was_established ? Code::idle_timeout : Code::handshake_timeout);
  return Error(Code::peer_closed, "the peer no longer knows the connection (stateless reset), or no path is left");
}

}  // namespace riffle::quiche
