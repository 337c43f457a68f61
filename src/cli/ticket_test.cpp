#include "cli/ticket.hpp"

#include <gtest/gtest.h>

namespace riffle::cli {
namespace {

Ticket some_ticket() {
  Ticket ticket{.addresses = {"192.0.2.7:4433", "[2001:db8::7]:4433", "relay.example:443"}};
  for (std::size_t i = 0; i < ticket.pin.size(); ++i) ticket.pin[i] = static_cast<std::uint8_t>(7 * i);
  for (std::size_t i = 0; i < ticket.secret.size(); ++i) ticket.secret[i] = static_cast<std::uint8_t>(255 - i);
  return ticket;
}

// CLI-2: addresses, pin, secret.
TEST(Ticket, IsReadAsItWasWritten) {
  const auto text = some_ticket().to_text();
  ASSERT_TRUE(text) << text.error().message();
  EXPECT_TRUE(text->starts_with("rfl1"));
  const auto back = Ticket::parse(*text);
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(*back, some_ticket());
}

TEST(Ticket, IsReadInCapitalsToo) {
  auto text = some_ticket().to_text().value();
  for (char& c : text) c = static_cast<char>(std::toupper(c));
  EXPECT_EQ(Ticket::parse(text).value(), some_ticket());
}

TEST(Ticket, EveryTypoOfOneCharacterIsTold) {
  const auto text = some_ticket().to_text().value();
  for (std::size_t i = 4; i < text.size(); ++i) {
    auto typo = text;
    typo[i] = typo[i] == 'q' ? 'p' : 'q';
    const auto parsed = Ticket::parse(typo);
    ASSERT_FALSE(parsed) << i;
    EXPECT_EQ(parsed.error(), Code::invalid_argument);
    EXPECT_NE(parsed.error().evidence().find("typo"), std::string::npos);
  }
}

TEST(Ticket, TwoSwappedCharactersAreTold) {
  const auto text = some_ticket().to_text().value();
  for (std::size_t i = 4; i + 1 < text.size(); ++i) {
    auto typo = text;
    std::swap(typo[i], typo[i + 1]);
    EXPECT_EQ(Ticket::parse(typo).has_value(), typo == text) << i;
  }
}

TEST(Ticket, APartOfItIsNone) {
  const auto text = some_ticket().to_text().value();
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(Ticket::parse(text.substr(0, size))) << size;
}

TEST(Ticket, SomethingElseIsNone) {
  EXPECT_NE(Ticket::parse("bc1qxyz").error().evidence().find("rfl1"), std::string::npos);
  EXPECT_NE(Ticket::parse("rfl1qqb").error().evidence().find("\"b\""), std::string::npos);
}

TEST(Ticket, AnAddressWithoutAPortMakesNone) {
  Ticket ticket = some_ticket();
  ticket.addresses = {"relay.example"};
  EXPECT_FALSE(ticket.to_text());
}

TEST(Ticket, HoldsAtMostSixAddresses) {
  Ticket ticket = some_ticket();
  ticket.addresses.assign(Ticket::most_addresses + 1, "192.0.2.7:4433");
  EXPECT_EQ(Ticket::parse(ticket.to_text().value())->addresses.size(), Ticket::most_addresses);
}

TEST(Hex, IsReadAsItWasWritten) {
  const std::array<std::uint8_t, 3> bytes{0x00, 0xaf, 0x7c};
  std::array<std::uint8_t, 3> back{};
  EXPECT_EQ(to_hex(bytes), "00af7c");
  EXPECT_TRUE(from_hex("00af7c", back));
  EXPECT_EQ(back, bytes);
  EXPECT_FALSE(from_hex("00af7", back));
  EXPECT_FALSE(from_hex("00af7g", back));
}

}  // namespace
}  // namespace riffle::cli
