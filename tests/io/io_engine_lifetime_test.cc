#include <fcntl.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "fixpool/io/error.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/memory_region.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/io/engine_kinds.h"
#include "tests/support/scratch.h"
#include "tests/support/sleeping_thread.h"
#include "tests/support/slow_pipe.h"

// Regions, files and engines that go while transfers are in flight. On all kinds of engines.

namespace fixpool::io {
namespace {

using ::fixpool::tests::BytesAt;
using ::fixpool::tests::PatternBytes;
using ::fixpool::tests::ReadWholeFile;
using ::fixpool::tests::ScratchMemory;
using ::fixpool::tests::SlowPipe;
using ::fixpool::tests::WaitUntilAsleep;
using ::testing::HasSubstr;

class IoEngineLifetimeTest : public tests::EngineKindTest {};
INSTANTIATE_TEST_SUITE_P(AllKinds, IoEngineLifetimeTest, tests::AllEngineKinds(), tests::EngineKindName);

// ---- Regions in flight ----

TEST_P(IoEngineLifetimeTest, ReleaseWaitsForAReadInFlight) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(file, registration.id(), memory.base(), 512, 0)});
  EXPECT_EQ(registry_->InfoOf(registration.id())->in_flight, 1u);
  const absl::Status status = registration.Release(absl::Milliseconds(20));
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_TRUE(registry_->IsCurrent(registration.id()));  // back in service
  pipe.Feed(std::string(512, 'r'));
  // Nobody reaps: Release itself takes the completion in.
  EXPECT_TRUE(registration.Release(absl::InfiniteDuration()).ok());
  EXPECT_EQ(BytesAt(memory, 0, 512), std::string(512, 'r'));
  // It is still there for its user.
  EXPECT_EQ(engine_->in_flight(), 1u);
  EXPECT_EQ(ReapCount(1).at(0).transferred_bytes, 512u);
}

TEST_P(IoEngineLifetimeTest, ReleaseFinishesDiskReadsThatNobodyReaps) {
  const FileHandle file = Add(OpenNew("data", PatternBytes(18, 64 * kPage)));
  ScratchMemory memory(64 * kPage);
  Registration registration = Register(memory);
  std::vector<IoRequest> reads;
  for (int i = 0; i < 64; ++i) {
    reads.push_back(Read(file, registration.id(), memory.at(i * kPage), kPage, i * kPage, i));
  }
  SubmitAll(reads);
  EXPECT_TRUE(registration.Release(absl::InfiniteDuration()).ok());
  EXPECT_EQ(BytesAt(memory, 0, 64 * kPage), PatternBytes(18, 64 * kPage));
  EXPECT_EQ(ReapCount(64).size(), 64u);
}

TEST_P(IoEngineLifetimeTest, ReleaseWhileAnotherThreadWaitsInReap) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(file, registration.id(), memory.base(), 512, 0)});
  std::atomic<pid_t> tid{0};
  std::thread waiter([&] {
    tid.store(gettid());
    EXPECT_EQ(ReapCount(1).size(), 1u);
  });
  WaitUntilAsleep(tid);
  EXPECT_TRUE(absl::IsDeadlineExceeded(registration.Release(absl::Milliseconds(10))));
  pipe.Feed(std::string(512, 'r'));
  EXPECT_TRUE(registration.Release(absl::InfiniteDuration()).ok());
  waiter.join();
}

TEST_P(IoEngineLifetimeTest, ShortReadIsResumedThoughNobodyReaps) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(file, registration.id(), memory.base(), 1024, 0)});
  pipe.Feed(std::string(512, 'a'));
  EXPECT_TRUE(absl::IsDeadlineExceeded(registration.Release(absl::Milliseconds(20))));
  pipe.Feed(std::string(512, 'b'));
  EXPECT_TRUE(registration.Release(absl::InfiniteDuration()).ok());
  EXPECT_EQ(BytesAt(memory, 0, 1024), std::string(512, 'a') + std::string(512, 'b'));
  EXPECT_EQ(ReapCount(1).at(0).transferred_bytes, 1024u);
}

// ---- Files ----

TEST_P(IoEngineLifetimeTest, AddFileRejectsNull) {
  EXPECT_TRUE(absl::IsInvalidArgument(engine_->AddFile(nullptr).status()));
}

TEST_P(IoEngineLifetimeTest, AddFileRejectsWhatCannotBeRead) {
  const std::string path = scratch_.MakeFile("write_only", PatternBytes(19, kPage));
  const int descriptor = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(descriptor, 0);
  const auto handle = engine_->AddFile(*File::Adopt(descriptor, path));
  EXPECT_EQ(ErrnoOf(handle.status()), EBADF) << handle.status();
  EXPECT_THAT(handle.status().message(), HasSubstr("write_only"));
}

TEST_P(IoEngineLifetimeTest, LevelOfAFileIsTheEnginesWhereNothingIsInTheWay) {
  const FileHandle direct = Add(OpenNew("direct", PatternBytes(20, kPage)));
  EXPECT_EQ(*engine_->LevelOf(direct), level());
  EXPECT_EQ(engine_->Report().level, level());
}

TEST_P(IoEngineLifetimeTest, FileTableFillsUp) {
  Reopen({.max_files = 2});
  const FileHandle first = Add(OpenNew("1", PatternBytes(1, kPage)));
  Add(OpenNew("2", PatternBytes(2, kPage)));
  std::shared_ptr<File> third = OpenNew("3", PatternBytes(3, kPage));
  const auto refused = engine_->AddFile(third);
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status())) << refused.status();
  EXPECT_THAT(refused.status().message(), HasSubstr("max_files"));
  EXPECT_EQ(third.use_count(), 1);
  ASSERT_TRUE(engine_->RemoveFile(first, Deadline::Infinite()).ok());
  const FileHandle handle = Add(third);
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  EXPECT_TRUE(Do(Read(handle, registration.id(), memory.base(), kPage, 0)).status.ok());
  EXPECT_EQ(BytesAt(memory, 0, kPage), PatternBytes(3, kPage));
}

TEST_P(IoEngineLifetimeTest, RemoveFileWaitsForWhatIsInFlightOnIt) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  std::weak_ptr<File> alive = pipe.file();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(file, registration.id(), memory.base(), 512, 0)});
  for (const Deadline deadline : {Deadline::Past(), Soon()}) {
    const absl::Status status = engine_->RemoveFile(file, deadline);
    EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
    EXPECT_TRUE(engine_->LevelOf(file).ok()) << "the file stays";
  }
  pipe.Feed(std::string(512, 'r'));
  EXPECT_TRUE(engine_->RemoveFile(file, Deadline::Infinite()).ok());
  EXPECT_TRUE(absl::IsNotFound(engine_->RemoveFile(file, Deadline::Infinite())));
  EXPECT_EQ(alive.use_count(), 1) << "the engine keeps what it said it forgot";
  EXPECT_EQ(ReapCount(1).at(0).transferred_bytes, 512u);  // its completion is not lost
}

TEST_P(IoEngineLifetimeTest, FileThatIsBeingRemovedTakesNoNewRequests) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(file, registration.id(), memory.base(), 512, 0)});
  std::thread remover([&] { EXPECT_TRUE(engine_->RemoveFile(file, Deadline::Infinite()).ok()); });
  while (engine_->LevelOf(file).ok()) std::this_thread::yield();
  EXPECT_TRUE(
      absl::IsNotFound(Submit(Read(file, registration.id(), memory.base(), 512, 0)).status));
  EXPECT_TRUE(absl::IsNotFound(engine_->RemoveFile(file, Deadline::Past())));
  pipe.Feed(std::string(512, 'r'));
  remover.join();
  ReapCount(1);
}

TEST_P(IoEngineLifetimeTest, EngineKeepsAFileOpenWhileItIsInFlight) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  std::shared_ptr<File> mine = pipe.file();
  std::weak_ptr<File> alive = mine;
  const FileHandle file = Add(std::move(mine));
  EXPECT_EQ(alive.use_count(), 2);  // the pipe's and the engine's
  engine_.reset();
  EXPECT_EQ(alive.use_count(), 1);
  static_cast<void>(file);
}

// The lock of a file goes with it, at once and not when the kernel has swept up the ring.
TEST_P(IoEngineLifetimeTest, FileCanBeReopenedForWritingOnceTheEngineLetGo) {
  const std::string path = scratch_.MakeFile("data", PatternBytes(21, 16 * kPage));
  ScratchMemory memory(16 * kPage);
  for (int round = 0; round < 30; ++round) {
    Registration registration = Register(memory);
    absl::StatusOr<std::shared_ptr<File>> file = File::Open(path);
    ASSERT_TRUE(file.ok()) << "round " << round << ": " << file.status();
    const FileHandle handle = Add(std::move(*file));
    SubmitAll({Read(handle, registration.id(), memory.base(), 16 * kPage, 0)});
    if (round % 3 == 0) ReapCount(1);
    if (round % 2 == 0) {
      ASSERT_TRUE(engine_->RemoveFile(handle, Deadline::Infinite()).ok());
      if (round % 3 != 0) ReapCount(1);
    } else {
      Reopen({});
    }
  }
}

// ---- The end of an engine ----

TEST_P(IoEngineLifetimeTest, EngineDestroyedWithDiskIoInFlightLosesNoWrite) {
  constexpr int kWrites = 64;
  constexpr size_t kBytes = 16 * kPage;
  const std::string bytes = PatternBytes(22, kWrites * kBytes);
  ScratchMemory memory(kWrites * kBytes);
  std::memcpy(memory.chars(), bytes.data(), bytes.size());
  Registration registration = Register(memory);
  const FileHandle file = Add(OpenNew("data", std::string(kWrites * kBytes, 'x')));
  std::vector<IoRequest> writes;
  for (int i = 0; i < kWrites; ++i) {
    writes.push_back(Write(file, registration.id(), memory.at(i * kBytes), kBytes, i * kBytes, i));
  }
  SubmitAll(writes);
  engine_.reset();
  // All leases are back, so the memory is the caller's again.
  EXPECT_EQ(registry_->InfoOf(registration.id())->in_flight, 0u);
  EXPECT_TRUE(registration.Release(absl::ZeroDuration()).ok());
  EXPECT_TRUE(ReadWholeFile(scratch_.File("data")) == bytes);
  EXPECT_EQ(environment_.message_count(), 0u) << environment_.Transcript();
}

TEST_P(IoEngineLifetimeTest, TwoEnginesShareARegistry) {
  std::unique_ptr<IoEngine> first = std::move(engine_);
  ScratchMemory memory(8 * kPage);
  Registration before = Register(memory);  // reaches the first as it comes
  ASSERT_TRUE(OpenKind()) << why_not_;
  ScratchMemory more(8 * kPage);
  Registration after = Register(more);  // reaches both
  const std::string bytes = PatternBytes(23, 8 * kPage);
  std::shared_ptr<File> file = OpenNew("data", bytes);
  for (IoEngine* engine : {first.get(), engine_.get()}) {
    const FileHandle handle = *engine->AddFile(file);
    for (const auto& [registration, where] :
         {std::pair(&before, &memory), std::pair(&after, &more)}) {
      std::memset(where->chars(), 0, where->size_bytes());
      const IoRequest read = Read(handle, registration->id(), where->base(), 8 * kPage, 0);
      ASSERT_EQ(engine->Submit({&read, 1}).accepted, 1u);
      IoCompletion done[1];
      while (engine->Reap(absl::MakeSpan(done), Eventually()) == 0) {
      }
      EXPECT_TRUE(done[0].status.ok()) << done[0].status;
      EXPECT_EQ(BytesAt(*where, 0, 8 * kPage), bytes);
    }
    EXPECT_EQ(engine->Report().counters.fixed_transfers, ExpectedFixed(2));
  }
  // A handle of one is nothing to the other's files, and each goes by itself.
  first.reset();
  EXPECT_TRUE(after.Release(absl::ZeroDuration()).ok());
  const FileHandle handle = Add(file);
  EXPECT_TRUE(Do(Read(handle, before.id(), memory.base(), kPage, 0)).status.ok());
}

// What one engine is done with another may still be using.
TEST_P(IoEngineLifetimeTest, ReleaseWaitsForTheOtherEnginesTransfer) {
  std::unique_ptr<IoEngine> first = std::move(engine_);
  ASSERT_TRUE(OpenKind()) << why_not_;
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle slow = Add(pipe.file());
  const FileHandle file = *first->AddFile(OpenNew("data", PatternBytes(24, kPage)));
  auto memory = std::make_shared<ScratchMemory>(2 * kPage);
  const std::weak_ptr<ScratchMemory> alive = memory;
  Registration registration = *registry_->Register(
      *MemoryRegion::Create(memory->base(), 2 * kPage), {.backing = memory});
  memory.reset();
  SubmitAll({Read(slow, registration.id(), alive.lock()->base(), 512, 0)});
  const IoRequest read = Read(file, registration.id(), alive.lock()->at(kPage), kPage, 0);
  ASSERT_EQ(first->Submit({&read, 1}).accepted, 1u);
  IoCompletion done[1];
  while (first->Reap(absl::MakeSpan(done), Eventually()) == 0) {
  }
  EXPECT_TRUE(absl::IsDeadlineExceeded(registration.Release(absl::Milliseconds(20))));
  first.reset();
  EXPECT_TRUE(absl::IsDeadlineExceeded(registration.Release(absl::Milliseconds(20))));
  ASSERT_FALSE(alive.expired());
  memory = alive.lock();
  pipe.Feed(std::string(512, 'o'));
  EXPECT_TRUE(registration.Release(absl::InfiniteDuration()).ok());
  EXPECT_EQ(BytesAt(*memory, 0, 1024), std::string(512, 'o') + std::string(512, '\0'));
  memory.reset();
  EXPECT_TRUE(alive.expired());
  EXPECT_EQ(ReapCount(1).at(0).transferred_bytes, 512u);
}

}  // namespace
}  // namespace fixpool::io
