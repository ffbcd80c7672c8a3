#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/open_engine.h"
#include "fixpool/io/sanitizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/io/engine_fixture.h"
#include "tests/support/child_process.h"
#include "tests/support/fake_buffer_table.h"
#include "tests/support/scratch.h"
#include "tests/support/sleeping_thread.h"
#include "tests/support/slow_pipe.h"

// What a forked child can do with the engines, registries and files of its parent: nothing, and
// no harm.

// ThreadSanitizer asks to be told that a child may start threads. (Without effect elsewhere.)
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }

namespace fixpool::io {
namespace {

using ::fixpool::tests::FakeBufferTable;
using ::fixpool::tests::PatternBytes;
using ::fixpool::tests::ScratchMemory;
using ::fixpool::tests::SlowPipe;
using ::fixpool::tests::WaitUntilOthersAreAsleep;
using ::testing::HasSubstr;

void ExpectRefused(const absl::Status& status) {
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("forked child"));
}

// Runs `body` in a child that ends as a program does, with exit handlers and destructors of
// static objects. The child's exit code, or -1 if a signal ended it.
int ExitCodeOfChild(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    body();
    std::exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// A registry with a region, an engine, and a read of a pipe in flight into that region.
class ForkTest : public tests::EngineFixture, public ::testing::WithParamInterface<EngineLevel> {
 protected:
  void SetUp() override {
    if (!OpenAt(GetParam())) GTEST_SKIP() << why_not_;
    file_ = OpenNew("data", PatternBytes(1, 4 * kPage));
    data_ = Add(file_);
    slow_ = Add(pipe_->file());
    registration_ = *registry_->Register(*MemoryRegion::Create(memory_->base(), 4 * kPage),
                                         {.backing = memory_});
    SubmitAll({Read(slow_, registration_->id(), memory_->base(), 512, 0, 7)});
    WaitUntilOthersAreAsleep();
  }
  // Whatever became of the test, nobody waits for the read any more.
  void TearDown() override { pipe_->Close(); }

  // The read that was in flight all the time comes to its end, and others go on.
  void ExpectThatTheParentWorks() {
    EXPECT_EQ(engine_->in_flight(), 1u);
    EXPECT_EQ(registry_->InfoOf(registration_->id())->in_flight, 1u);
    pipe_->Feed(std::string(512, 'p'));
    const IoCompletion slow = ReapCount(1).at(7);
    EXPECT_TRUE(slow.status.ok()) << slow.status;
    EXPECT_EQ(std::string(memory_->chars(), 512), std::string(512, 'p'));
    const IoCompletion read =
        Do(Read(data_, registration_->id(), memory_->at(kPage), kPage, kPage, 8));
    EXPECT_TRUE(read.status.ok()) << read.status;
    EXPECT_EQ(std::string(memory_->chars(kPage), kPage),
              PatternBytes(1, 4 * kPage).substr(kPage, kPage));
    EXPECT_TRUE(absl::IsFailedPrecondition(OpenAgain())) << "the lock is gone";
    EXPECT_TRUE(registration_->Release(absl::ZeroDuration()).ok());
    EXPECT_EQ(environment_.message_count(), 0u) << environment_.Transcript();
  }

  absl::Status OpenAgain() {
    return File::Open(scratch_.File("data"), {.lock_timeout = absl::ZeroDuration()}).status();
  }

  std::optional<SlowPipe> pipe_ = SlowPipe::ToReadFrom();
  std::shared_ptr<ScratchMemory> memory_ = std::make_shared<ScratchMemory>(4 * kPage);
  std::shared_ptr<File> file_;
  FileHandle data_;
  FileHandle slow_;
  std::optional<Registration> registration_;
};

INSTANTIATE_TEST_SUITE_P(AllLevels, ForkTest,
                         ::testing::Values(EngineLevel::kUringFixed, EngineLevel::kUringPlain,
                                           EngineLevel::kThreads),
                         [](const auto& info) { return std::string(EngineLevelName(info.param)); });

TEST_P(ForkTest, EngineRefusesInTheChild) {
  FIXPOOL_IN_CHILD([this] {
    ExpectRefused(engine_->AddFile(file_).status());
    ExpectRefused(engine_->RemoveFile(data_, Deadline::Infinite()));
    ExpectRefused(engine_->LevelOf(data_).status());
    const SubmitResult submitted =
        Submit(Read(data_, registration_->id(), memory_->base(), kPage, 0));
    ExpectRefused(submitted.status);
    EXPECT_EQ(submitted.accepted, 0u);
    IoCompletion done[1];
    EXPECT_EQ(engine_->Reap(absl::MakeSpan(done), Deadline::Infinite()), 0u);
    EXPECT_EQ(engine_->in_flight(), 0u);
    EXPECT_THAT(engine_->Report().ToString(), HasSubstr("forked child"));
    return std::string();
  });
  ExpectThatTheParentWorks();
}

TEST_P(ForkTest, RegistryRefusesInTheChild) {
  FIXPOOL_IN_CHILD([this] {
    ScratchMemory other(kPage);
    const MemoryRegion region = *MemoryRegion::Create(other.base(), kPage);
    FakeBufferTable table;
    ExpectRefused(registry_->Register(region).status());
    ExpectRefused(registry_->RegisterAll({region}, {}).status());
    ExpectRefused(registry_->RegisterAll({}, {}).status());
    ExpectRefused(registry_->InfoOf(registration_->id()).status());
    ExpectRefused(registry_->Attach(&table));
    ExpectRefused(registry_->Detach(&table));
    registry_->Abandon(&table);
    ExpectRefused(OpenEngine(registry_.get()).status());
    ExpectRefused(registration_->Release(absl::InfiniteDuration()));
    EXPECT_EQ(registry_->region_count(), 0u);
    // These are as fast as before, and answer as before.
    EXPECT_TRUE(registry_->Validate(registration_->id(), memory_->base(), kPage).ok());
    return std::string();
  });
  ExpectThatTheParentWorks();
}

TEST_P(ForkTest, FileRefusesInTheChild) {
  FIXPOOL_IN_CHILD([this] {
    ExpectRefused(file_->SizeBytes().status());
    ExpectRefused(file_->Preallocate(0, kPage));
    ExpectRefused(file_->Truncate(0));
    ExpectRefused(file_->Sync());
    return std::string();
  });
  ExpectThatTheParentWorks();
}

TEST_P(ForkTest, DestructorsInTheChildLeaveTheParentAlone) {
  FIXPOOL_IN_CHILD([this] {
    const std::weak_ptr<ScratchMemory> backing = memory_;
    memory_.reset();
    registration_.reset();
    engine_.reset();
    registry_.reset();
    file_.reset();
    pipe_.reset();
    EXPECT_FALSE(backing.expired()) << "the parent may have unmapped it for good";
    EXPECT_EQ(environment_.message_count(), 0u) << environment_.Transcript();
    EXPECT_TRUE(absl::IsFailedPrecondition(OpenAgain()));
    return std::string();
  });
  ExpectThatTheParentWorks();
}

TEST_P(ForkTest, ChildThatEndsInOrderDisturbsNobody) {
  EXPECT_EQ(ExitCodeOfChild([] {}), 0);
  EXPECT_EQ(ExitCodeOfChild([this] {
              registration_.reset();
              engine_.reset();
              registry_.reset();
            }),
            0);
  ExpectThatTheParentWorks();
}

TEST_P(ForkTest, ChildMakesItsOwn) {
  FIXPOOL_IN_CHILD([this]() -> std::string {
    const auto registry = FixedBufferRegistry::Create({.environment = &environment_});
    const auto engine = OpenEngine(registry->get(), {.require = GetParam()});
    if (!engine.ok()) return std::string(engine.status().message());
    // A file from before is the parent's, lock and all; the child opens what it may.
    ExpectRefused((*engine)->AddFile(file_).status());
    const auto reader = File::Open(scratch_.File("data"), {.read_only = true});
    EXPECT_TRUE(reader.ok()) << reader.status();
    ScratchMemory memory(kPage);
    const auto registration = (*registry)->Register(*MemoryRegion::Create(memory.base(), kPage));
    EXPECT_TRUE(registration.ok()) << registration.status();
    std::unique_ptr<IoEngine> parents = std::exchange(engine_, nullptr);
    const IoRequest read =
        Read(*(*engine)->AddFile(*reader), registration->id(), memory.base(), kPage, 0);
    EXPECT_EQ((*engine)->Submit({&read, 1}).accepted, 1u);
    IoCompletion done[1];
    while ((*engine)->Reap(absl::MakeSpan(done), Deadline::Infinite()) == 0) {
    }
    EXPECT_TRUE(done[0].status.ok()) << done[0].status;
    EXPECT_EQ(std::string(memory.chars(), kPage), PatternBytes(1, 4 * kPage).substr(0, kPage));
    return "";
  });
  ExpectThatTheParentWorks();
}

// Other threads hold every lock that there is now and then, and so when the child is made.
TEST_P(ForkTest, NobodyWaitsForALockThatAThreadOfTheParentHeld) {
#ifdef FIXPOOL_INTERNAL_ASAN
  GTEST_SKIP() << "AddressSanitizer's allocator would be one who waits";
#endif
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    ScratchMemory memory(kPage);
    IoCompletion done[4];
    while (!stop.load()) {
      Registration other = *registry_->Register(*MemoryRegion::Create(memory.base(), kPage));
      const IoRequest read = Read(data_, other.id(), memory.base(), kPage, 0, 9);
      engine_->Submit({&read, 1});
      while (engine_->Reap(absl::MakeSpan(done), Deadline::Infinite()) == 0) {
      }
    }
  });
  for (int round = 0; round < 30; ++round) {
    const tests::ChildResult result = tests::RunInChild([this] {
      ExpectRefused(engine_->LevelOf(data_).status());
      ExpectRefused(registry_->InfoOf(registration_->id()).status());
      EXPECT_EQ(engine_->in_flight(), 0u);
      registration_.reset();
      engine_.reset();
      registry_.reset();
      return std::string();
    });
    EXPECT_EQ(result.outcome, tests::ChildResult::Outcome::kPassed) << result.reason;
  }
  stop.store(true);
  busy.join();
  ExpectThatTheParentWorks();
}

}  // namespace
}  // namespace fixpool::io
