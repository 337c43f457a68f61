#include "cli/forward_spec.hpp"

#include <gtest/gtest.h>

namespace riffle::cli {
namespace {

struct Case {
  const char* text;
  const char* listen;
  const char* target;
};

// CLI-2: -L [addr:]port:host:hostport.
TEST(ForwardSpec, EveryFormIsRead) {
  for (const Case& one : {Case{"8080:localhost:80", "127.0.0.1:8080", "localhost:80"},
                          Case{"0:db.lan:5432", "127.0.0.1:0", "db.lan:5432"},
                          Case{"0.0.0.0:8080:localhost:80", "0.0.0.0:8080", "localhost:80"},
                          Case{"localhost:8080:localhost:80", "127.0.0.1:8080", "localhost:80"},
                          Case{"*:8080:localhost:80", "[::]:8080", "localhost:80"},
                          Case{"[::1]:8080:[2001:db8::1]:80", "[::1]:8080", "[2001:db8::1]:80"},
                          Case{"8080:[::1]:80", "127.0.0.1:8080", "[::1]:80"}}) {
    const auto parsed = parse_forward(one.text);
    ASSERT_TRUE(parsed) << one.text << ": " << parsed.error().message();
    EXPECT_EQ(parsed->listen, one.listen);
    EXPECT_EQ(parsed->target, one.target);
  }
}

TEST(ForwardSpec, AnythingElseIsNamedWithAnExample) {
  for (const char* text : {"", "8080", "8080:localhost", "8080:localhost:http", "8080:localhost:0", "8080::80",
                           "x:localhost:80", "70000:localhost:80", "example.org:8080:localhost:80", "a:b:c:d:e"}) {
    const auto parsed = parse_forward(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error(), Code::invalid_argument);
    EXPECT_NE(parsed.error().evidence().find("8080:localhost:80"), std::string::npos);
  }
}

}  // namespace
}  // namespace riffle::cli
