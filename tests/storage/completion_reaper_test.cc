#include "fixpool/storage/completion_reaper.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "fixpool/io/io_engine.h"
#include "gtest/gtest.h"
#include "tests/support/recording_environment.h"

namespace fixpool::storage {
namespace {

using Wanted = CompletionReaper::Wanted;

// As much of an engine as a reaper looks at: transfers that end when the test says so.
class PlainEngine final : public io::IoEngine {
 public:
  explicit PlainEngine(io::Environment* environment) : environment_(environment) {}

  void Begin(uint32_t transfers) { in_flight_.fetch_add(transfers); }
  void End() {
    ended_.fetch_add(1);
    environment_->Wake(ended_);
  }
  int most_reapers() const { return most_reapers_.load(); }
  int reapers() const { return reapers_.load(); }

  absl::StatusOr<io::FileHandle> AddFile(std::shared_ptr<io::File>) override {
    return absl::UnimplementedError("");
  }
  absl::Status RemoveFile(io::FileHandle, io::Deadline) override { return absl::OkStatus(); }
  absl::StatusOr<io::EngineLevel> LevelOf(io::FileHandle) const override {
    return absl::UnimplementedError("");
  }
  io::SubmitResult Submit(absl::Span<const io::IoRequest>) override { return {}; }
  size_t Reap(absl::Span<io::IoCompletion> completions, io::Deadline deadline) override {
    const int reapers = ++reapers_;
    if (reapers > most_reapers_) most_reapers_ = reapers;
    size_t count = 0;
    while (count == 0) {
      const uint32_t ended = ended_.load();
      while (count < completions.size() && reaped_ < ended) {
        completions[count++] = {.user_data = reaped_++, .status = {}};
      }
      if (count > 0 || environment_->Expired(deadline)) break;
      environment_->Wait(ended_, ended, deadline);
    }
    in_flight_.fetch_sub(static_cast<uint32_t>(count));
    --reapers_;
    return count;
  }
  uint32_t depth() const override { return 1000; }
  uint32_t in_flight() const override { return in_flight_.load(); }
  io::EngineReport Report() const override { return {}; }

 private:
  io::Environment* const environment_;
  std::atomic<uint32_t> in_flight_{0};
  std::atomic<uint32_t> ended_{0};
  uint32_t reaped_ = 0;  // of the one who has the role
  std::atomic<int> reapers_{0};
  std::atomic<int> most_reapers_{0};
};

class CompletionReaperTest : public ::testing::Test, public CompletionHandler {
 protected:
  void OnCompletions(absl::Span<io::IoCompletion> completions) override {
    handled_.fetch_add(static_cast<uint32_t>(completions.size()));
  }

  // Waits as the users of a reaper do.
  template <typename Condition>
  void WaitUntil(Wanted wanted, Condition condition) {
    while (true) {
      const uint32_t seen = reaper_.epoch();
      if (condition()) return;
      reaper_.WaitFor(seen, wanted, io::Deadline::Infinite());
    }
  }

  tests::RecordingEnvironment environment_;
  PlainEngine engine_{&environment_};
  std::atomic<uint32_t> handled_{0};
  CompletionReaper reaper_{&engine_, &environment_, this};
};

TEST_F(CompletionReaperTest, WaitReturnsAtOnceIfSomethingChangedSince) {
  const uint32_t seen = reaper_.epoch();
  reaper_.Signal();
  EXPECT_NE(reaper_.epoch(), seen);
  for (const Wanted wanted : {Wanted::kCompletion, Wanted::kSignal, Wanted::kEither}) {
    reaper_.WaitFor(seen, wanted, io::Deadline::Infinite());
  }
}

TEST_F(CompletionReaperTest, WaitReturnsAtTheDeadline) {
  const io::Deadline soon = environment_.DeadlineAfter(absl::Milliseconds(5));
  reaper_.WaitFor(reaper_.epoch(), Wanted::kCompletion, soon);  // nothing is in flight
  engine_.Begin(1);
  reaper_.WaitFor(reaper_.epoch(), Wanted::kCompletion,
                  environment_.DeadlineAfter(absl::Milliseconds(5)));
  EXPECT_EQ(handled_, 0u);
}

TEST_F(CompletionReaperTest, HandlesWhatCompletesAndMovesTheEpochOn) {
  engine_.Begin(2);
  engine_.End();
  const uint32_t seen = reaper_.epoch();
  reaper_.WaitFor(seen, Wanted::kCompletion, io::Deadline::Infinite());
  EXPECT_EQ(handled_, 1u);
  EXPECT_NE(reaper_.epoch(), seen);
}

TEST_F(CompletionReaperTest, PollTakesWhatIsThereAndDoesNotWait) {
  reaper_.Poll();
  engine_.Begin(2);
  reaper_.Poll();
  EXPECT_EQ(handled_, 0u);
  engine_.End();
  engine_.End();
  reaper_.Poll();
  EXPECT_EQ(handled_, 2u);
}

TEST_F(CompletionReaperTest, OneReapsForAllAndNobodySleepsOn) {
  constexpr uint32_t kThreads = 8;
  constexpr uint32_t kRounds = 300;
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([this] {
      for (uint32_t round = 1; round <= kRounds; ++round) {
        WaitUntil(Wanted::kCompletion, [&] { return handled_.load() >= round; });
      }
    });
  }
  for (uint32_t round = 0; round < kRounds; ++round) {
    engine_.Begin(1);
    reaper_.Signal();  // as after a Submit
    engine_.End();
    if (round % 3 == 0) std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(handled_, kRounds);
  EXPECT_EQ(engine_.most_reapers(), 1);
}

TEST_F(CompletionReaperTest, WaiterForASignalNeverTakesTheRole) {
  engine_.Begin(1);
  std::atomic<bool> set{false};
  std::thread waiter([&] { WaitUntil(Wanted::kSignal, [&] { return set.load(); }); });
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(engine_.reapers(), 0);
    std::this_thread::yield();
  }
  set = true;
  reaper_.Signal();
  waiter.join();
}

TEST_F(CompletionReaperTest, WaiterForEitherHearsOfASignalThoughNothingCompletes) {
  engine_.Begin(1);
  std::atomic<bool> set{false};
  std::thread waiter([&] { WaitUntil(Wanted::kEither, [&] { return set.load(); }); });
  while (engine_.most_reapers() == 0) std::this_thread::yield();
  set = true;
  reaper_.Signal();
  waiter.join();
}

TEST_F(CompletionReaperTest, SleeperTakesTheRoleFromOneWhoLeaves) {
  engine_.Begin(1);
  std::atomic<bool> leave{false};
  // Has the role, in slices, until it leaves; the other sleeps meanwhile.
  std::thread first([&] { WaitUntil(Wanted::kEither, [&] { return leave.load(); }); });
  while (engine_.most_reapers() == 0) std::this_thread::yield();
  std::thread second([&] { WaitUntil(Wanted::kCompletion, [&] { return handled_.load() > 0; }); });
  leave = true;
  reaper_.Signal();
  first.join();
  engine_.End();
  second.join();
  EXPECT_EQ(handled_, 1u);
}

}  // namespace
}  // namespace fixpool::storage
