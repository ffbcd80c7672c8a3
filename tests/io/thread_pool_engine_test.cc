#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/open_engine.h"
#include "gtest/gtest.h"
#include "tests/io/engine_fixture.h"
#include "tests/support/process_memory.h"
#include "tests/support/scratch.h"
#include "tests/support/slow_pipe.h"

// What is particular to EngineLevel::kThreads; the rest is in io_engine*_test.cc.

namespace fixpool::io {
namespace {

using ::fixpool::tests::BytesAsTheyAre;
using ::fixpool::tests::ScratchMemory;
using ::fixpool::tests::SlowPipe;

class ThreadPoolEngineTest : public tests::EngineFixture {};

// "name\tvalue" lines of the status of every thread with this name.
std::vector<std::string> StatusOfThreads(const std::string& name, const std::string& field) {
  std::vector<std::string> values;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream in(task.path() / "status");
    std::string line, its_name, value;
    while (std::getline(in, line)) {
      if (line.starts_with("Name:\t")) its_name = line.substr(6);
      if (line.starts_with(field + ":\t")) value = line.substr(field.size() + 2);
    }
    if (its_name == name) values.push_back(value);
  }
  return values;
}

TEST_F(ThreadPoolEngineTest, ItsThreadsBlockAllSignals) {
  ASSERT_TRUE(OpenAt(EngineLevel::kThreads, {.threads = 3})) << why_not_;
  std::vector<std::string> masks = StatusOfThreads("fixpool-io", "SigBlk");
  ASSERT_EQ(masks.size(), 3u);
  for (const std::string& mask : masks) {
    const uint64_t blocked = std::stoull(mask, nullptr, 16);
    for (int signal = 1; signal <= SIGRTMAX; ++signal) {
      if (signal == SIGKILL || signal == SIGSTOP || (signal > 31 && signal < SIGRTMIN)) continue;
      EXPECT_NE(blocked >> (signal - 1) & 1, 0u) << "signal " << signal << " in " << mask;
    }
  }
  engine_.reset();
  EXPECT_TRUE(StatusOfThreads("fixpool-io", "SigBlk").empty()) << "its threads are joined";
}

TEST_F(ThreadPoolEngineTest, StartsNoMoreThreadsThanRequestsCanBeInFlight) {
  ASSERT_TRUE(OpenAt(EngineLevel::kThreads, {.depth = 2, .threads = 200})) << why_not_;
  EXPECT_EQ(StatusOfThreads("fixpool-io", "SigBlk").size(), 2u);
}

TEST_F(ThreadPoolEngineTest, IsNotADowngradeWhenItWasAskedFor) {
  ASSERT_TRUE(OpenAt(EngineLevel::kThreads)) << why_not_;
  const EngineReport report = engine_->Report();
  EXPECT_EQ(report.level, EngineLevel::kThreads);
  EXPECT_EQ(report.downgrade_errno, 0);
  EXPECT_EQ(report.downgrade_reason, "");
}

// What is never ready is tried a bounded number of times.
TEST_F(ThreadPoolEngineTest, EagainIsRetriedAndThenReported) {
  ASSERT_TRUE(OpenAt(EngineLevel::kThreads)) << why_not_;
  SlowPipe pipe = SlowPipe::ToReadFrom(O_NONBLOCK);
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  const IoCompletion read = Do(Read(file, registration.id(), memory.base(), 512, 0));
  EXPECT_TRUE(absl::IsResourceExhausted(read.status)) << read.status;
  EXPECT_EQ(ErrnoOf(read.status), EAGAIN);
  EXPECT_GE(engine_->Report().counters.retried, 100u);
  EXPECT_EQ(engine_->Report().counters.failed, 1u);
}

// A thread in a read that never ends cannot be called back: it is left behind with all that
// it may touch.
TEST_F(ThreadPoolEngineTest, DestroyedWithAReadThatNeverEndsLeaksAndReports) {
  MakeRegistry({.release_timeout = absl::Milliseconds(10)});
  ASSERT_TRUE(
      OpenAt(EngineLevel::kThreads, {.threads = 1, .drain_timeout = absl::Milliseconds(30)}))
      << why_not_;
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  auto memory = std::make_shared<ScratchMemory>(kPage);
  const std::weak_ptr<ScratchMemory> alive = memory;
  {
    Registration registration =
        *registry_->Register(*MemoryRegion::Create(memory->base(), kPage), {.backing = memory});
    memory.reset();
    // The second waits for the only thread; it is never started.
    SubmitAll({Read(file, registration.id(), alive.lock()->base(), 512, 0, 1),
               Read(file, registration.id(), alive.lock()->at(512), 512, 0, 2)});
    engine_.reset();
    EXPECT_TRUE(environment_.Heard(Severity::kError, "leaked on purpose"))
        << environment_.Transcript();
    EXPECT_EQ(registry_->InfoOf(registration.id())->in_flight, 2u);
  }
  EXPECT_TRUE(environment_.Heard(Severity::kError, "region 0")) << environment_.Transcript();
  registry_.reset();
  ASSERT_FALSE(alive.expired());
  // The read ends after all. Its thread finds the memory, and nothing else, and goes.
  pipe.Feed(std::string(512, 'z'));
  while (!StatusOfThreads("fixpool-io", "SigBlk").empty()) sched_yield();
  EXPECT_EQ(BytesAsTheyAre(alive.lock()->base(), 1024),
            std::string(512, 'z') + std::string(512, '\0'));
}

}  // namespace
}  // namespace fixpool::io
