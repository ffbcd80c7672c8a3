// That tasks cost no allocation once their frames are there, shown by counting every one that the
// program makes.

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/storage/task_scheduler.h"
#include "gtest/gtest.h"
#include "tests/storage/task_fixture.h"
#include "tests/support/count_allocations.h"

namespace fixpool::storage {
namespace {

Task<absl::StatusOr<int>> Leaf(TaskScheduler&, ManualEvent& event) {
  co_await event;
  co_return 1;
}
Task<absl::Status> Root(TaskScheduler& scheduler, ManualEvent& event) {
  for (int i = 0; i < 3; ++i) {
    const absl::StatusOr<int> leaf = co_await Leaf(scheduler, event);
    if (!leaf.ok()) co_return leaf.status();
    co_await TaskScheduler::Yield();
  }
  absl::StatusOr<SpawnedTask<absl::StatusOr<int>>> child = scheduler.Spawn(Leaf(scheduler, event));
  if (!child.ok()) co_return child.status();
  co_return (co_await *std::move(child)).status();
}

// Lets all who wait go on.
class PulsingProgress final : public Progress {
 public:
  explicit PulsingProgress(ManualEvent& event) : event_(event) {}
  void Poll() override {}
  bool Wait(io::Deadline) override {
    event_.Pulse();
    return true;
  }
  void Interrupt() override {}

 private:
  ManualEvent& event_;
};

TEST(TaskNoMallocTest, TasksComeAndGoWithoutAllocating) {
#ifndef FIXPOOL_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "a sanitizer's malloc, or a C library's, that cannot be counted";
#endif
  const auto frames = CoroutineFrames::Create({.frame_count = 64}).value();
  ManualEvent event;
  PulsingProgress progress(event);
  TaskScheduler scheduler(frames.get(), &progress);
  int left = 1'000;
  const size_t before = allocations.load();
  const absl::Status status = scheduler.RunConcurrently(
      [&]() -> std::optional<Task<absl::Status>> {
        if (left-- == 0) return std::nullopt;
        return Root(scheduler, event);
      },
      {.in_flight = 32});
  bool dropped = false;
  {
    auto task = scheduler.Spawn(Root(scheduler, event));
    dropped = scheduler.RunReady().ok() && !task->done();
  }
  const size_t after = allocations.load();
  EXPECT_EQ(after - before, 0u);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(dropped);
  // The counter counts: an error has a message.
  EXPECT_FALSE(CoroutineFrames::Create({.frame_count = 0}).ok());
  EXPECT_GT(allocations.load(), after);
}

}  // namespace
}  // namespace fixpool::storage
