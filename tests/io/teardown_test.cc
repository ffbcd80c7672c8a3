#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "gtest/gtest.h"
#include "tests/io/engine_fixture.h"
#include "tests/support/process_memory.h"
#include "tests/support/scratch.h"
#include "tests/support/sleeping_thread.h"
#include "tests/support/slow_pipe.h"

// Engines, regions and registries that go while a transfer is in flight: the kernel writes
// nowhere but into memory that is still kept for it.

namespace fixpool::io {
namespace {

using ::fixpool::tests::BytesAsTheyAre;
using ::fixpool::tests::ScratchMemory;
using ::fixpool::tests::SlowPipe;
using ::fixpool::tests::WaitUntilAsleep;

constexpr uint32_t kBytes = 512;

// A region, and a read of a pipe in flight into its second page.
class TeardownTest : public tests::EngineFixture,
                     public ::testing::WithParamInterface<EngineLevel> {
 protected:
  void Start(absl::Duration drain_timeout) {
    MakeRegistry({.release_timeout = absl::Milliseconds(20)});
    if (!OpenAt(GetParam(), {.threads = 1, .drain_timeout = drain_timeout})) {
      GTEST_SKIP() << why_not_;
    }
    auto memory = std::make_shared<ScratchMemory>(3 * kPage);
    memory_ = memory;
    base_ = memory->base();
    registration_ = *registry_->Register(*MemoryRegion::Create(base_, 3 * kPage),
                                         {.backing = std::move(memory)});
    SubmitAll({Read(Add(pipe_.file()), registration_->id(), base_ + kPage, kBytes, 0, 1)});
  }

  // All of the region: zeros but for `bytes` where the read was to go.
  void ExpectRegionHolds(const std::string& bytes) {
    std::string expected(3 * kPage, '\0');
    expected.replace(kPage, bytes.size(), bytes);
    EXPECT_TRUE(BytesAsTheyAre(base_, 3 * kPage) == expected);
  }

  SlowPipe pipe_ = SlowPipe::ToReadFrom();
  std::weak_ptr<ScratchMemory> memory_;  // kept by the registration alone
  std::byte* base_ = nullptr;
  std::optional<Registration> registration_;
};

#define FIXPOOL_START_OR_SKIP(...)           \
  do {                                       \
    Start(__VA_ARGS__);                      \
    if (IsSkipped() || HasFailure()) return; \
  } while (false)

INSTANTIATE_TEST_SUITE_P(AllLevels, TeardownTest,
                         ::testing::Values(EngineLevel::kUringFixed, EngineLevel::kUringPlain,
                                           EngineLevel::kThreads),
                         [](const auto& info) { return std::string(EngineLevelName(info.param)); });

TEST_P(TeardownTest, EngineThatDiesWaitsForAReadThatEnds) {
  FIXPOOL_START_OR_SKIP(absl::Seconds(60));
  const std::atomic<pid_t> tid{gettid()};
  std::thread feeder([&] {
    WaitUntilAsleep(tid);
    pipe_.Feed(std::string(kBytes, 'e'));
  });
  engine_.reset();
  ExpectRegionHolds(std::string(kBytes, 'e'));
  feeder.join();
  EXPECT_TRUE(registration_->Release(absl::ZeroDuration()).ok());
  EXPECT_TRUE(memory_.expired());
  EXPECT_EQ(environment_.message_count(), 0u) << environment_.Transcript();
}

// The engine lives on, the region's owner does not wait any longer.
TEST_P(TeardownTest, RegionThatIsNotGivenBackInTimeIsKeptForLateData) {
  FIXPOOL_START_OR_SKIP(absl::Seconds(60));
  registration_.reset();
  EXPECT_TRUE(environment_.Heard(Severity::kError, "leaked on purpose, with its memory"))
      << environment_.Transcript();
  EXPECT_EQ(registry_->region_count(), 0u);
  ASSERT_FALSE(memory_.expired());
  // Whatever the program does next gets other memory and another slot.
  ScratchMemory other(3 * kPage);
  Registration next = Register(other);
  ExpectRegionHolds("");
  pipe_.Feed(std::string(kBytes, 'l'));
  EXPECT_EQ(ReapCount(1).at(1).transferred_bytes, kBytes);
  ExpectRegionHolds(std::string(kBytes, 'l'));
  EXPECT_TRUE(BytesAsTheyAre(other.base(), 3 * kPage) == std::string(3 * kPage, '\0'));
  EXPECT_TRUE(next.Release(absl::ZeroDuration()).ok());
  engine_.reset();
  registry_.reset();
  EXPECT_FALSE(memory_.expired()) << "for ever: nobody can say that no more will come";
  ExpectRegionHolds(std::string(kBytes, 'l'));
}

// ---- What the kernel gives back ----

class UringTeardownTest : public TeardownTest {};

INSTANTIATE_TEST_SUITE_P(BothLevels, UringTeardownTest,
                         ::testing::Values(EngineLevel::kUringFixed, EngineLevel::kUringPlain),
                         [](const auto& info) { return std::string(EngineLevelName(info.param)); });

// The read is called back, the memory unmapped, and its addresses are somebody else's when the
// data comes.
TEST_P(UringTeardownTest, NothingLandsWhereACancelledReadWouldHaveWritten) {
  FIXPOOL_START_OR_SKIP(absl::Milliseconds(40));
  engine_.reset();
  ASSERT_TRUE(registration_->Release(absl::ZeroDuration()).ok());
  ASSERT_TRUE(memory_.expired());
  void* const others = mmap(base_, 3 * kPage, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (others != base_) {
    GTEST_SKIP() << "a sanitizer has put something of its own there";
  }
  registry_.reset();
  pipe_.Feed(std::string(kBytes, 'n'));
  ExpectRegionHolds("");
  // It is all still in the pipe.
  std::string bytes(2 * kBytes, '\0');
  EXPECT_EQ(read(pipe_.file()->descriptor(), bytes.data(), bytes.size()), ssize_t{kBytes});
  ExpectRegionHolds("");
  munmap(others, 3 * kPage);
  EXPECT_EQ(environment_.message_count(), 0u) << environment_.Transcript();
}

// ---- What it does not ----

// The descriptor of the only ring of this process.
int RingDescriptor() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    if (std::filesystem::read_symlink(entry.path(), error) == "anon_inode:[io_uring]") {
      return std::stoi(entry.path().filename().string());
    }
  }
  return -1;
}

// A kernel that neither ends a read nor lets it be called back, as with a disk that hangs: the
// ring lives, but the engine's descriptor does not lead to it any more.
TEST_P(UringTeardownTest, EngineThatCannotDrainLeavesRingAndMemoryForLateData) {
  FIXPOOL_START_OR_SKIP(absl::Milliseconds(40));
  const int descriptor = RingDescriptor();
  ASSERT_GE(descriptor, 0);
  const int ring = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  ASSERT_GE(ring, 0);
  const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  ASSERT_EQ(dup3(nothing, descriptor, O_CLOEXEC), descriptor);
  close(nothing);
  engine_.reset();
  EXPECT_TRUE(environment_.Heard(Severity::kError, "died with 1 requests in flight"))
      << environment_.Transcript();
  EXPECT_EQ(registry_->InfoOf(registration_->id())->in_flight, 1u);
  registration_.reset();
  EXPECT_TRUE(environment_.Heard(Severity::kError, "leaked on purpose, with its memory"))
      << environment_.Transcript();
  registry_.reset();
  ASSERT_FALSE(memory_.expired());
  ScratchMemory other(3 * kPage);
  ExpectRegionHolds("");
  pipe_.Feed(std::string(kBytes, 'h'));
  // Until the completion is there, which nobody will ever take.
  long entered;
  do {
    entered = syscall(__NR_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, nullptr, 0);
  } while (entered < 0 && errno == EINTR);
  EXPECT_EQ(entered, 0) << errno;
  ExpectRegionHolds(std::string(kBytes, 'h'));
  EXPECT_TRUE(BytesAsTheyAre(other.base(), 3 * kPage) == std::string(3 * kPage, '\0'));
  close(ring);
  EXPECT_FALSE(memory_.expired());
}

}  // namespace
}  // namespace fixpool::io
