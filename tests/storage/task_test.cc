#include "fixpool/storage/task.h"

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/storage/task_scheduler.h"
#include "tests/storage/task_fixture.h"

namespace fixpool::storage {
namespace {

static_assert(!std::is_copy_constructible_v<Task<absl::Status>>);
static_assert(!TaskResult<int> && TaskResult<absl::StatusOr<int>>);

class TaskTest : public TaskFixture {};

Task<absl::StatusOr<int>> Answer(TaskScheduler&, int answer) { co_return answer; }

Task<absl::StatusOr<int>> Sum(TaskScheduler& scheduler, int a, int b) {
  const absl::StatusOr<int> first = co_await Answer(scheduler, a);
  if (!first.ok()) co_return first.status();
  const absl::StatusOr<int> second = co_await Answer(scheduler, b);
  if (!second.ok()) co_return second.status();
  co_return *first + *second;
}

TEST_F(TaskTest, ReturnsAValueThroughOthers) {
  EXPECT_EQ(*scheduler_.Run(Sum(scheduler_, 40, 2)), 42);
}

TEST_F(TaskTest, ReturnsAStatus) {
  const auto fail = [](TaskScheduler&) -> Task<absl::Status> {
    co_return absl::DataLossError("gone");
  };
  EXPECT_EQ(scheduler_.Run(fail(scheduler_)), absl::DataLossError("gone"));
}

TEST_F(TaskTest, ReturnsWhatCanOnlyBeMoved) {
  const auto make = [](TaskScheduler&) -> Task<absl::StatusOr<std::unique_ptr<int>>> {
    co_return std::make_unique<int>(7);
  };
  EXPECT_EQ(**scheduler_.Run(make(scheduler_)), 7);
}

TEST_F(TaskTest, IsLazy) {
  bool ran = false;
  const auto body = [](TaskScheduler&, bool& done) -> Task<absl::Status> {
    done = true;
    co_return absl::OkStatus();
  };
  { Task<absl::Status> dropped = body(scheduler_, ran); }
  EXPECT_FALSE(ran);
  Task<absl::Status> task = body(scheduler_, ran);
  EXPECT_FALSE(ran);
  EXPECT_TRUE(scheduler_.Run(std::move(task)).ok());
  EXPECT_TRUE(ran);
}

TEST_F(TaskTest, SaysThatItWasMovedFrom) {
  Task<absl::StatusOr<int>> task = Answer(scheduler_, 1);
  Task<absl::StatusOr<int>> other = std::move(task);
  EXPECT_EQ(task.status().code(), absl::StatusCode::kFailedPrecondition);  // NOLINT
  EXPECT_TRUE(other.status().ok());
  const auto await = [](TaskScheduler&, Task<absl::StatusOr<int>>& empty) -> Task<absl::Status> {
    co_return (co_await std::move(empty)).status();
  };
  EXPECT_EQ(scheduler_.Run(await(scheduler_, task)).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(scheduler_.Run(std::move(task)).status().code(), absl::StatusCode::kFailedPrecondition);
  other = Answer(scheduler_, 2);
  EXPECT_EQ(*scheduler_.Run(std::move(other)), 2);
}

TEST_F(TaskTest, WithoutAFrameIsResourceExhausted) {
  std::vector<Task<absl::StatusOr<int>>> tasks;
  for (size_t i = 0; i < kFrames; ++i) tasks.push_back(Answer(scheduler_, 1));
  Task<absl::StatusOr<int>> one_more = Answer(scheduler_, 1);
  EXPECT_EQ(one_more.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(scheduler_.Run(std::move(one_more)).status().code(),
            absl::StatusCode::kResourceExhausted);
  tasks.pop_back();
  EXPECT_TRUE(Answer(scheduler_, 1).status().ok());
}

TEST_F(TaskTest, AwaitingOneWithoutAFrameDoesNotSuspend) {
  const auto deep = [](TaskScheduler& scheduler, auto& self, int levels) -> Task<absl::Status> {
    if (levels == 0) co_return absl::OkStatus();
    co_return co_await self(scheduler, self, levels - 1);
  };
  EXPECT_TRUE(scheduler_.Run(deep(scheduler_, deep, kFrames - 1)).ok());
  EXPECT_EQ(scheduler_.Run(deep(scheduler_, deep, kFrames)).code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(TaskTest, TooLargeForAFrameIsInvalidArgument) {
  const auto large = [](TaskScheduler&, ManualEvent& event) -> Task<absl::StatusOr<int>> {
    std::array<volatile char, 10'000> bytes;
    bytes[9'999] = 1;
    co_await event;
    co_return bytes[9'999];
  };
  ManualEvent event;
  const absl::Status status = large(scheduler_, event).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(status.message()).find("4096"), std::string::npos) << status;
}

// Frames may come from whatever says that it has some, in any place.
struct Source {
  CoroutineFrames& frames;
  CoroutineFrames& coroutine_frames() const { return frames; }
};

TEST_F(TaskTest, TakesItsFrameFromTheFirstParameterThatHasThem) {
  const auto few = CoroutineFrames::Create({.frame_count = 1, .frame_bytes = 4096}).value();
  const auto body = [](int, const Source&, TaskScheduler&) -> Task<absl::Status> {
    co_return absl::OkStatus();
  };
  const Source source{*few};
  Task<absl::Status> task = body(1, source, scheduler_);
  EXPECT_EQ(few->CountFree(), 0u);
  EXPECT_EQ(frames_->CountFree(), kFrames);
}

struct Tree {
  CoroutineFrames& frames;
  int value;
  CoroutineFrames& coroutine_frames() const { return frames; }
  Task<absl::StatusOr<int>> Value() { co_return value; }
};

TEST_F(TaskTest, TakesItsFrameFromTheObjectWhoseMemberItIs) {
  Tree tree{*frames_, 9};
  EXPECT_EQ(*scheduler_.Run(tree.Value()), 9);
}

// Awaits that do not wait take no stack, however many there are, whatever the compiler does.
TEST_F(TaskTest, AwaitsAHundredThousandOneAfterTheOther) {
  const auto loop = [](TaskScheduler& scheduler) -> Task<absl::StatusOr<int>> {
    int sum = 0;
    for (int i = 0; i < 100'000; ++i) sum += *co_await Answer(scheduler, 1);
    co_return sum;
  };
  EXPECT_EQ(*scheduler_.Run(loop(scheduler_)), 100'000);
}

Task<absl::StatusOr<int>> Depth(TaskScheduler& scheduler, int levels) {
  if (levels == 0) co_return 0;
  const absl::StatusOr<int> below = co_await Depth(scheduler, levels - 1);
  if (!below.ok()) co_return below;
  co_return *below + 1;
}

TEST_F(TaskTest, AwaitsTenThousandDeep) {
  const auto many = CoroutineFrames::Create({.frame_count = 10'001, .frame_bytes = 2048}).value();
  TaskScheduler scheduler(many.get(), &progress_);
  EXPECT_EQ(*scheduler.Run(Depth(scheduler, 10'000)), 10'000);
}

struct Log {
  std::vector<std::string> lines;
};
class Local {
 public:
  Local(Log& log, std::string name) : log_(log), name_(std::move(name)) {}
  ~Local() { log_.lines.push_back(name_); }
  Local(const Local&) = delete;

 private:
  Log& log_;
  const std::string name_;
};

Task<absl::Status> Child(TaskScheduler&, ManualEvent& event, Log& log) {
  const Local first(log, "child 1");
  const Local second(log, "child 2");
  co_await event;
  log.lines.push_back("child resumed");
  co_return absl::OkStatus();
}
Task<absl::Status> Parent(TaskScheduler& scheduler, ManualEvent& event, Log& log) {
  const Local local(log, "parent");
  co_return co_await Child(scheduler, event, log);
}

TEST_F(TaskTest, DestroysTheChildFirst) {
  ManualEvent event;
  Log log;
  {
    auto parent = scheduler_.Spawn(Parent(scheduler_, event, log));
    ASSERT_TRUE(parent.ok());
    ASSERT_TRUE(scheduler_.RunReady().ok());
    EXPECT_TRUE(event.awaited());
  }
  EXPECT_FALSE(event.awaited());
  EXPECT_EQ(log.lines, (std::vector<std::string>{"child 2", "child 1", "parent"}));
  EXPECT_EQ(scheduler_.CountUnfinished(), 0u);
}

TEST_F(TaskTest, DestroyedBetweenWakeAndResumeIsNotResumed) {
  ManualEvent event;
  Log log;
  {
    auto parent = scheduler_.Spawn(Parent(scheduler_, event, log));
    ASSERT_TRUE(scheduler_.RunReady().ok());
    event.Set();
    EXPECT_EQ(scheduler_.CountReady(), 1u);
  }
  EXPECT_EQ(scheduler_.CountReady(), 0u);
  ASSERT_TRUE(scheduler_.RunReady().ok());
  EXPECT_EQ(log.lines, (std::vector<std::string>{"child 2", "child 1", "parent"}));
}

TEST_F(TaskTest, DestroyedBeforeItRanLeavesTheQueue) {
  ManualEvent event;
  Log log;
  { auto parent = scheduler_.Spawn(Parent(scheduler_, event, log)); }
  EXPECT_EQ(scheduler_.CountReady(), 0u);
  EXPECT_TRUE(log.lines.empty());
}

TEST(TaskDeathTest, ChecksThatNoExceptionComesOut) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto frames = CoroutineFrames::Create({.frame_bytes = 4096}).value();
  PlannedProgress progress;
  TaskScheduler scheduler(frames.get(), &progress);
  const auto thrower = [](TaskScheduler&, const std::string& text) -> Task<absl::Status> {
    (void)text.at(99);
    co_return absl::OkStatus();
  };
  EXPECT_DEATH((void)scheduler.Run(thrower(scheduler, "short")), "exception came out of a Task");
}

}  // namespace
}  // namespace fixpool::storage
