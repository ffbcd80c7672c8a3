#include "fixpool/io/io_engine.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "fixpool/io/error.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/region_id.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/io/engine_fixture.h"
#include "tests/io/kernel_threads.h"
#include "tests/support/scratch.h"
#include "tests/support/seed.h"
#include "tests/support/sleeping_thread.h"
#include "tests/support/slow_pipe.h"

// What every engine promises, on each of the three that the library has, and on io_uring with
// the extras that a machine may have. What is particular
// to one of them is in uring_engine_test.cc and thread_pool_engine_test.cc.

namespace fixpool::io {
namespace {

using ::fixpool::tests::PatternBytes;
using ::fixpool::tests::ReadWholeFile;
using ::fixpool::tests::ScratchMemory;
using ::fixpool::tests::SlowPipe;
using ::fixpool::tests::WaitUntilAsleep;
using ::testing::HasSubstr;

struct Kind {
  const char* name;
  EngineLevel level;
  RingExtra sqpoll = RingExtra::kOff;
  RingExtra registered_ring = RingExtra::kOff;
};

class IoEngineTest : public tests::EngineFixture, public ::testing::WithParamInterface<Kind> {
 protected:
  void SetUp() override {
    if (!OpenKind()) GTEST_SKIP() << why_not_;
  }
  bool OpenKind(EngineOptions options = {}) {
    options.sqpoll = GetParam().sqpoll;
    options.registered_ring = GetParam().registered_ring;
    return OpenAt(level(), options);
  }
  void Reopen(EngineOptions options) {
    engine_.reset();
    ASSERT_TRUE(OpenKind(options)) << why_not_;
  }
  static EngineLevel level() { return GetParam().level; }
  // Requires that the file system of the tests has direct I/O, and so has fixed buffers.
  uint64_t ExpectedFixed(uint64_t transfers) const {
    return level() == EngineLevel::kUringFixed ? transfers : 0;
  }
};

INSTANTIATE_TEST_SUITE_P(AllKinds, IoEngineTest,
                         ::testing::Values(Kind{"uring_fixed", EngineLevel::kUringFixed},
                                           Kind{"uring_plain", EngineLevel::kUringPlain},
                                           Kind{"threads", EngineLevel::kThreads},
                                           Kind{.name = "sqpoll",
                                                .level = EngineLevel::kUringFixed,
                                                .sqpoll = RingExtra::kRequire},
                                           Kind{.name = "registered_ring",
                                                .level = EngineLevel::kUringFixed,
                                                .registered_ring = RingExtra::kRequire}),
                         [](const auto& info) { return std::string(info.param.name); });

std::string BytesAt(const ScratchMemory& memory, size_t offset_bytes, size_t length_bytes) {
  return std::string(memory.chars(offset_bytes), length_bytes);
}

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

// ---- Reaping ----

TEST_P(IoEngineTest, ReapReturnsAtOnceWhereThereIsNothingToWaitFor) {
  std::vector<IoCompletion> some(4);
  EXPECT_EQ(engine_->Reap(absl::MakeSpan(some), Deadline::Infinite()), 0u);  // nothing in flight
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(file, registration.id(), memory.base(), 512, 0)});
  EXPECT_EQ(engine_->Reap({}, Deadline::Infinite()), 0u);                // no place for any
  EXPECT_EQ(engine_->Reap(absl::MakeSpan(some), Deadline::Past()), 0u);  // a poll
  EXPECT_EQ(engine_->Reap(absl::MakeSpan(some), Soon()), 0u);            // time is up
  EXPECT_EQ(engine_->in_flight(), 1u);
  pipe.Feed(std::string(512, 'f'));
  EXPECT_EQ(ReapCount(1).at(0).transferred_bytes, 512u);
  EXPECT_EQ(engine_->Reap(absl::MakeSpan(some), Deadline::Infinite()), 0u);
}

TEST_P(IoEngineTest, ReapsInPortionsOfTheCallersSize) {
  const FileHandle file = Add(OpenNew("data", PatternBytes(13, 8 * kPage)));
  ScratchMemory memory(8 * kPage);
  Registration registration = Register(memory);
  std::vector<IoRequest> reads;
  for (int i = 0; i < 8; ++i) {
    reads.push_back(Read(file, registration.id(), memory.at(i * kPage), kPage, i * kPage, i));
  }
  SubmitAll(reads);
  uint64_t seen = 0;
  while (seen != 0xff) {
    IoCompletion one[1];
    if (engine_->Reap(absl::MakeSpan(one), Eventually()) == 1) {
      EXPECT_TRUE(one[0].status.ok());
      EXPECT_EQ(seen & (1u << one[0].user_data), 0u);
      seen |= 1u << one[0].user_data;
    }
  }
  EXPECT_EQ(engine_->in_flight(), 0u);
}

TEST_P(IoEngineTest, WaiterFinishesThoughTheSubmitterNeverComesBack) {
  const std::string bytes = PatternBytes(14, 16 * kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  ScratchMemory memory(16 * kPage);
  Registration registration = Register(memory);
  std::vector<IoRequest> reads;
  for (int i = 0; i < 8; ++i) {
    reads.push_back(Read(file, registration.id(), memory.at(i * kPage), kPage, i * kPage, i));
  }
  // One submitter that is gone...
  std::thread([&] { SubmitAll(reads); }).join();
  EXPECT_EQ(ReapCount(8).size(), 8u);
  // ... and one that sleeps in a system call of its own.
  int sleep_pipe[2];
  ASSERT_EQ(pipe(sleep_pipe), 0);
  for (int i = 0; i < 8; ++i) {
    reads[i].data = memory.at((8 + i) * kPage);
    reads[i].offset_bytes = (8 + i) * kPage;
  }
  std::atomic<bool> submitted{false};
  std::thread sleeper([&] {
    SubmitAll(reads);
    submitted.store(true);
    char byte;
    EXPECT_EQ(read(sleep_pipe[0], &byte, 1), 1);
  });
  while (!submitted.load()) std::this_thread::yield();
  EXPECT_EQ(ReapCount(8).size(), 8u);
  EXPECT_EQ(write(sleep_pipe[1], "w", 1), 1);
  sleeper.join();
  EXPECT_EQ(BytesAt(memory, 0, bytes.size()), bytes);
  close(sleep_pipe[0]);
  close(sleep_pipe[1]);
}

// What the kernel has still to do in the name of a thread, it gives up when that thread exits: the
// read of a pipe that has nothing yet (ECANCELED), and a buffered read whose page comes later
// (EFAULT).
TEST_P(IoEngineTest, SubmitterThatExitsTakesNoRequestWithIt) {
  const std::string bytes = PatternBytes(24, 64 * kPage);
  ScratchMemory memory(33 * kPage);
  Registration registration = Register(memory);
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle pipe_file = Add(pipe.file());
  std::shared_ptr<File> cold = OpenNew("data", bytes, File::DirectIo::kNever);
  ASSERT_TRUE(cold->Sync().ok());
  const FileHandle file = Add(cold);
  std::vector<IoRequest> requests;
  for (int i = 0; i < 32; ++i) {  // every other page: nothing reads ahead of them
    requests.push_back(
        Read(file, registration.id(), memory.at(i * kPage), kPage, 2 * i * kPage, i));
  }
  requests.push_back(Read(pipe_file, registration.id(), memory.at(32 * kPage), 512, 0, 32));
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(posix_fadvise(cold->descriptor(), 0, 0, POSIX_FADV_DONTNEED), 0);
    std::memset(memory.chars(), 0, memory.size_bytes());
    std::thread([&] { SubmitAll(requests); }).join();
    pipe.Feed(std::string(512, 'p'));
    for (const auto& [user_data, completion] : ReapCount(requests.size())) {
      EXPECT_TRUE(completion.status.ok()) << user_data << ": " << completion.status;
    }
    for (int i = 0; i < 32; ++i) {
      EXPECT_TRUE(BytesAt(memory, i * kPage, kPage) == bytes.substr(2 * i * kPage, kPage)) << i;
    }
    EXPECT_EQ(BytesAt(memory, 32 * kPage, 512), std::string(512, 'p'));
  }
  EXPECT_EQ(engine_->Report().counters.failed, 0u);
}

TEST_P(IoEngineTest, WaiterWhoseCompletionAnotherTookReturnsToLook) {
  SlowPipe first = SlowPipe::ToReadFrom();
  SlowPipe second = SlowPipe::ToReadFrom();
  const FileHandle first_file = Add(first.file());
  const FileHandle second_file = Add(second.file());
  ScratchMemory memory(2 * kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(first_file, registration.id(), memory.base(), 512, 0, 1),
             Read(second_file, registration.id(), memory.at(kPage), 512, 0, 2)});
  std::atomic<pid_t> tids[3] = {0, 0, 0};
  std::atomic<int> taken{0};
  std::vector<std::thread> waiters;
  for (auto& tid : tids) {
    waiters.emplace_back([&] {
      tid.store(gettid());
      IoCompletion one[1];
      taken.fetch_add(static_cast<int>(engine_->Reap(absl::MakeSpan(one), Deadline::Infinite())));
    });
  }
  for (auto& tid : tids) WaitUntilAsleep(tid);
  // One completion for three; the other request stays in flight, so nothing else ends their
  // waiting.
  first.Feed(std::string(512, 'f'));
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(taken.load(), 1);
  EXPECT_EQ(engine_->in_flight(), 1u);
  second.Feed(std::string(512, 's'));
  ReapCount(1);
}

TEST_P(IoEngineTest, SignalsDisturbNobody) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) {};  // and no SA_RESTART
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  const std::string bytes = PatternBytes(15, 64 * kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle pipe_file = Add(pipe.file());
  ScratchMemory memory(65 * kPage);
  Registration registration = Register(memory);
  const pthread_t victim = pthread_self();
  std::atomic<bool> stop{false};
  std::thread tormentor([&] {
    while (!stop.load()) {
      pthread_kill(victim, SIGUSR1);
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < 20; ++round) {
    std::vector<IoRequest> requests;
    for (int i = 0; i < 64; ++i) {
      requests.push_back(Read(file, registration.id(), memory.at(i * kPage), kPage, i * kPage, i));
    }
    requests.push_back(Read(pipe_file, registration.id(), memory.at(64 * kPage), 512, 0, 64));
    SubmitAll(requests);
    pipe.Feed(std::string(512, 'p'));
    for (const auto& [user_data, completion] : ReapCount(65)) {
      EXPECT_TRUE(completion.status.ok()) << user_data << ": " << completion.status;
    }
  }
  stop.store(true);
  tormentor.join();
  sigaction(SIGUSR1, &before, nullptr);
  EXPECT_EQ(BytesAt(memory, 0, bytes.size()), bytes);
}

// Nothing of ours runs while nothing happens: not the thread that waits, and not, once its idle
// time is over, the kernel's that looks at the queue.
TEST_P(IoEngineTest, WaitingForWhatDoesNotComeTakesNoProcessor) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(file, registration.id(), memory.base(), 512, 0)});
  tests::WaitUntilKernelThreadsSleep();
  const auto switches = [] {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
  };
  const int ticks_before = tests::KernelThreadTicks();
  const uint64_t enters_before = engine_->Report().counters.kernel_enters;
  const auto switches_before = switches();
  IoCompletion one[1];
  const Deadline deadline = environment_.DeadlineAfter(absl::Milliseconds(600));
  while (!environment_.Expired(deadline)) {
    EXPECT_EQ(engine_->Reap(absl::MakeSpan(one), deadline), 0u);
  }
  // A few of each are what it takes; a loop makes thousands, and some sixty ticks.
  EXPECT_LE(engine_->Report().counters.kernel_enters - enters_before, 100u);
  EXPECT_LE(switches() - switches_before, 100);
  EXPECT_LE(tests::KernelThreadTicks() - ticks_before, 15);
  pipe.Feed(std::string(512, 'f'));
  ReapCount(1);
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

// ---- Regions in flight ----

TEST_P(IoEngineTest, ReleaseWaitsForAReadInFlight) {
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

TEST_P(IoEngineTest, ReleaseFinishesDiskReadsThatNobodyReaps) {
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

TEST_P(IoEngineTest, ReleaseWhileAnotherThreadWaitsInReap) {
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

TEST_P(IoEngineTest, ShortReadIsResumedThoughNobodyReaps) {
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

TEST_P(IoEngineTest, AddFileRejectsNull) {
  EXPECT_TRUE(absl::IsInvalidArgument(engine_->AddFile(nullptr).status()));
}

TEST_P(IoEngineTest, AddFileRejectsWhatCannotBeRead) {
  const std::string path = scratch_.MakeFile("write_only", PatternBytes(19, kPage));
  const int descriptor = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(descriptor, 0);
  const auto handle = engine_->AddFile(*File::Adopt(descriptor, path));
  EXPECT_EQ(ErrnoOf(handle.status()), EBADF) << handle.status();
  EXPECT_THAT(handle.status().message(), HasSubstr("write_only"));
}

TEST_P(IoEngineTest, LevelOfAFileIsTheEnginesWhereNothingIsInTheWay) {
  const FileHandle direct = Add(OpenNew("direct", PatternBytes(20, kPage)));
  EXPECT_EQ(*engine_->LevelOf(direct), level());
  EXPECT_EQ(engine_->Report().level, level());
}

TEST_P(IoEngineTest, FileTableFillsUp) {
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

TEST_P(IoEngineTest, RemoveFileWaitsForWhatIsInFlightOnIt) {
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

TEST_P(IoEngineTest, FileThatIsBeingRemovedTakesNoNewRequests) {
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

TEST_P(IoEngineTest, EngineKeepsAFileOpenWhileItIsInFlight) {
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
TEST_P(IoEngineTest, FileCanBeReopenedForWritingOnceTheEngineLetGo) {
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

TEST_P(IoEngineTest, EngineDestroyedWithDiskIoInFlightLosesNoWrite) {
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

TEST_P(IoEngineTest, TwoEnginesShareARegistry) {
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
TEST_P(IoEngineTest, ReleaseWaitsForTheOtherEnginesTransfer) {
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

// ---- Many threads, against a model ----

// Threads submit reads, writes and syncs of random pages and reap whatever comes, whoever
// submitted it. The model knows which version each page of the file has.
class EngineModel {
 public:
  EngineModel(IoEngine& engine, FileHandle file, RegionId region, ScratchMemory& memory,
              uint32_t pages, uint32_t operations)
      : engine_(engine),
        file_(file),
        region_(region),
        memory_(memory),
        pages_(pages),
        page_busy_(pages),
        page_version_(pages),
        operations_(operations) {
    for (uint32_t i = 0; i < memory.size_bytes() / kPage; ++i) free_frames_.push_back(i);
  }

  void Work(uint64_t seed) {
    std::mt19937_64 random(seed);
    while (true) {
      std::vector<IoRequest> batch = MakeBatch(random, 1 + random() % 8);
      if (batch.empty() && next_.load() >= operations_.size() &&
          completed_.load() == operations_.size()) {
        return;
      }
      size_t done = 0;
      while (done < batch.size()) {
        const SubmitResult result = engine_.Submit(absl::MakeSpan(batch).subspan(done));
        ASSERT_TRUE(result.status.ok()) << result.status;
        done += result.accepted;
        if (done < batch.size()) ReapSome(random);
      }
      ReapSome(random);
    }
  }

  uint64_t completed() const { return completed_.load(); }
  uint64_t version(uint32_t page) const { return page_version_[page]; }
  static std::string Contents(uint32_t page, uint64_t version) {
    return PatternBytes(version << 32 | page, kPage);
  }

 private:
  static constexpr size_t kPage = 4096;
  struct Planned {
    IoOperation operation;
    uint32_t page;
    uint32_t frame;
    std::atomic<int> completions{0};
  };

  std::vector<IoRequest> MakeBatch(std::mt19937_64& random, size_t want) {
    std::vector<IoRequest> batch;
    std::lock_guard lock(mutex_);
    while (batch.size() < want && !free_frames_.empty() && next_.load() < operations_.size()) {
      const uint32_t page = random() % pages_;
      const uint64_t index = next_.load();
      Planned& planned = operations_[index];
      planned.operation = random() % 16 == 0  ? IoOperation::kSync
                          : random() % 2 == 0 ? IoOperation::kWrite
                                              : IoOperation::kRead;
      if (planned.operation != IoOperation::kSync) {
        if (page_busy_[page]) continue;
        page_busy_[page] = true;
        planned.page = page;
        planned.frame = free_frames_.back();
        free_frames_.pop_back();
      }
      IoRequest request{.operation = planned.operation, .file = file_, .user_data = index};
      if (planned.operation != IoOperation::kSync) {
        request.region = random() % 8 == 0 ? RegionId::kUnregistered : region_;
        request.data = memory_.at(planned.frame * kPage);
        request.length_bytes = kPage;
        request.offset_bytes = uint64_t{page} * kPage;
      }
      if (planned.operation == IoOperation::kWrite) {
        const std::string contents = Contents(page, page_version_[page] + 1);
        std::memcpy(request.data, contents.data(), kPage);
      }
      batch.push_back(request);
      next_.fetch_add(1);
    }
    return batch;
  }

  void ReapSome(std::mt19937_64& random) {
    std::vector<IoCompletion> some(1 + random() % 16);
    Environment* const clock = Environment::Default();
    const Deadline deadline =
        random() % 2 == 0 ? Deadline::Past() : clock->DeadlineAfter(absl::Milliseconds(2));
    const size_t count = engine_.Reap(absl::MakeSpan(some), deadline);
    for (size_t i = 0; i < count; ++i) Finish(some[i]);
  }

  void Finish(const IoCompletion& completion) {
    ASSERT_LT(completion.user_data, operations_.size());
    Planned& planned = operations_[completion.user_data];
    EXPECT_EQ(planned.completions.fetch_add(1), 0) << "completed twice";
    EXPECT_TRUE(completion.status.ok()) << completion.status;
    if (planned.operation != IoOperation::kSync) {
      EXPECT_EQ(completion.transferred_bytes, kPage);
      const uint64_t version =
          page_version_[planned.page] + (planned.operation == IoOperation::kWrite ? 1 : 0);
      EXPECT_TRUE(std::string(memory_.chars(planned.frame * kPage), kPage) ==
                  Contents(planned.page, version))
          << "page " << planned.page << " version " << version;
      std::lock_guard lock(mutex_);
      page_version_[planned.page] = version;
      page_busy_[planned.page] = false;
      free_frames_.push_back(planned.frame);
    }
    completed_.fetch_add(1);
  }

  IoEngine& engine_;
  const FileHandle file_;
  const RegionId region_;
  ScratchMemory& memory_;
  const uint32_t pages_;
  std::mutex mutex_;
  std::vector<char> page_busy_;         // guarded by mutex_
  std::vector<uint64_t> page_version_;  // of a busy page: its request's
  std::vector<uint32_t> free_frames_;   // guarded by mutex_
  std::vector<Planned> operations_;
  std::atomic<uint64_t> next_{0};
  std::atomic<uint64_t> completed_{0};
};

TEST_P(IoEngineTest, EveryRequestCompletesOnceWithTheRightBytesUnderLoad) {
  constexpr uint32_t kPages = 256;
  constexpr uint32_t kOperations = 6000;
  const uint64_t seed = tests::Seed();
  Reopen({.depth = 48, .threads = 4});
  std::string initial;
  for (uint32_t page = 0; page < kPages; ++page) initial += EngineModel::Contents(page, 0);
  const FileHandle file = Add(OpenNew("data", initial));
  ScratchMemory memory(64 * kPage);
  Registration registration = Register(memory);
  EngineModel model(*engine_, file, registration.id(), memory, kPages, kOperations);
  // Meanwhile regions come and go in the same rings.
  std::atomic<bool> stop{false};
  std::thread registrar([&] {
    ScratchMemory more(16 * kPage);
    while (!stop.load()) {
      Registration passing = Register(more);
      EXPECT_TRUE(passing.Release(absl::InfiniteDuration()).ok());
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i) workers.emplace_back([&, i] { model.Work(seed + i); });
  for (auto& worker : workers) worker.join();
  stop.store(true);
  registrar.join();
  EXPECT_EQ(model.completed(), kOperations);
  EXPECT_EQ(engine_->in_flight(), 0u);
  EXPECT_EQ(registry_->InfoOf(registration.id())->in_flight, 0u);
  const EngineCounters counters = engine_->Report().counters;
  EXPECT_EQ(counters.fixed_transfers + counters.plain_transfers + counters.syncs, kOperations);
  EXPECT_LE(counters.peak_in_flight, 48u);
  EXPECT_EQ(counters.failed, 0u);
  engine_.reset();
  const std::string final_bytes = ReadWholeFile(scratch_.File("data"));
  ASSERT_EQ(final_bytes.size(), kPages * kPage);
  for (uint32_t page = 0; page < kPages; ++page) {
    ASSERT_TRUE(final_bytes.substr(page * kPage, kPage) ==
                EngineModel::Contents(page, model.version(page)))
        << "page " << page;
  }
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
