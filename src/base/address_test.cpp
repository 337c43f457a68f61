#include <riffle/address.hpp>

#include <gtest/gtest.h>

#include <string>

namespace riffle {
namespace {

TEST(Address, IsWrittenAsItIsRead) {
  for (const std::string text : {"192.0.2.1:443", "0.0.0.0:0", "255.255.255.255:65535", "[2001:db8::1]:443", "[::]:0",
                                 "[::1]:80", "[fe80::1]:1", "[::ffff:192.0.2.1]:5"}) {
    const auto address = Address::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_string(), text);
    EXPECT_EQ(*Address::parse(address->to_string()), *address);
  }
  EXPECT_EQ(Address{}.to_string(), "(no address)");
  Address scoped = *Address::parse("[fe80::1]:1");
  scoped.scope = 3;
  EXPECT_EQ(scoped.to_string(), "[fe80::1%3]:1");
}

TEST(Address, HasItsWellKnownOnes) {
  EXPECT_EQ(Address::loopback_v4(5).to_string(), "127.0.0.1:5");
  EXPECT_EQ(Address::any_v4(6).to_string(), "0.0.0.0:6");
  EXPECT_EQ(Address::loopback_v6(7).to_string(), "[::1]:7");
  EXPECT_EQ(Address::any_v6(8).to_string(), "[::]:8");
  EXPECT_TRUE(Address::any_v4(1).is_any());
  EXPECT_TRUE(Address::any_v6(1).is_any());
  EXPECT_FALSE(Address::loopback_v4(1).is_any());
  EXPECT_NE(Address::loopback_v4(1), Address::loopback_v4(2));
  EXPECT_LT(Address::loopback_v4(1), Address::loopback_v4(2));
}

// Bad input gets a sentence that names it.
TEST(Address, RefusesWhatIsNone) {
  for (const std::string text : {"", "192.0.2.1", "192.0.2.1:", "192.0.2.1:x", "192.0.2.1:65536", "192.0.2.1:-1",
                                 "192.0.2.1: 1", "192.0.2.256:1", "2001:db8::1:443", "[2001:db8::1]", "[]:1",
                                 "[nonsense]:1", "example.org:443", ":443", "192.0.2.1:99999999999999999999"}) {
    const auto address = Address::parse(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().code(), Code::invalid_argument) << text;
    EXPECT_NE(address.error().evidence().find(text), std::string::npos) << address.error().evidence();
  }
}

TEST(HostPort, SplitsNamesAndAddresses) {
  const auto name = HostPort::parse("example.org:443");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->host, "example.org");
  EXPECT_EQ(name->port, 443);
  EXPECT_EQ(name->to_string(), "example.org:443");
  const auto v6 = HostPort::parse("[::1]:80");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host, "::1");
  EXPECT_EQ(v6->to_string(), "[::1]:80");
  const auto any = HostPort::parse(":0");
  ASSERT_TRUE(any);
  EXPECT_EQ(any->host, "");
}

TEST(HostPort, RefusesWhatIsNone) {
  for (const std::string text : {"example.org", "::1:80", "host:", "host:70000", "host:8o"}) {
    EXPECT_FALSE(HostPort::parse(text)) << text;
  }
  EXPECT_FALSE(HostPort::parse(std::string_view("a\0b:1", 5)));
}

}  // namespace
}  // namespace riffle
