#include "fixpool/io/io_engine.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdint>
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
#include "fixpool/io/memory_region.h"
#include "fixpool/io/region_id.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/io/engine_kinds.h"
#include "tests/support/scratch.h"
#include "tests/support/slow_pipe.h"

// Moving bytes, refusals, short transfers. On all kinds of engines, see engine_kinds.h.

namespace fixpool::io {
namespace {

using ::fixpool::tests::BytesAt;
using ::fixpool::tests::PatternBytes;
using ::fixpool::tests::ReadWholeFile;
using ::fixpool::tests::ScratchMemory;
using ::fixpool::tests::SlowPipe;
using ::testing::HasSubstr;

class IoEngineTest : public tests::EngineKindTest {};
INSTANTIATE_TEST_SUITE_P(AllKinds, IoEngineTest, tests::AllEngineKinds(), tests::EngineKindName);

// ---- Moving bytes ----

TEST_P(IoEngineTest, WritesAndReadsBackDirectAndBuffered) {
  constexpr size_t kSize = 64 * kPage;
  ScratchMemory memory(2 * kSize);
  Registration registration = Register(memory);
  for (const auto direct : {File::DirectIo::kPrefer, File::DirectIo::kNever}) {
    const std::string name = direct == File::DirectIo::kPrefer ? "direct" : "buffered";
    const FileHandle file = Add(OpenNew(name, std::string(kSize, 'x'), direct));
    const std::string bytes = PatternBytes(direct == File::DirectIo::kPrefer, kSize);
    std::memcpy(memory.chars(), bytes.data(), kSize);
    std::memset(memory.chars(kSize), 0, kSize);
    const IoCompletion written = Do(Write(file, registration.id(), memory.base(), kSize, 0, 7));
    EXPECT_TRUE(written.status.ok()) << written.status;
    EXPECT_EQ(written.transferred_bytes, kSize);
    EXPECT_EQ(written.user_data, 7u);
    EXPECT_TRUE(Do(Sync(file)).status.ok());
    EXPECT_EQ(ReadWholeFile(scratch_.File(name)), bytes);
    const IoCompletion read =
        Do(Read(file, registration.id(), memory.at(kSize), kSize, 0, ~uint64_t{0}));
    EXPECT_TRUE(read.status.ok()) << read.status;
    EXPECT_EQ(read.transferred_bytes, kSize);
    EXPECT_EQ(read.user_data, ~uint64_t{0});
    EXPECT_EQ(BytesAt(memory, kSize, kSize), bytes);
  }
  const EngineCounters counters = engine_->Report().counters;
  EXPECT_EQ(counters.fixed_transfers, ExpectedFixed(4));
  EXPECT_EQ(counters.plain_transfers, 4 - ExpectedFixed(4));
  EXPECT_EQ(counters.syncs, 2u);
  EXPECT_EQ(counters.failed, 0u);
  EXPECT_GE(counters.kernel_enters, level() == EngineLevel::kThreads ? 6u : 1u);
  EXPECT_EQ(counters.peak_in_flight, 1u);
}

// A 6.5 kernel got the address of the second and later ones wrong.
TEST_P(IoEngineTest, BatchedReadsAtOffset4096IntoARegionGoWhereTheyShould) {
  constexpr int kReads = 8;
  const std::string bytes = PatternBytes(1, kReads * kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  ScratchMemory memory((kReads + 2) * kPage);
  std::memset(memory.chars(), 'm', memory.size_bytes());
  Registration registration = Register(memory);
  std::vector<IoRequest> reads;
  for (int i = 0; i < kReads; ++i) {
    reads.push_back(Read(file, registration.id(), memory.at((i + 1) * kPage), kPage, i * kPage, i));
  }
  SubmitAll(reads);
  for (const auto& [user_data, completion] : ReapCount(kReads)) {
    EXPECT_TRUE(completion.status.ok()) << user_data << ": " << completion.status;
    EXPECT_EQ(completion.transferred_bytes, kPage);
  }
  EXPECT_EQ(BytesAt(memory, kPage, bytes.size()), bytes);
  EXPECT_EQ(BytesAt(memory, 0, kPage), std::string(kPage, 'm'));
  EXPECT_EQ(BytesAt(memory, (kReads + 1) * kPage, kPage), std::string(kPage, 'm'));
}

TEST_P(IoEngineTest, ReadThatMeetsTheEndOfTheFileIsShortAndOk) {
  const std::string bytes = PatternBytes(2, kPage + 1000);
  ScratchMemory memory(4 * kPage);
  Registration registration = Register(memory);
  for (const auto direct : {File::DirectIo::kPrefer, File::DirectIo::kNever}) {
    const FileHandle file =
        Add(OpenNew(direct == File::DirectIo::kPrefer ? "direct" : "buffered", bytes, direct));
    const IoCompletion across = Do(Read(file, registration.id(), memory.base(), 4 * kPage, 0));
    EXPECT_TRUE(across.status.ok()) << across.status;
    EXPECT_EQ(across.transferred_bytes, kPage + 1000);
    EXPECT_EQ(BytesAt(memory, 0, bytes.size()), bytes);
    const IoCompletion tail = Do(Read(file, registration.id(), memory.base(), kPage, kPage));
    EXPECT_TRUE(tail.status.ok()) << tail.status;
    EXPECT_EQ(tail.transferred_bytes, 1000u);
    EXPECT_EQ(BytesAt(memory, 0, 1000), bytes.substr(kPage));
    for (const uint64_t offset : {uint64_t{2 * kPage}, uint64_t{1} << 40}) {
      const IoCompletion past = Do(Read(file, registration.id(), memory.base(), kPage, offset));
      EXPECT_TRUE(past.status.ok()) << past.status;
      EXPECT_EQ(past.transferred_bytes, 0u);
    }
  }
}

TEST_P(IoEngineTest, ReadOfAnEmptyFileIsEmpty) {
  const FileHandle file = Add(OpenNew("empty", ""));
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  const IoCompletion read = Do(Read(file, registration.id(), memory.base(), kPage, 0));
  EXPECT_TRUE(read.status.ok()) << read.status;
  EXPECT_EQ(read.transferred_bytes, 0u);
}

TEST_P(IoEngineTest, UnregisteredMemoryGoesThePlainWay) {
  const std::string bytes = PatternBytes(3, 2 * kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  ScratchMemory memory(2 * kPage);
  const IoCompletion read = Do(Read(file, RegionId::kUnregistered, memory.base(), 2 * kPage, 0));
  EXPECT_TRUE(read.status.ok()) << read.status;
  EXPECT_EQ(BytesAt(memory, 0, 2 * kPage), bytes);
  EXPECT_EQ(engine_->Report().counters.fixed_transfers, 0u);
  EXPECT_EQ(engine_->Report().counters.plain_transfers, 1u);
}

TEST_P(IoEngineTest, InaccessibleMemoryIsAnErrorAndNoCrash) {
  const FileHandle file = Add(OpenNew("data", PatternBytes(4, kPage), File::DirectIo::kNever));
  ScratchMemory memory(kPage);
  memory.MakeInaccessible();
  const IoCompletion read = Do(Read(file, RegionId::kUnregistered, memory.base(), kPage, 0));
  EXPECT_EQ(ErrnoOf(read.status), EFAULT) << read.status;
  EXPECT_EQ(engine_->Report().counters.failed, 1u);
}

TEST_P(IoEngineTest, FailedTransferNamesOperationFileOffsetAndErrno) {
  const int descriptor = open("/dev/full", O_RDWR | O_CLOEXEC);
  if (descriptor < 0) GTEST_SKIP() << "no /dev/full here";
  const FileHandle file = Add(*File::Adopt(descriptor, "full device"));
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  const IoCompletion write = Do(Write(file, registration.id(), memory.base(), kPage, 8192));
  EXPECT_TRUE(absl::IsResourceExhausted(write.status)) << write.status;
  EXPECT_EQ(ErrnoOf(write.status), ENOSPC);
  EXPECT_EQ(write.transferred_bytes, 0u);
  for (const char* part : {"write", "4096 bytes", "offset 8192", "full device", "ENOSPC"}) {
    EXPECT_THAT(write.status.message(), HasSubstr(part));
  }
  EXPECT_EQ(engine_->Report().counters.failed, 1u);
  // The failed one gave its lease back, and leaves nothing behind in the next.
  EXPECT_EQ(registry_->InfoOf(registration.id())->in_flight, 0u);
  const FileHandle good = Add(OpenNew("data", PatternBytes(5, kPage)));
  EXPECT_TRUE(Do(Read(good, registration.id(), memory.base(), kPage, 0)).status.ok());
}

TEST_P(IoEngineTest, SyncOfWhatCannotBeSyncedIsAnError) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  const IoCompletion sync = Do(Sync(file, 9));
  EXPECT_EQ(ErrnoOf(sync.status), EINVAL) << sync.status;
  EXPECT_EQ(sync.user_data, 9u);
  EXPECT_THAT(sync.status.message(), HasSubstr("sync of slow pipe"));
}

// ---- Refusals ----

TEST_P(IoEngineTest, RefusesHandlesThatNameNoFile) {
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  const FileHandle file = Add(OpenNew("data", PatternBytes(6, kPage)));
  const FileHandle removed = Add(OpenNew("other", PatternBytes(6, kPage)));
  ASSERT_TRUE(engine_->RemoveFile(removed, Deadline::Infinite()).ok());
  const FileHandle forged[] = {FileHandle(),
                               removed,
                               FileHandle(file.slot(), file.generation() + 1),
                               FileHandle(file.slot(), 0),
                               FileHandle(0xffff, 1),
                               FileHandle(0xffff, 0xffffffff)};
  for (const FileHandle handle : forged) {
    const SubmitResult result = Submit(Read(handle, registration.id(), memory.base(), kPage, 0));
    EXPECT_EQ(result.accepted, 0u);
    EXPECT_TRUE(absl::IsNotFound(result.status)) << result.status;
    EXPECT_TRUE(absl::IsNotFound(Submit(Sync(handle)).status));
    EXPECT_TRUE(absl::IsNotFound(engine_->LevelOf(handle).status()));
    EXPECT_TRUE(absl::IsNotFound(engine_->RemoveFile(handle, Deadline::Past())));
  }
  // The place is used again, under another generation.
  const FileHandle again = Add(OpenNew("third", PatternBytes(6, kPage)));
  EXPECT_EQ(again.slot(), removed.slot());
  EXPECT_NE(again, removed);
  EXPECT_TRUE(absl::IsNotFound(engine_->LevelOf(removed).status()));
  EXPECT_EQ(registry_->InfoOf(registration.id())->in_flight, 0u);
}

TEST_P(IoEngineTest, RefusesMalformedRequests) {
  ScratchMemory memory(4 * kPage);
  Registration registration = Register(memory);
  const RegionId id = registration.id();
  const FileHandle file = Add(OpenNew("data", PatternBytes(7, 4 * kPage)));
  const FileHandle read_only =
      Add(*File::Open(scratch_.MakeFile("read_only", PatternBytes(8, kPage)), {.read_only = true}));
  struct Case {
    IoRequest request;
    absl::StatusCode code;
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const Case cases[] = {
      {Read(file, id, memory.base(), 0, 0), invalid},
      {Read(file, id, memory.base(), (1u << 30) + 4096, 0), invalid},
      {Read(file, RegionId::kUnregistered, memory.base(), 0xfffff000, 0), invalid},
      {Read(file, id, memory.base(), kPage, uint64_t{INT64_MAX} - 4095), invalid},
      {Read(file, id, memory.base(), kPage, ~uint64_t{0} - 4095), invalid},
      {Write(file, id, memory.base(), kPage, uint64_t{1} << 63), invalid},
      {Write(read_only, id, memory.base(), kPage, 0), absl::StatusCode::kFailedPrecondition},
  };
  for (const Case& c : cases) {
    const SubmitResult result = Submit(c.request);
    EXPECT_EQ(result.accepted, 0u);
    EXPECT_EQ(result.status.code(), c.code) << result.status;
  }
  EXPECT_TRUE(Do(Read(read_only, id, memory.base(), kPage, 0)).status.ok());
  EXPECT_EQ(engine_->in_flight(), 0u);
  EXPECT_EQ(registry_->InfoOf(id)->in_flight, 0u);
}

TEST_P(IoEngineTest, RefusesWhatDirectIoWouldRefuse) {
  std::shared_ptr<File> file = OpenNew("data", PatternBytes(9, 4 * kPage));
  if (!file->direct() || file->alignment().memory_bytes < 2) {
    GTEST_SKIP() << "no direct I/O in " << scratch_.path();
  }
  const File::Alignment alignment = file->alignment();
  const FileHandle handle = Add(std::move(file));
  ScratchMemory memory(4 * kPage);
  // No alignment of the region's own, so that the file's is what counts.
  Registration registration = *registry_->Register(
      *MemoryRegion::Create(memory.base(), memory.size_bytes()), {.alignment_bytes = 1});
  for (const RegionId id : {registration.id(), RegionId::kUnregistered}) {
    for (const IoRequest& request :
         {Read(handle, id, memory.base(), alignment.offset_bytes, 1),
          Read(handle, id, memory.base(), alignment.offset_bytes, alignment.offset_bytes / 2),
          Read(handle, id, memory.base(), alignment.offset_bytes + 1, 0),
          Write(handle, id, memory.base(), alignment.offset_bytes / 2, 0),
          Write(handle, id, memory.at(1), alignment.offset_bytes, 0),
          Read(handle, id, memory.at(alignment.memory_bytes / 2), alignment.offset_bytes, 0)}) {
      const SubmitResult result = Submit(request);
      EXPECT_EQ(result.accepted, 0u);
      EXPECT_EQ(ValidationErrorOf(result.status), ValidationError::kMisaligned) << result.status;
      EXPECT_THAT(result.status.message(), HasSubstr("direct I/O"));
    }
    EXPECT_TRUE(Do(Read(handle, id, memory.at(alignment.memory_bytes), alignment.offset_bytes,
                        alignment.offset_bytes))
                    .status.ok());
  }
}

TEST_P(IoEngineTest, RefusesWhatTheRegistryRefuses) {
  auto other = *FixedBufferRegistry::Create({.capacity = 4});
  ScratchMemory memory(4 * kPage);
  Registration stale = Register(memory);
  const RegionId stale_id = stale.id();
  ASSERT_TRUE(stale.Release(absl::ZeroDuration()).ok());
  Registration live = Register(memory);
  ASSERT_EQ(live.id().slot(), stale_id.slot());
  Registration foreign =
      *other->Register(*MemoryRegion::Create(memory.base(), memory.size_bytes()));
  const FileHandle file = Add(OpenNew("data", PatternBytes(10, 8 * kPage), File::DirectIo::kNever));
  struct Case {
    IoRequest request;
    ValidationError error;
  };
  const Case cases[] = {
      {Read(file, RegionId(), memory.base(), kPage, 0), ValidationError::kUnknownRegion},
      {Read(file, stale_id, memory.base(), kPage, 0), ValidationError::kStaleGeneration},
      {Read(file, foreign.id(), memory.base(), kPage, 0), ValidationError::kForeignRegistry},
      {Read(file, live.id(), memory.at(3 * kPage), 2 * kPage, 0), ValidationError::kOutOfRegion},
      {Write(file, live.id(), memory.base() - kPage, kPage, 0), ValidationError::kOutOfRegion},
      {Read(file, live.id(), reinterpret_cast<void*>(UINTPTR_MAX - 511), kPage, 0),
       ValidationError::kOutOfRegion},
      {Read(file, live.id(), memory.at(100), kPage, 0), ValidationError::kMisaligned},
  };
  for (const Case& c : cases) {
    const SubmitResult result = Submit(c.request);
    EXPECT_EQ(result.accepted, 0u);
    EXPECT_EQ(ValidationErrorOf(result.status), c.error) << result.status;
    EXPECT_THAT(result.status.message(), HasSubstr("data"));  // names the file as well
  }
  EXPECT_EQ(registry_->InfoOf(live.id())->in_flight, 0u);
  EXPECT_EQ(engine_->in_flight(), 0u);
}

TEST_P(IoEngineTest, BadRequestInABatchStopsThereAndTheEarlierOnesComplete) {
  const std::string bytes = PatternBytes(11, 4 * kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  ScratchMemory memory(4 * kPage);
  Registration registration = Register(memory);
  std::vector<IoRequest> reads;
  for (int i = 0; i < 4; ++i) {
    reads.push_back(Read(file, registration.id(), memory.at(i * kPage), kPage, i * kPage, i));
  }
  reads[2].length_bytes = 3 * kPage;  // across the end of the region
  const SubmitResult result = engine_->Submit(reads);
  EXPECT_EQ(result.accepted, 2u);
  EXPECT_EQ(ValidationErrorOf(result.status), ValidationError::kOutOfRegion);
  const auto completions = ReapCount(2);
  EXPECT_TRUE(completions.at(0).status.ok());
  EXPECT_TRUE(completions.at(1).status.ok());
  EXPECT_EQ(BytesAt(memory, 0, 2 * kPage), bytes.substr(0, 2 * kPage));
  EXPECT_EQ(BytesAt(memory, 2 * kPage, 2 * kPage), std::string(2 * kPage, '\0'));
  EXPECT_EQ(engine_->in_flight(), 0u);
}

TEST_P(IoEngineTest, SubmitOfNothingIsNothing) {
  const SubmitResult result = engine_->Submit({});
  EXPECT_EQ(result.accepted, 0u);
  EXPECT_TRUE(result.status.ok());
}

TEST_P(IoEngineTest, FullEngineTakesWhatFitsAndGoesOnAfterReaping) {
  Reopen({.depth = 4});
  EXPECT_EQ(engine_->depth(), 4u);
  const std::string bytes = PatternBytes(12, 6 * kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  ScratchMemory memory(6 * kPage);
  Registration registration = Register(memory);
  std::vector<IoRequest> reads;
  for (int i = 0; i < 6; ++i) {
    reads.push_back(Read(file, registration.id(), memory.at(i * kPage), kPage, i * kPage, i));
  }
  const SubmitResult first = engine_->Submit(reads);
  EXPECT_EQ(first.accepted, 4u);
  EXPECT_TRUE(first.status.ok()) << first.status;
  EXPECT_EQ(engine_->in_flight(), 4u);
  // Done or not, they count until they are reaped.
  EXPECT_EQ(engine_->Submit(absl::MakeSpan(reads).subspan(4)).accepted, 0u);
  ReapCount(1);
  EXPECT_EQ(engine_->Submit(absl::MakeSpan(reads).subspan(4)).accepted, 1u);
  ReapCount(4);
  EXPECT_EQ(engine_->in_flight(), 0u);
  EXPECT_EQ(engine_->Submit(absl::MakeSpan(reads).subspan(5)).accepted, 1u);
  ReapCount(1);
  EXPECT_EQ(BytesAt(memory, 0, bytes.size()), bytes);
  EXPECT_EQ(engine_->Report().counters.peak_in_flight, 4u);
  EXPECT_EQ(engine_->Report().depth, 4u);
}

// ---- Short transfers ----

TEST_P(IoEngineTest, ReadThatComesInPortionsIsResumedToTheEnd) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(4 * kPage);
  Registration registration = Register(memory);
  const std::string bytes = PatternBytes(16, 4 * kPage);
  SubmitAll({Read(file, registration.id(), memory.base(), 4 * kPage, 0)});
  std::vector<IoCompletion> some(1);
  for (size_t done = 0; done < bytes.size(); done += 1024) {
    // Nobody is told before all of it is there.
    EXPECT_EQ(engine_->Reap(absl::MakeSpan(some), Deadline::Past()), 0u);
    pipe.Feed(bytes.substr(done, 1024));
  }
  const auto completions = ReapCount(1);
  EXPECT_TRUE(completions.at(0).status.ok()) << completions.at(0).status;
  EXPECT_EQ(completions.at(0).transferred_bytes, 4 * kPage);
  EXPECT_EQ(BytesAt(memory, 0, 4 * kPage), bytes);
}

TEST_P(IoEngineTest, ReadWhoseSourceEndsIsShortAndOk) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(file, registration.id(), memory.base(), kPage, 0)});
  pipe.Feed("the last words");
  pipe.Close();
  const auto completions = ReapCount(1);
  EXPECT_TRUE(completions.at(0).status.ok()) << completions.at(0).status;
  EXPECT_EQ(completions.at(0).transferred_bytes, 14u);
  EXPECT_EQ(BytesAt(memory, 0, 14), "the last words");
  EXPECT_EQ(engine_->Report().counters.resumed, 1u);
}

TEST_P(IoEngineTest, WriteLargerThanThePipeIsResumedToTheEnd) {
  constexpr size_t kSize = 1 << 20;  // a pipe holds 64 KiB
  SlowPipe pipe = SlowPipe::ToWriteTo();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kSize);
  Registration registration = Register(memory);
  const std::string bytes = PatternBytes(17, kSize);
  std::memcpy(memory.chars(), bytes.data(), kSize);
  SubmitAll({Write(file, registration.id(), memory.base(), kSize, 0)});
  std::string drunk;
  std::thread drinker([&] { drunk = pipe.Drink(kSize); });
  const auto completions = ReapCount(1);
  drinker.join();
  EXPECT_TRUE(completions.at(0).status.ok()) << completions.at(0).status;
  EXPECT_EQ(completions.at(0).transferred_bytes, kSize);
  EXPECT_TRUE(drunk == bytes);
}

// ---- Without an engine ----

TEST(EngineLevelTest, NamesAreThoseThatUsersType) {
  EXPECT_EQ(EngineLevelName(EngineLevel::kUringFixed), "uring_fixed");
  EXPECT_EQ(EngineLevelName(EngineLevel::kUringPlain), "uring_plain");
  EXPECT_EQ(EngineLevelName(EngineLevel::kThreads), "threads");
  EXPECT_EQ(EngineLevelName(static_cast<EngineLevel>(99)), "invalid");
}

TEST(EngineReportTest, ToStringSaysLevelDepthAndTheReasonOfADowngrade) {
  EngineReport report;
  report.level = EngineLevel::kUringFixed;
  report.depth = 128;
  EXPECT_EQ(report.ToString(), "io: io_uring with fixed buffers, depth 128");
  report.level = EngineLevel::kUringPlain;
  report.downgrade_errno = ENOMEM;
  report.downgrade_reason = "too little";
  EXPECT_EQ(report.ToString(),
            "io: io_uring without fixed buffers, depth 128 (no better: too little)");
  report.level = EngineLevel::kThreads;
  report.downgrade_errno = 0;
  report.downgrade_reason = "hidden";
  EXPECT_EQ(report.ToString(),
            "io: pread and pwrite on a pool of threads, depth 128 (no better: hidden)");
}

TEST(EngineReportTest, ToStringSaysWhichExtrasAreInForceAndWhyOthersAreNot) {
  EngineReport report;
  report.level = EngineLevel::kUringFixed;
  report.depth = 128;
  report.sqpoll = {.asked = true, .in_force = true};
  report.iopoll = {.asked = true, .error_number = EOPNOTSUPP, .reason = "no such queues"};
  report.registered_ring = {.asked = true, .in_force = true};
  EXPECT_EQ(report.ToString(),
            "io: io_uring with fixed buffers, depth 128, sqpoll, registered_ring "
            "(no iopoll: no such queues)");
}


}  // namespace
}  // namespace fixpool::io
