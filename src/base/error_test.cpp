#include <riffle/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <string>

namespace riffle {
namespace {

constexpr auto last = static_cast<std::uint16_t>(Code::internal);

// Every code has a name of its own, a sentence, a fault and an exit code of spec/command.md.
TEST(ErrorTable, EveryCodeHasItsRow) {
  std::set<std::string_view> names;
  for (std::uint16_t number = 1; number <= last; ++number) {
    const Error error{Code{number}};
    SCOPED_TRACE(std::string(error.name()));
    EXPECT_FALSE(error.name().empty());
    EXPECT_FALSE(error.sentence().empty());
    EXPECT_TRUE(names.insert(error.name()).second) << "the name of another code";
    EXPECT_EQ(error.name().find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string_view::npos);
    EXPECT_TRUE((std::set<int>{1, 2, 3, 4, 5, 6, 70}.contains(error.exit_code()))) << error.exit_code();
    EXPECT_GE(error.fault(), Fault::caller);
    EXPECT_LE(error.fault(), Fault::nobody);
    EXPECT_EQ(error, Code{number});
    EXPECT_EQ(error.message(), error.sentence());
  }
  EXPECT_EQ(names.size(), last);
}

TEST(ErrorTable, AnUnknownCodeIsAMistakeOfOurs) {
  EXPECT_EQ(Error(Code{0}).name(), "internal");
  EXPECT_EQ(Error(Code{last + 1}).name(), "internal");
}

TEST(Error, SaysWhatWasSeen) {
  EXPECT_EQ(Error(Code::closed, "the evidence").message(),
            std::string(Error(Code::closed).sentence()) + ": the evidence");
  const Error wire = Error::with_wire(Code::stream_reset, 255, "by them");
  EXPECT_TRUE(wire.has_wire());
  EXPECT_EQ(wire.wire(), 255u);
  EXPECT_NE(wire.message().find("by them (code 0xff)"), std::string::npos) << wire.message();
  EXPECT_FALSE(wire.is_application());
  EXPECT_TRUE(Error(wire).as_application().is_application());
  const Error system = Error::with_errno(Code::system_error, ENOENT, "a file");
  EXPECT_EQ(system.system(), ENOENT);
  EXPECT_NE(system.message().find(std::strerror(ENOENT)), std::string::npos);
}

TEST(Error, ExplainsOnStderrWithTheNextStep) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(explain(Error(Code::unreachable, "192.0.2.1:443")), 3);
  const std::string with_advice = testing::internal::GetCapturedStderr();
  EXPECT_NE(with_advice.find("192.0.2.1:443"), std::string::npos);
  EXPECT_NE(with_advice.find(Error(Code::unreachable).advice()), std::string::npos);
  testing::internal::CaptureStderr();
  explain(Error(Code::closed));
  const std::string without = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(without.begin(), without.end(), '\n'), 1);
}

}  // namespace
}  // namespace riffle
