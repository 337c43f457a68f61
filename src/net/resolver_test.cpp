// Names to addresses: what needs no name service, the order of the results, and the thread (CON-1, RFC 8305).
#include "net/resolver.hpp"

#include <netinet/in.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <latch>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include "net/socket_address.hpp"

namespace riffle::net {
namespace {

using Answer = Result<std::vector<Address>>;

Address address(const char* text) {
  auto parsed = Address::parse(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

HostPort host(const char* text) { return *HostPort::parse(text); }

/// A name service that answers from here. One list at a time is enough for these tests.
struct NameService {
  int error = 0;
  std::vector<Address> addresses;
  std::atomic<int> asked = 0;
  int freed = 0;
  std::latch* entered = nullptr;  // counted down when a look-up has begun
  std::latch* allowed = nullptr;  // waited for before it answers
  std::vector<SocketAddress> names;
  std::vector<addrinfo> entries;
};
std::unique_ptr<NameService> service;

const NameCalls& scripted() {
  static constexpr NameCalls calls{
      .getaddrinfo =
          [](const char*, const char*, const addrinfo*, addrinfo** out) {
            ++service->asked;
            if (service->entered) service->entered->count_down();
            if (service->allowed) service->allowed->wait();
            if (service->error != 0) return errno = EIO, service->error;
            const std::size_t count = service->addresses.size();
            service->names.resize(count);
            service->entries.assign(count, addrinfo{});
            for (std::size_t i = 0; i < count; ++i) {
              service->names[i] = to_socket_address(service->addresses[i], family_of(service->addresses[i]));
              service->entries[i].ai_addr = &service->names[i].any;
              service->entries[i].ai_addrlen = service->names[i].size;
              service->entries[i].ai_next = i + 1 < count ? &service->entries[i + 1] : nullptr;
            }
            *out = count ? service->entries.data() : nullptr;
            return 0;
          },
      .freeaddrinfo = [](addrinfo*) { ++service->freed; }};
  return calls;
}

class ResolverTest : public testing::Test {
 protected:
  void SetUp() override { service = std::make_unique<NameService>(); }
  void TearDown() override { service.reset(); }
};

TEST_F(ResolverTest, NumericAddressesAndLocalhostAskNobody) {
  const auto only = [](const char* text) { return *resolve(host(text), scripted()); };
  EXPECT_EQ(only("192.0.2.1:443"), std::vector{address("192.0.2.1:443")});
  EXPECT_EQ(only("[2001:db8::1]:443"), std::vector{address("[2001:db8::1]:443")});
  EXPECT_EQ(only("[::ffff:192.0.2.1]:443"), std::vector{address("192.0.2.1:443")});
  const std::vector loopback{Address::loopback_v6(80), Address::loopback_v4(80)};
  for (const char* name : {"localhost:80", "LocalHost.:80", "a.localhost:80"}) EXPECT_EQ(only(name), loopback) << name;
  EXPECT_EQ(service->asked, 0);
}

TEST_F(ResolverTest, ALinkLocalAddressKeepsItsZone) {
  const auto by_name = resolve(host("[fe80::1%lo]:1"), scripted());
  const auto by_number = resolve(host("[fe80::1%1]:1"), scripted());
  ASSERT_TRUE(by_name && by_number);
  EXPECT_EQ(by_number->at(0).scope, 1u);
  EXPECT_EQ(*by_name, *by_number);  // the loopback device is number 1
  service->error = EAI_NONAME;
  EXPECT_EQ(resolve(host("[fe80::1%nothing]:1"), scripted()).error().code(), Code::name_not_found);
}

TEST_F(ResolverTest, OtherNamesAreAsked) {
  service->addresses = {address("192.0.2.1:0")};
  for (const char* name : {"notlocalhost:1", "localhost.example:1", "host:1"}) {
    EXPECT_EQ(resolve(host(name), scripted())->at(0), address("192.0.2.1:1")) << name;
  }
  EXPECT_EQ(service->asked, 3);
  EXPECT_EQ(service->freed, 3);
}

// RFC 8305 section 4
TEST_F(ResolverTest, FamiliesTakeTurnsAndIpv6IsFirst) {
  service->addresses = {address("192.0.2.1:0"), address("192.0.2.2:0"),     address("192.0.2.1:0"),
                        address("192.0.2.3:0"), address("[2001:db8::1]:0"), address("[2001:db8::2]:0")};
  const std::vector expected{address("[2001:db8::1]:7"), address("192.0.2.1:7"), address("[2001:db8::2]:7"),
                             address("192.0.2.2:7"), address("192.0.2.3:7")};
  EXPECT_EQ(*resolve(host("example:7"), scripted()), expected);
}

TEST_F(ResolverTest, ErrorsNameTheHostAndWhatTheSystemSays) {
  for (const int error : {EAI_NONAME, EAI_AGAIN, EAI_FAIL}) {
    service->error = error;
    const Answer answer = resolve(host("missing.example:1"), scripted());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code(), Code::name_not_found);
    EXPECT_EQ(answer.error().evidence(), std::string("missing.example: ") + gai_strerror(error));
  }
  service->error = EAI_SYSTEM;
  EXPECT_EQ(resolve(host("missing.example:1"), scripted()).error().system(), EIO);
  service->error = 0;
  EXPECT_EQ(resolve(host("empty.example:1"), scripted()).error().code(), Code::name_not_found);
  EXPECT_EQ(resolve(host(":1"), scripted()).error().code(), Code::invalid_argument);
}

TEST_F(ResolverTest, ALookUpIsAnsweredOnTheResolversThread) {
  service->addresses = {address("192.0.2.1:0")};
  Resolver resolver(4, scripted());
  std::promise<std::pair<std::thread::id, Answer>> done;
  ASSERT_TRUE(resolver.look_up(
      host("example:5"), [&](Answer answer) { done.set_value({std::this_thread::get_id(), std::move(answer)}); }));
  const auto [thread, answer] = done.get_future().get();
  EXPECT_NE(thread, std::this_thread::get_id());
  EXPECT_EQ(answer->at(0), address("192.0.2.1:5"));
}

TEST_F(ResolverTest, WhatNeedsNoNameServiceIsAnsweredWithinTheCall) {
  Resolver resolver(0, scripted());  // no room for any question
  std::thread::id thread;
  ASSERT_TRUE(resolver.look_up(host("127.0.0.1:5"), [&](Answer answer) {
    EXPECT_TRUE(answer);
    thread = std::this_thread::get_id();
  }));
  EXPECT_EQ(thread, std::this_thread::get_id());
}

TEST_F(ResolverTest, AFullQueueIsBusyAndGoesOnAfterwards) {
  std::latch entered(1), allowed(1), answered(3);
  service->entered = &entered;
  service->allowed = &allowed;
  service->addresses = {address("192.0.2.1:0")};
  Resolver resolver(2, scripted());
  const auto count = [&](Answer answer) {
    EXPECT_TRUE(answer);
    answered.count_down();
  };
  ASSERT_TRUE(resolver.look_up(host("first:1"), count));
  entered.wait();  // it is in progress and no longer in the queue
  service->entered = nullptr;
  ASSERT_TRUE(resolver.look_up(host("second:1"), count));
  ASSERT_TRUE(resolver.look_up(host("third:1"), count));
  const auto refused = resolver.look_up(host("fourth:1"), [](Answer) { ADD_FAILURE() << "not accepted"; });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::busy);
  allowed.count_down();
  answered.wait();
}

TEST_F(ResolverTest, QuestionsThatWaitAtTheEndAreClosed) {
  service->addresses = {address("192.0.2.1:0")};
  std::vector<Code> answers;  // written by the resolver's thread, read after the join
  std::latch inside(1);
  int accepted = 0;
  {
    Resolver resolver(8, scripted());
    ASSERT_TRUE(resolver.look_up(host("first:1"), [&](Answer) {
      // The resolver's own thread is here, so that nothing leaves the queue.
      const auto ask = [&] {
        return resolver.look_up(host("late:1"),
                                [&](Answer answer) { answers.push_back(answer ? Code{} : answer.error().code()); });
      };
      while (ask()) ++accepted;
      inside.count_down();
      while (ask().error().code() == Code::busy) std::this_thread::yield();  // until the destructor is seen
    }));
    inside.wait();
  }
  EXPECT_EQ(accepted, 8);
  EXPECT_EQ(answers, std::vector(8, Code::closed));
}

TEST_F(ResolverTest, ASlowLookUpInProgressIsStillAnswered) {
  std::latch entered(1), allowed(1);
  service->entered = &entered;
  service->allowed = &allowed;
  service->addresses = {address("192.0.2.1:0")};
  std::optional<Answer> answer;
  auto resolver = std::make_unique<Resolver>(8, scripted());
  ASSERT_TRUE(resolver->look_up(host("slow:1"), [&](Answer given) { answer = std::move(given); }));
  entered.wait();
  std::jthread ending([&] { resolver.reset(); });
  allowed.count_down();
  ending.join();
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ((*answer)->at(0), address("192.0.2.1:1"));
}

TEST_F(ResolverTest, TheSystemsOwnServiceSaysThatANameIsMissing) {
  // RFC 1035 section 2.3.4: a label has 63 bytes at most, so that no server needs to be asked.
  const Answer answer = resolve(HostPort{std::string(64, 'x') + ".example", 1});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::name_not_found);
}

}  // namespace
}  // namespace riffle::net
