#include "fixpool/io/uring_engine.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/open_engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/io/engine_fixture.h"
#include "tests/io/kernel_threads.h"
#include "tests/support/scratch.h"
#include "tests/support/slow_pipe.h"

// What is particular to the two levels of io_uring and to the extras of a ring; the rest is in
// io_engine_test.cc.

namespace fixpool::io {
namespace {

using ::fixpool::tests::PatternBytes;
using ::fixpool::tests::ScratchMemory;
using ::fixpool::tests::SlowPipe;
using ::testing::HasSubstr;

class UringEngineTest : public tests::EngineFixture,
                        public ::testing::WithParamInterface<EngineLevel> {
 protected:
  void SetUp() override {
    if (!OpenAt(GetParam())) GTEST_SKIP() << why_not_;
  }
  void Reopen(EngineOptions options) {
    engine_.reset();
    ASSERT_TRUE(OpenAt(GetParam(), options)) << why_not_;
  }
};

INSTANTIATE_TEST_SUITE_P(BothLevels, UringEngineTest,
                         ::testing::Values(EngineLevel::kUringFixed, EngineLevel::kUringPlain),
                         [](const auto& info) { return std::string(EngineLevelName(info.param)); });

std::set<int> RingDescriptors() {
  std::set<int> descriptors;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
    if (target == "anon_inode:[io_uring]") {
      descriptors.insert(std::stoi(entry.path().filename().string()));
    }
  }
  return descriptors;
}

// A pipe's read that is never satisfied is called back.
TEST_P(UringEngineTest, DestroyedWithAReadThatNeverEndsCancelsIt) {
  Reopen({.drain_timeout = absl::Milliseconds(400)});
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(file, registration.id(), memory.base(), 512, 0, 1),
             Read(file, registration.id(), memory.at(512), 512, 0, 2)});
  engine_.reset();
  EXPECT_EQ(environment_.message_count(), 0u) << environment_.Transcript();
  EXPECT_EQ(registry_->InfoOf(registration.id())->in_flight, 0u);
  EXPECT_TRUE(registration.Release(absl::ZeroDuration()).ok());
  EXPECT_EQ(pipe.file().use_count(), 2);  // the pipe's own and this one
}

TEST_P(UringEngineTest, SubmitsAndReapsABatchInOneEnterEach) {
  const FileHandle file = Add(OpenNew("data", PatternBytes(1, 32 * kPage)));
  ScratchMemory memory(32 * kPage);
  Registration registration = Register(memory);
  std::vector<IoRequest> reads;
  for (int i = 0; i < 32; ++i) {
    reads.push_back(Read(file, registration.id(), memory.at(i * kPage), kPage, i * kPage, i));
  }
  const uint64_t before = engine_->Report().counters.kernel_enters;
  SubmitAll(reads);
  EXPECT_EQ(engine_->Report().counters.kernel_enters, before + 1);
  ReapCount(32);
  EXPECT_LE(engine_->Report().counters.kernel_enters, before + 1 + 32);
}

TEST_P(UringEngineTest, RingIsGoneWithTheEngine) {
  const size_t with_engine = RingDescriptors().size();
  EXPECT_GE(with_engine, 1u);
  engine_.reset();
  EXPECT_EQ(RingDescriptors().size(), with_engine - 1);
}

TEST_P(UringEngineTest, LevelOfTellsOfAFileThatIsNotAsGood) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(OpenNew("data", PatternBytes(2, kPage)));
  EXPECT_EQ(*engine_->LevelOf(file), GetParam());
  EXPECT_TRUE(engine_->LevelOf(Add(pipe.file())).ok());
}

TEST_P(UringEngineTest, TheDeepestEngineWorks) {
  Reopen({.depth = 4096, .max_files = 4096});
  EXPECT_EQ(engine_->depth(), 4096u);
  const FileHandle file = Add(OpenNew("data", PatternBytes(3, kPage), File::DirectIo::kNever));
  const uint32_t depth = engine_->depth();  // what the device takes, at most
  EXPECT_GE(depth, 1u);
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  const std::vector<IoRequest> reads(4100, Read(file, registration.id(), memory.base(), kPage, 0));
  const SubmitResult result = engine_->Submit(reads);
  EXPECT_EQ(result.accepted, depth);
  EXPECT_TRUE(result.status.ok());
  std::vector<IoCompletion> some(4096);
  size_t count = 0;
  while (count < depth) {
    const size_t got = engine_->Reap(absl::MakeSpan(some), Eventually());
    ASSERT_GT(got, 0u);
    for (size_t i = 0; i < got; ++i) EXPECT_TRUE(some[i].status.ok()) << some[i].status;
    count += got;
  }
  EXPECT_EQ(engine_->in_flight(), 0u);
}

// Somebody closed what was not theirs: the descriptor is another file now. Requests then
// fail; they neither hang nor bring the process down.
TEST_P(UringEngineTest, DeadRingFailsRequestsInsteadOfHanging) {
  engine_.reset();
  const std::set<int> before = RingDescriptors();
  Reopen({.drain_timeout = absl::Milliseconds(50)});
  std::set<int> rings = RingDescriptors();
  for (const int descriptor : before) rings.erase(descriptor);
  ASSERT_EQ(rings.size(), 1u);
  ScratchMemory memory(4 * kPage);
  auto backing = std::make_shared<int>(1);
  Registration registration = *registry_->Register(
      *MemoryRegion::Create(memory.base(), memory.size_bytes()), {.backing = backing});
  const FileHandle file = Add(OpenNew("data", PatternBytes(4, 4 * kPage)));
  EXPECT_TRUE(Do(Read(file, registration.id(), memory.base(), kPage, 0)).status.ok());

  const int null_descriptor = open("/dev/null", O_RDWR | O_CLOEXEC);
  ASSERT_GE(null_descriptor, 0);
  ASSERT_EQ(dup3(null_descriptor, *rings.begin(), O_CLOEXEC), *rings.begin());
  close(null_descriptor);
  for (int round = 0; round < 3; ++round) {
    std::vector<IoRequest> reads;
    for (int i = 0; i < 4; ++i) {
      reads.push_back(Read(file, registration.id(), memory.at(i * kPage), kPage, i * kPage, i));
    }
    SubmitAll(reads);
    for (const auto& [user_data, completion] : ReapCount(4)) {
      EXPECT_FALSE(completion.status.ok());
      EXPECT_NE(ErrnoOf(completion.status), 0) << completion.status;
      EXPECT_EQ(completion.transferred_bytes, 0u);
    }
  }
  EXPECT_EQ(engine_->in_flight(), 0u);
  EXPECT_EQ(registry_->InfoOf(registration.id())->in_flight, 0u);
  EXPECT_EQ(engine_->Report().counters.failed, 12u);
  // A region cannot reach this ring any more, and says so; nothing is half registered.
  ScratchMemory more(kPage);
  const auto refused = registry_->Register(*MemoryRegion::Create(more.base(), more.size_bytes()));
  EXPECT_EQ(refused.ok(), GetParam() == EngineLevel::kUringPlain) << refused.status();
  EXPECT_EQ(registry_->region_count(), refused.ok() ? 2u : 1u);
  engine_.reset();
  if (GetParam() == EngineLevel::kUringFixed) {
    EXPECT_TRUE(environment_.Heard(Severity::kError, "never given back"))
        << environment_.Transcript();
  }
  EXPECT_TRUE(registration.Release(absl::ZeroDuration()).ok());
  EXPECT_EQ(backing.use_count(), GetParam() == EngineLevel::kUringFixed ? 2 : 1);
}

// ---- Registered buffers, on the real kernel ----

class UringBuffersTest : public tests::EngineFixture {
 protected:
  void SetUp() override {
    if (!OpenAt(EngineLevel::kUringFixed)) GTEST_SKIP() << why_not_;
  }
};

TEST_F(UringBuffersTest, InaccessibleMemoryIsRefusedWithoutTrace) {
  ScratchMemory memory(16 * kPage);
  memory.MakeInaccessible();
  const auto refused = registry_->Register(*MemoryRegion::Create(memory.base(), 16 * kPage));
  EXPECT_EQ(ErrnoOf(refused.status()), EFAULT) << refused.status();
  EXPECT_THAT(refused.status().message(), HasSubstr("mapped and writable"));
  EXPECT_EQ(registry_->region_count(), 0u);
}

TEST_F(UringBuffersTest, RegisterAllWithAHoleInTheMiddleRegistersNothing) {
  ScratchMemory first(kPage);
  ScratchMemory second(kPage);
  ScratchMemory third(kPage);
  second.MakeInaccessible();
  const auto refused = registry_->RegisterAll(
      {*MemoryRegion::Create(first.base(), kPage), *MemoryRegion::Create(second.base(), kPage),
       *MemoryRegion::Create(third.base(), kPage)},
      {});
  EXPECT_EQ(ErrnoOf(refused.status()), EFAULT) << refused.status();
  EXPECT_EQ(registry_->region_count(), 0u);
  // The slots are free in the kernel too: it would not take a second region there.
  Registration registration = Register(first);
  EXPECT_EQ(registration.id().slot(), 0);
}

TEST_F(UringBuffersTest, AttachFailsWholeIfOneRegionIsRefused) {
  engine_.reset();
  ScratchMemory good(kPage);
  Registration first = Register(good);
  ScratchMemory bad(kPage);
  Registration second = Register(bad);
  bad.MakeInaccessible();
  EXPECT_FALSE(OpenAt(EngineLevel::kUringFixed));
  EXPECT_THAT(why_not_, HasSubstr("as buffer 1"));
  // Without the requirement it goes a level down and says why.
  const auto engine = OpenEngine(registry_.get());
  ASSERT_TRUE(engine.ok());
  EXPECT_EQ((*engine)->Report().level, EngineLevel::kUringPlain);
  EXPECT_EQ((*engine)->Report().downgrade_errno, EFAULT);
}

TEST_F(UringBuffersTest, SixteenThousandRegionsFitARing) {
  engine_.reset();
  MakeRegistry({.capacity = 16384});
  if (!OpenAt(EngineLevel::kUringFixed)) GTEST_SKIP() << why_not_;
  ScratchMemory memory(16 * kPage);
  std::vector<Registration> registrations;
  for (int i = 0; i < 16384; ++i) {
    auto registration =
        registry_->Register(*MemoryRegion::Create(memory.at(i % 16 * kPage), kPage));
    ASSERT_TRUE(registration.ok()) << i << ": " << registration.status();
    if (!registry_->InfoOf(registration->id())->fixed) {
      GTEST_SKIP() << "RLIMIT_MEMLOCK does not allow so many";
    }
    registrations.push_back(std::move(*registration));
  }
  EXPECT_TRUE(absl::IsResourceExhausted(
      registry_->Register(*MemoryRegion::Create(memory.base(), kPage)).status()));
  const std::string bytes = PatternBytes(5, kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  const Registration& last = registrations.back();
  EXPECT_EQ(last.id().slot(), 16383);
  EXPECT_TRUE(Do(Read(file, last.id(), memory.at(15 * kPage), kPage, 0)).status.ok());
  EXPECT_EQ(std::string(memory.chars(15 * kPage), kPage), bytes);
  EXPECT_EQ(engine_->Report().counters.fixed_transfers, 1u);
}

TEST_F(UringBuffersTest, RegionOfOneGibibyteRegistersAndWorksAtItsEnd) {
  constexpr size_t kGibibyte = size_t{1} << 30;
  if (sysconf(_SC_AVPHYS_PAGES) * sysconf(_SC_PAGESIZE) < static_cast<long>(3 * kGibibyte)) {
    GTEST_SKIP() << "less than 3 GiB of free memory";
  }
  ScratchMemory memory(kGibibyte);
  Registration registration = Register(memory);
  ASSERT_TRUE(registry_->InfoOf(registration.id())->fixed);
  const std::string bytes = PatternBytes(6, kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  EXPECT_TRUE(
      Do(Read(file, registration.id(), memory.at(kGibibyte - kPage), kPage, 0)).status.ok());
  EXPECT_EQ(std::string(memory.chars(kGibibyte - kPage), kPage), bytes);
  EXPECT_EQ(engine_->Report().counters.fixed_transfers, 1u);
}

// With two rings the second takes over what the first registered, where the kernel can; the
// slots above and below the one that changes must stay what they were.
TEST_F(UringBuffersTest, SlotsOfTwoRingsStayTheSameWhateverComesAndGoes) {
  std::unique_ptr<IoEngine> first = std::move(engine_);
  ASSERT_TRUE(OpenAt(EngineLevel::kUringFixed)) << why_not_;
  const std::string bytes = PatternBytes(8, kPage);
  std::shared_ptr<File> file = OpenNew("data", bytes);
  IoEngine* const engines[] = {first.get(), engine_.get()};
  const FileHandle handles[] = {*first->AddFile(file), *engine_->AddFile(file)};
  constexpr int kRegions = 6;
  ScratchMemory memory(kRegions * kPage);
  std::vector<Registration> registrations;
  const auto region = [&](int i) { return *MemoryRegion::Create(memory.at(i * kPage), kPage); };
  for (int i = 0; i < kRegions; ++i) registrations.push_back(*registry_->Register(region(i)));
  uint64_t reads = 0;
  for (int round = 0; round < kRegions; ++round) {
    for (int e = 0; e < 2; ++e) {
      for (int i = 0; i < kRegions; ++i) {
        std::memset(memory.chars(i * kPage), 0, kPage);
        const IoRequest read =
            Read(handles[e], registrations[i].id(), memory.at(i * kPage), kPage, 0);
        ASSERT_EQ(engines[e]->Submit({&read, 1}).accepted, 1u);
        IoCompletion done[1];
        while (engines[e]->Reap(absl::MakeSpan(done), Eventually()) == 0) {
        }
        ASSERT_TRUE(done[0].status.ok())
            << "round " << round << ", ring " << e << ", region " << i << ": " << done[0].status;
        ASSERT_EQ(std::string(memory.chars(i * kPage), kPage), bytes);
      }
    }
    reads += kRegions;
    ASSERT_TRUE(registrations[round].Release(absl::ZeroDuration()).ok());
    registrations[round] = *registry_->Register(region(round));
    EXPECT_EQ(registrations[round].id().slot(), round);
  }
  for (IoEngine* engine : engines) {
    EXPECT_EQ(engine->Report().counters.fixed_transfers, reads);
    EXPECT_EQ(engine->Report().counters.plain_transfers, 0u);
  }
  // And they outlive the ring that they came from.
  first.reset();
  const IoCompletion read =
      Do(Read(handles[1], registrations[3].id(), memory.at(3 * kPage), kPage, 0));
  EXPECT_TRUE(read.status.ok()) << read.status;
}

// A slot that is used again is one that the kernel took the old region out of.
TEST_F(UringBuffersTest, SlotIsUsedAgainWithOtherMemory) {
  const std::string bytes = PatternBytes(7, kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  for (int round = 0; round < 20; ++round) {
    ScratchMemory memory(kPage);
    Registration registration = Register(memory);
    EXPECT_EQ(registration.id().slot(), 0);
    EXPECT_TRUE(Do(Read(file, registration.id(), memory.base(), kPage, 0)).status.ok());
    EXPECT_EQ(std::string(memory.chars(), kPage), bytes);
    ASSERT_TRUE(registration.Release(absl::ZeroDuration()).ok());
  }
  EXPECT_EQ(engine_->Report().counters.fixed_transfers, 20u);
}

// ---- SQPOLL ----

class SqpollTest : public tests::EngineFixture {
 protected:
  void SetUp() override {
    if (!OpenWithIdle(absl::Milliseconds(1))) GTEST_SKIP() << why_not_;
  }
  bool OpenWithIdle(absl::Duration idle, EngineOptions options = {}) {
    engine_.reset();
    options.sqpoll = RingExtra::kRequire;
    options.sqpoll_idle = idle;
    return OpenAt(EngineLevel::kUringFixed, options);
  }
};

// The kernel's thread posts the completions of a batch before it says that the batch is off the
// queue: whoever submits what follows them at once must find room all the same.
TEST_F(SqpollTest, FullEngineFindsRoomForWhatFollowsEachCompletion) {
  constexpr size_t kBytes = 16 * kPage;
  for (const uint32_t depth : {1u, 4u, 64u}) {
    ASSERT_TRUE(OpenWithIdle(absl::Milliseconds(100), {.depth = depth})) << why_not_;
    const std::string bytes = PatternBytes(9, depth * kBytes);
    const FileHandle file = Add(OpenNew("data", bytes));
    ScratchMemory memory(depth * kBytes);
    Registration registration = Register(memory);
    std::vector<IoRequest> idle;
    for (uint32_t i = 0; i < depth; ++i) {
      idle.push_back(Read(file, registration.id(), memory.at(i * kBytes), kBytes, i * kBytes, i));
    }
    const std::vector<IoRequest> all = idle;
    for (uint64_t reaped = 0; reaped < 4000;) {
      const SubmitResult result = engine_->Submit(idle);
      ASSERT_TRUE(result.status.ok()) << result.status;
      ASSERT_EQ(result.accepted, idle.size()) << "after " << reaped << " at depth " << depth;
      idle.clear();
      IoCompletion done[64];
      const size_t count = engine_->Reap(absl::MakeSpan(done), Eventually());
      for (size_t i = 0; i < count; ++i) {
        ASSERT_TRUE(done[i].status.ok()) << done[i].status;
        idle.push_back(all[done[i].user_data]);
      }
      reaped += count;
    }
    ReapCount(depth - idle.size());
    EXPECT_TRUE(std::string(memory.chars(), memory.size_bytes()) == bytes);
  }
}

// Its descriptor is another file now, and its thread, asleep, cannot be woken.
TEST_F(SqpollTest, DeadRingFailsRequestsInsteadOfHanging) {
  engine_.reset();
  const std::set<int> before = RingDescriptors();
  ASSERT_TRUE(OpenWithIdle(absl::Milliseconds(1), {.drain_timeout = absl::Milliseconds(50)}));
  std::set<int> rings = RingDescriptors();
  for (const int descriptor : before) rings.erase(descriptor);
  ASSERT_EQ(rings.size(), 1u);
  ScratchMemory memory(kPage);
  const FileHandle file = Add(OpenNew("data", PatternBytes(4, kPage)));
  const IoRequest read = Read(file, RegionId::kUnregistered, memory.base(), kPage, 0);
  EXPECT_TRUE(Do(read).status.ok());
  const int keep = fcntl(*rings.begin(), F_DUPFD_CLOEXEC, 0);
  const int null_descriptor = open("/dev/null", O_RDWR | O_CLOEXEC);
  ASSERT_EQ(dup3(null_descriptor, *rings.begin(), O_CLOEXEC), *rings.begin());
  close(null_descriptor);
  for (int round = 0; round < 3; ++round) {
    tests::WaitUntilKernelThreadsSleep();
    const IoCompletion failed = Do(read);
    EXPECT_EQ(ErrnoOf(failed.status), EOPNOTSUPP) << failed.status;
  }
  EXPECT_EQ(engine_->in_flight(), 0u);
  // And so does not what it had taken before it was gone, nor what comes after.
  ASSERT_EQ(dup3(keep, *rings.begin(), O_CLOEXEC), *rings.begin());
  close(keep);
  EXPECT_TRUE(Do(read).status.ok());
}

// ---- A registered descriptor ----

class RegisteredRingTest : public tests::EngineFixture {
 protected:
  void SetUp() override {
    if (!OpenRegistered()) GTEST_SKIP() << why_not_;
  }
  bool OpenRegistered() {
    return OpenAt(EngineLevel::kUringFixed, {.depth = 8, .registered_ring = RingExtra::kRequire});
  }
  std::unique_ptr<IoEngine> AnotherEngine() {
    return *OpenEngine(registry_.get(), {.depth = 8, .registered_ring = RingExtra::kPrefer});
  }
  // One page of `file` through `engine`, and through no other.
  void ReadThrough(IoEngine& engine, FileHandle file, uint64_t user_data) {
    ScratchMemory memory(kPage);
    const IoRequest read = Read(file, RegionId::kUnregistered, memory.base(), kPage, 0, user_data);
    ASSERT_EQ(engine.Submit({&read, 1}).accepted, 1u);
    IoCompletion done[2];
    size_t count = 0;
    while (count == 0) count = engine.Reap(absl::MakeSpan(done), Eventually());
    ASSERT_EQ(count, 1u);
    EXPECT_TRUE(done[0].status.ok()) << done[0].status;
    EXPECT_EQ(done[0].user_data, user_data);
    EXPECT_EQ(std::string(memory.chars(), kPage), bytes_);
  }

  const std::string bytes_ = PatternBytes(10, kPage);
};

TEST_F(RegisteredRingTest, SeventeenthOfAThreadGoesWithoutAndSaysWhy) {
  std::vector<std::unique_ptr<IoEngine>> engines;
  while (engines.size() < 15) {
    engines.push_back(AnotherEngine());
    ASSERT_TRUE(engines.back()->Report().registered_ring.in_force) << engines.size();
  }
  const std::unique_ptr<IoEngine> one_too_many = AnotherEngine();
  const EngineReport report = one_too_many->Report();
  EXPECT_TRUE(report.registered_ring.asked);
  EXPECT_FALSE(report.registered_ring.in_force);
  EXPECT_EQ(report.registered_ring.error_number, EBUSY);
  EXPECT_THAT(report.ToString(), HasSubstr("(no registered_ring: "));
  EXPECT_THAT(report.ToString(), HasSubstr("a thread has 16 such places"));
  EXPECT_EQ(report.level, EngineLevel::kUringFixed);
  EXPECT_TRUE(environment_.Heard(Severity::kWarning, "engine option registered_ring"));
  ReadThrough(*one_too_many, *one_too_many->AddFile(OpenNew("data", bytes_)), 1);
  const auto required = OpenEngine(registry_.get(), {.registered_ring = RingExtra::kRequire});
  EXPECT_TRUE(absl::IsUnimplemented(required.status())) << required.status();
  EXPECT_EQ(ErrnoOf(required.status()), EBUSY);
  EXPECT_THAT(required.status().message(),
              HasSubstr("engine option registered_ring is required and does not work here"));
  // Another thread has places of its own, and a destroyed engine gives its back.
  std::thread([&] { EXPECT_TRUE(AnotherEngine()->Report().registered_ring.in_force); }).join();
  engines.pop_back();
  EXPECT_TRUE(AnotherEngine()->Report().registered_ring.in_force);
}

// On the foreign thread, which opened engines as well, the indices of the first one's engines name
// its own.
TEST_F(RegisteredRingTest, EnginesOfTwoThreadsAreNotMixedUp) {
  std::shared_ptr<File> file = OpenNew("data", bytes_);
  std::unique_ptr<IoEngine> engines[] = {std::move(engine_), AnotherEngine(), nullptr, nullptr};
  FileHandle files[4];
  for (int i = 0; i < 2; ++i) files[i] = *engines[i]->AddFile(file);
  const auto work = [&] {
    for (uint64_t round = 0; round < 50; ++round) {
      for (uint64_t i = 0; i < 4; ++i) ReadThrough(*engines[i], files[i], round * 4 + i);
    }
  };
  std::atomic<bool> mine{false};
  std::atomic<bool> done{false};
  std::thread foreign([&] {
    for (int i = 2; i < 4; ++i) {
      engines[i] = AnotherEngine();
      files[i] = *engines[i]->AddFile(file);
      EXPECT_TRUE(engines[i]->Report().registered_ring.in_force);
    }
    work();
    mine.store(true);
    while (!done.load()) std::this_thread::yield();
    engines[2].reset();
    engines[3].reset();
  });
  while (!mine.load()) std::this_thread::yield();
  work();
  done.store(true);
  foreign.join();
  for (const auto& engine : engines) {
    if (engine != nullptr) {
      EXPECT_EQ(engine->Report().counters.plain_transfers, 100u);
    }
  }
  EXPECT_EQ(environment_.message_count(), 0u) << environment_.Transcript();
}

TEST_F(RegisteredRingTest, TwoThreadsBothMakeProgressOnOneEngine) {
  const FileHandle file = Add(OpenNew("data", bytes_));
  const auto work = [&] {
    ScratchMemory memory(kPage);
    for (int i = 0; i < 300; ++i) {
      const IoRequest read = Read(file, RegionId::kUnregistered, memory.base(), kPage, 0);
      while (engine_->Submit({&read, 1}).accepted == 0) std::this_thread::yield();
      IoCompletion done[1];
      // Either's, whoever comes first; 0 once the other took the last one.
      while (engine_->in_flight() > 0 && engine_->Reap(absl::MakeSpan(done), Eventually()) == 0) {
      }
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(engine_->in_flight(), 0u);
  EXPECT_EQ(engine_->Report().counters.plain_transfers, 600u);
  EXPECT_EQ(engine_->Report().counters.failed, 0u);
}

TEST_F(RegisteredRingTest, DestroyedElsewhereSaysThatTheRingStaysAndLetsItsFilesGo) {
  const std::string path = scratch_.MakeFile("data", bytes_);
  ReadThrough(*engine_, Add(*File::Open(path)), 1);
  std::thread([&] { engine_.reset(); }).join();
  EXPECT_TRUE(environment_.Heard(Severity::kWarning, "destroyed on another thread"))
      << environment_.Transcript();
  // Nobody holds its lock.
  const auto again = File::Open(path, {.lock_timeout = absl::ZeroDuration()});
  EXPECT_TRUE(again.ok()) << again.status();
}

TEST_F(RegisteredRingTest, EndsWithTheThreadThatOpenedIt) {
  engine_.reset();
  std::thread([&] { EXPECT_TRUE(OpenRegistered()) << why_not_; }).join();
  ReadThrough(*engine_, Add(OpenNew("data", bytes_)), 1);
  engine_.reset();
  EXPECT_EQ(environment_.message_count(), 0u) << environment_.Transcript();
}

// ---- IOPOLL on files that cannot be polled ----

// What a user gets who opened an engine on a device with queues for polling, and then adds a file
// that lies elsewhere.
class UnpolledFileTest : public tests::EngineFixture {
 protected:
  void SetUp() override {
    EngineReport origin;
    origin.level = EngineLevel::kUringFixed;
    origin.iopoll = {.asked = true, .in_force = true};  // as if the probe had said so
    auto engine = UringEngine::Create(registry_.get(), {.iopoll = RingExtra::kPrefer}, origin);
    if (!engine.ok()) GTEST_SKIP() << engine.status();
    engine_ = *std::move(engine);
    if (engine_->AddFile(OpenNew("probe", PatternBytes(1, kPage))).ok()) {
      GTEST_SKIP() << "files of " << scratch_.path() << " can be polled";
    }
  }
  void ExpectAdvice(const absl::Status& status, const char* file) {
    EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
    EXPECT_EQ(ErrnoOf(status), EOPNOTSUPP);
    EXPECT_THAT(status.message(), HasSubstr(file));
    EXPECT_THAT(status.message(), HasSubstr("use an engine without iopoll"));
  }
};

TEST_F(UnpolledFileTest, AddFileNamesTheFileAndWhatToDo) {
  ExpectAdvice(engine_->AddFile(OpenNew("data", PatternBytes(11, kPage))).status(), "data");
  ExpectAdvice(
      engine_->AddFile(OpenNew("other", PatternBytes(12, kPage), File::DirectIo::kNever)).status(),
      "other");
  SlowPipe pipe = SlowPipe::ToReadFrom();
  ExpectAdvice(engine_->AddFile(pipe.file()).status(), "slow pipe");
  EXPECT_EQ(environment_.message_count(), 0u) << environment_.Transcript();
}

// An empty file says nothing of itself before there is something in it.
TEST_F(UnpolledFileTest, TransferThatCannotBePolledFailsAndNobodyHangs) {
  const FileHandle file = Add(OpenNew("empty", ""));
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  const IoCompletion nothing = Do(Read(file, registration.id(), memory.base(), kPage, 0));
  EXPECT_TRUE(nothing.status.ok()) << nothing.status;
  EXPECT_EQ(nothing.transferred_bytes, 0u);
  std::ofstream(scratch_.File("empty"), std::ios::app) << PatternBytes(13, kPage);
  for (int round = 0; round < 3; ++round) {
    ExpectAdvice(Do(Read(file, registration.id(), memory.base(), kPage, 0)).status, "empty");
  }
  EXPECT_EQ(registry_->InfoOf(registration.id())->in_flight, 0u);
}

TEST_F(UnpolledFileTest, SyncsAreDoneThoughTheRingDoesNotTakeThem) {
  const FileHandle file = Add(OpenNew("empty", ""));
  SubmitAll({Sync(file, 1), Sync(file, 2)});
  for (const auto& [user_data, completion] : ReapCount(2)) {
    EXPECT_TRUE(completion.status.ok()) << user_data << ": " << completion.status;
  }
  std::thread([&] { SubmitAll({Sync(file, 3)}); }).join();
  EXPECT_EQ(ReapCount(1).count(3), 1u);
  EXPECT_EQ(engine_->Report().counters.syncs, 3u);
  EXPECT_TRUE(engine_->RemoveFile(file, Deadline::Infinite()).ok());
}

}  // namespace
}  // namespace fixpool::io
