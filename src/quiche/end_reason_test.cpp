// Every end has its error.
#include "quiche/end_reason.hpp"

#include <gtest/gtest.h>

namespace riffle::quiche {
namespace {

EndFacts by_peer(std::uint64_t code, bool is_application = false, bool was_established = true) {
  EndFacts facts;
  facts.was_established = was_established;
  facts.peer = {.present = true, .is_application = is_application, .code = code, .reason = "because"};
  facts.offered_alpn = "a, b";
  return facts;
}

EndFacts by_us(std::uint64_t code) {
  EndFacts facts;
  facts.local = {.present = true, .is_application = false, .code = code, .reason = ""};
  return facts;
}

TEST(EndReason, OurOwnCloseIsClosed) {
  EndFacts facts = by_us(7);
  facts.local.is_application = true;
  facts.local.reason = "done";
  facts.closed_by_us = true;
  const Error error = end_reason(facts);
  EXPECT_EQ(error, Code::closed);
  EXPECT_EQ(error.wire(), 7u);
  EXPECT_EQ(error.evidence(), "done");
}

TEST(EndReason, ThePeersCloseTellsCodeAndReason) {
  const Error error = end_reason(by_peer(99, true));
  EXPECT_EQ(error, Code::peer_closed);
  EXPECT_EQ(error.wire(), 99u);
  EXPECT_EQ(error.evidence(), "because");
  EXPECT_EQ(end_reason(by_peer(0xa)), Code::peer_closed);
}

TEST(EndReason, AnAnswerOfRefusalIsRefused) {
  EXPECT_EQ(end_reason(by_peer(0x2)), Code::refused);
  EXPECT_EQ(end_reason(by_peer(0xc)), Code::refused);
  EXPECT_EQ(end_reason(by_peer(0x0, false, false)), Code::refused);
  EXPECT_EQ(end_reason(by_peer(0x0)), Code::peer_closed);
}

TEST(EndReason, AlertsOfThePeerAreToldApart) {
  const Error alpn = end_reason(by_peer(0x178));
  EXPECT_EQ(alpn, Code::alpn_refused);
  EXPECT_EQ(alpn.evidence(), "offered: a, b");
  for (const std::uint64_t alert : {42, 43, 44, 45, 46, 48, 49, 116}) {
    EXPECT_EQ(end_reason(by_peer(0x100 + alert)), Code::certificate_refused) << alert;
  }
  const Error other = end_reason(by_peer(0x128));
  EXPECT_EQ(other, Code::tls_failed);
  EXPECT_EQ(other.evidence(), "TLS alert 40 (handshake failure): because");
  EXPECT_EQ(end_reason(by_peer(0x1fe)).evidence(), "TLS alert 254: because");
}

TEST(EndReason, OurRefusalsHaveTheirEvidence) {
  using Evidence = EndFacts::Evidence;
  EndFacts facts = by_us(0x12a);
  facts.evidence_text = "words";
  const auto code_for = [&facts](Evidence evidence) {
    facts.evidence = evidence;
    return end_reason(facts).code();
  };
  EXPECT_EQ(code_for(Evidence::certificate), Code::certificate_rejected);
  EXPECT_EQ(code_for(Evidence::pin), Code::pin_mismatch);
  EXPECT_EQ(code_for(Evidence::alpn), Code::alpn_refused);
  EXPECT_EQ(code_for(Evidence::tls), Code::tls_failed);
  EXPECT_EQ(end_reason(facts).evidence(), "TLS alert 42 (bad certificate): words");
  facts.local.code = 0x1;
  EXPECT_EQ(end_reason(facts), Code::tls_failed);
  EXPECT_EQ(end_reason(facts).evidence(), "words");
  EXPECT_EQ(end_reason(by_us(0x174)), Code::certificate_rejected);
}

TEST(EndReason, AFaultOfTheProtocolIsAViolation) {
  const Error error = end_reason(by_us(0x3));
  EXPECT_EQ(error, Code::protocol_violation);
  EXPECT_EQ(error.wire(), 3u);
}

TEST(EndReason, SilenceIsIdleOrAHandshakeThatNeverEnded) {
  EndFacts facts;
  facts.timed_out = true;
  EXPECT_EQ(end_reason(facts), Code::handshake_timeout);
  facts.was_established = true;
  EXPECT_EQ(end_reason(facts), Code::idle_timeout);
}

TEST(EndReason, TheRest) {
  EndFacts facts = by_us(0xa);
  facts.version_unsupported = true;
  EXPECT_EQ(end_reason(facts), Code::version_unsupported);
  EXPECT_EQ(end_reason({}), Code::peer_closed);
}

}  // namespace
}  // namespace riffle::quiche
