#include "fixpool/io/environment.h"

#include <atomic>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace fixpool::io {
namespace {

// A clock that stands where it is told, to look at the arithmetic alone.
class StoppedClock final : public Environment {
 public:
  explicit StoppedClock(int64_t now_ns) : now_ns_(now_ns) {}
  int64_t NowNs() override { return now_ns_; }
  void Wait(const std::atomic<uint32_t>&, uint32_t, Deadline) override {}
  void Wake(const std::atomic<uint32_t>&) override {}
  uint64_t Random() override { return 4; }
  void Report(Severity, absl::string_view) override {}

 private:
  const int64_t now_ns_;
};

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(DeadlineTest, PastIsBeforeAnyTimeAndInfiniteAfter) {
  EXPECT_LT(Deadline::Past(), Deadline::AtNs(0));
  EXPECT_LT(Deadline::AtNs(0), Deadline::AtNs(1));
  EXPECT_LT(Deadline::AtNs(kMax - 1), Deadline::Infinite());
  EXPECT_TRUE(Deadline::Infinite().is_infinite());
  EXPECT_FALSE(Deadline::Past().is_infinite());
  EXPECT_EQ(Deadline::AtNs(5).ns(), 5);
}

TEST(EnvironmentTest, DeadlineAfterAddsToNow) {
  StoppedClock clock(1000);
  EXPECT_EQ(clock.DeadlineAfter(absl::Nanoseconds(1)), Deadline::AtNs(1001));
  EXPECT_EQ(clock.DeadlineAfter(absl::Seconds(2)), Deadline::AtNs(2'000'001'000));
}

TEST(EnvironmentTest, DeadlineAfterSaturates) {
  StoppedClock clock(1000);
  EXPECT_TRUE(clock.DeadlineAfter(absl::InfiniteDuration()).is_infinite());
  EXPECT_TRUE(clock.DeadlineAfter(absl::Hours(24 * 366 * 300)).is_infinite());
  EXPECT_TRUE(clock.DeadlineAfter(absl::Nanoseconds(kMax)).is_infinite());
  EXPECT_TRUE(clock.DeadlineAfter(absl::Nanoseconds(kMax - 1000)).is_infinite());
  EXPECT_EQ(clock.DeadlineAfter(absl::Nanoseconds(kMax - 1001)), Deadline::AtNs(kMax - 1));
  EXPECT_EQ(clock.DeadlineAfter(absl::ZeroDuration()), Deadline::Past());
  EXPECT_EQ(clock.DeadlineAfter(absl::Seconds(-1)), Deadline::Past());
  EXPECT_EQ(clock.DeadlineAfter(-absl::InfiniteDuration()), Deadline::Past());
}

TEST(EnvironmentTest, ExpiredAtTheDeadlineAndNotBefore) {
  StoppedClock clock(1000);
  EXPECT_TRUE(clock.Expired(Deadline::Past()));
  EXPECT_TRUE(clock.Expired(Deadline::AtNs(999)));
  EXPECT_TRUE(clock.Expired(Deadline::AtNs(1000)));
  EXPECT_FALSE(clock.Expired(Deadline::AtNs(1001)));
  EXPECT_FALSE(clock.Expired(Deadline::Infinite()));
  StoppedClock end_of_time(kMax);
  EXPECT_FALSE(end_of_time.Expired(Deadline::Infinite()));
}

TEST(EnvironmentTest, DefaultIsOneAndAlwaysThere) {
  EXPECT_NE(Environment::Default(), nullptr);
  EXPECT_EQ(Environment::Default(), Environment::Default());
  Environment::Default()->Report(Severity::kError, "goes nowhere");
}

TEST(EnvironmentTest, ClockNeverGoesBack) {
  Environment* const environment = Environment::Default();
  int64_t before = environment->NowNs();
  for (int i = 0; i < 1000; ++i) {
    const int64_t now = environment->NowNs();
    ASSERT_GE(now, before);
    before = now;
  }
}

TEST(EnvironmentTest, WaitReturnsAtOnceIfTheWordHasChanged) {
  std::atomic<uint32_t> word{1};
  Environment::Default()->Wait(word, 0, Deadline::Infinite());
}

TEST(EnvironmentTest, WaitReturnsOnceTheDeadlineHasPassed) {
  Environment* const environment = Environment::Default();
  std::atomic<uint32_t> word{0};
  for (const Deadline deadline : {Deadline::Past(), Deadline::AtNs(-1), Deadline::AtNs(0),
                                  Deadline::AtNs(environment->NowNs() - 1)}) {
    environment->Wait(word, 0, deadline);
  }
  const Deadline soon = environment->DeadlineAfter(absl::Milliseconds(2));
  while (!environment->Expired(soon)) environment->Wait(word, 0, soon);
}

TEST(EnvironmentTest, WakeReachesAllWhoWait) {
  Environment* const environment = Environment::Default();
  std::atomic<uint32_t> word{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 4; ++i) {
    waiters.emplace_back([&] {
      while (word.load() == 0) environment->Wait(word, 0, Deadline::Infinite());
    });
  }
  word.store(1);
  environment->Wake(word);
  for (auto& waiter : waiters) waiter.join();
}

TEST(EnvironmentTest, RandomNumbersDiffer) {
  std::set<uint64_t> numbers;
  const auto environment = Environment::CreateReal({});
  for (int i = 0; i < 1000; ++i) {
    numbers.insert(Environment::Default()->Random());
    numbers.insert(environment->Random());
  }
  EXPECT_EQ(numbers.size(), 2000u);
}

TEST(EnvironmentTest, MessagesGoToTheSink) {
  std::vector<std::pair<Severity, std::string>> messages;
  const auto environment =
      Environment::CreateReal({.sink = [&](Severity severity, absl::string_view message) {
        messages.emplace_back(severity, std::string(message));
      }});
  environment->Report(Severity::kWarning, "first");
  environment->Report(Severity::kInfo, "second");
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0], std::pair(Severity::kWarning, std::string("first")));
  EXPECT_EQ(messages[1], std::pair(Severity::kInfo, std::string("second")));
}

}  // namespace
}  // namespace fixpool::io
