// Allocate, FreePages and Truncate, with one thread and an engine that does as it is told. What
// others meet while a change lasts is tried from within EnsureDurable, which is called in the
// middle of one, by a second thread that the first waits for.

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "fixpool/io/error.h"
#include "fixpool/storage/background_work.h"
#include "fixpool/storage/cache_progress.h"
#include "fixpool/storage/coroutine_frames.h"
#include "fixpool/storage/page_cache.h"
#include "fixpool/storage/task.h"
#include "fixpool/storage/task_scheduler.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/support/child_process.h"
#include "tests/support/loop_device.h"

namespace fixpool::tests {
namespace {

using absl::StatusCode;
using io::IoOperation;
using storage::FileId;
using storage::Lsn;
using storage::OptimisticGuard;
using storage::PageNumber;
using storage::ReadGuard;
using storage::WriteGuard;

const std::string& Zeros() {
  static const std::string* const zeros = new std::string(kPageBytes, '\0');
  return *zeros;
}

// As durable as it is asked to be.
class TestLog final : public storage::WriteAheadLog {
 public:
  absl::Status EnsureDurable(Lsn lsn) override {
    calls.push_back(lsn);
    if (const auto once = std::exchange(hook, nullptr)) once();
    return failure;
  }
  Lsn NextLsn() override { return Lsn{last + 1}; }

  uint64_t last = 0;
  absl::Status failure;
  std::function<void()> hook;
  std::vector<Lsn> calls;
};

class PageCacheSpaceTest : public FakeCacheTest {
 protected:
  void StartWithLog(uint32_t frames, uint64_t pages) {
    StartWith({.frame_count = frames, .free_frames = 0, .log = &log_}, pages);
  }
  void ChangeLogged(uint64_t page_number, uint64_t version = 1) {
    WriteGuard page = *cache().Write(Page(page_number));
    (void)page.mutable_bytes();
    ++log_.last;
    Put(page, PageText(page_number, version));
    page.set_lsn(Lsn{log_.last});
  }
  // Runs `body` on a second thread in the middle of the next change.
  void InTheMiddle(std::function<void()> body) {
    log_.hook = [this, body = std::move(body)] {
      std::thread(body).join();
      ran_ = true;
    };
  }

  void ExpectZeros(uint64_t page_number) {
    const absl::StatusOr<ReadGuard> page = cache().Read(Page(page_number));
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_TRUE(Text(page->bytes()) == Zeros()) << "page " << page_number;
  }
  // What the file itself holds, past the cache.
  std::string PageOnDisk(uint64_t page_number) {
    const std::string all = ReadWholeFile(path_);
    return page_number * kPageBytes < all.size() ? all.substr(page_number * kPageBytes, kPageBytes)
                                                 : "";
  }
  uint64_t SizeOnDisk() { return Stat().st_size; }
  uint64_t ReservedBytes() { return Stat().st_blocks * 512; }
  struct stat Stat() {
    struct stat status {};
    EXPECT_EQ(stat(path_.c_str(), &status), 0);
    return status;
  }
  uint64_t Writes() { return engine().Count(IoOperation::kWrite); }
  uint64_t Syncs() { return engine().Count(IoOperation::kSync); }

  // What all three refuse alike.
  std::vector<absl::Status> All(FileId file, storage::SpaceOptions options = {}) {
    return {cache().Allocate(file, 1, options).status(), cache().FreePages(file, 1, 1, options),
            cache().Truncate(file, 2, options)};
  }

  TestLog log_;
  bool ran_ = false;
};

// ---- Allocate ----

TEST_F(PageCacheSpaceTest, AllocatedPagesLieBehindTheEndAndReadAsZeros) {
  Start(4, 8);
  const uint64_t reserved_bytes = ReservedBytes();
  EXPECT_EQ(*cache().Allocate(file_, 100), 8u);
  EXPECT_EQ(*cache().PageCount(file_), 108u);
  EXPECT_EQ(engine().Count(IoOperation::kRead), 0u);
  EXPECT_EQ(Writes() + Syncs(), 0u);
  EXPECT_EQ(SizeOnDisk(), 108u * kPageBytes);
  EXPECT_GE(ReservedBytes(), reserved_bytes + 100 * kPageBytes);
  EXPECT_EQ(cache().Stats().unreserved, 0u);
  for (const uint64_t page : {8, 50, 107}) ExpectZeros(page);
  ExpectVersion(7, 0);
  EXPECT_EQ(cache().Read(Page(108)).status().code(), StatusCode::kOutOfRange);
  Change(60);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_TRUE(PageOnDisk(60) == PageText(60, 1));
  EXPECT_EQ(*cache().Allocate(file_, 1), 108u);
}

TEST_F(PageCacheSpaceTest, AllocatedPagesComeAfterThoseThatAreInMemoryAlone) {
  Start(4, 8);
  Change(20);
  EXPECT_EQ(*cache().Allocate(file_, 2), 21u);
  EXPECT_EQ(*cache().PageCount(file_), 23u);
  ExpectVersion(20, 1);
  ExpectZeros(15);
  ExpectZeros(22);
}

TEST_F(PageCacheSpaceTest, CloseSyncsWhatWasAllocated) {
  Start(4, 8);
  ASSERT_TRUE(cache().Allocate(file_, 4).ok());
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  EXPECT_EQ(Syncs(), 1u);
  file_ = *cache().OpenFile(path_);
  EXPECT_EQ(*cache().PageCount(file_), 12u);
}

TEST_F(PageCacheSpaceTest, AllocateRefusesNumbersThatNoFileCanGrowBy) {
  Start(4, 8);
  const uint64_t most = std::numeric_limits<int64_t>::max() / kPageBytes;
  for (const uint64_t pages : {uint64_t{0}, most - 7, most, ~uint64_t{0}}) {
    const absl::Status status = cache().Allocate(file_, pages).status();
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status;
  }
  EXPECT_EQ(*cache().PageCount(file_), 8u);
  EXPECT_EQ(SizeOnDisk(), 8u * kPageBytes);
}

TEST_F(PageCacheSpaceTest, AllocateWithoutSpaceIsResourceExhaustedAndChangesNothing) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", scratch_.path().c_str(), "tmpfs", 0, "size=256k") != 0) {
      return std::string("cannot mount a small tmpfs: ") + std::strerror(errno);
    }
    Start(4, 8);
    const absl::Status status = cache().Allocate(file_, 100).status();
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(io::ErrnoOf(status), ENOSPC);
    EXPECT_TRUE(absl::StrContains(status.message(), path_)) << status;
    EXPECT_EQ(*cache().PageCount(file_), 8u);
    EXPECT_EQ(SizeOnDisk(), 8u * kPageBytes);
    EXPECT_EQ(*cache().Allocate(file_, 2), 8u);
    return "";
  });
}

// ext4 keeps what it could reserve, and makes the file longer by it.
TEST_F(PageCacheSpaceTest, SpaceThatWasReservedInVainIsGivenBack) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    const std::string backing = scratch_.MakeFile("backing", std::string(8 << 20, '\0'));
    if (std::system(("mkfs.ext4 -q -F " + backing).c_str()) != 0) return "there is no mkfs.ext4";
    const LoopDevice loop(backing);
    if (!loop.works()) return loop.why_not();
    const ScratchDirectory there;
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount(loop.path().c_str(), there.path().c_str(), "ext4", 0, nullptr) != 0) {
      return std::string("cannot mount an ext4 of 8 MiB: ") + std::strerror(errno);
    }
    path_ = there.MakeFile("data.db", FileText(8));
    stack_.emplace(&environment_, 4);
    file_ = *cache().OpenFile(path_);
    const absl::Status status = cache().Allocate(file_, 5000).status();
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(SizeOnDisk(), 8u * kPageBytes);
    EXPECT_EQ(ReservedBytes(), 8u * kPageBytes);
    EXPECT_EQ(*cache().Allocate(file_, 1000), 8u);
    stack_.reset();
    if (umount2(there.path().c_str(), MNT_DETACH) != 0) return "umount";
    return "";
  });
}

TEST_F(PageCacheSpaceTest, FileSystemWithALargestFileSaysOutOfRange) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    Start(4, 8);
    const rlimit limit{.rlim_cur = 100 * kPageBytes, .rlim_max = 100 * kPageBytes};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return "setrlimit";
    std::signal(SIGXFSZ, SIG_IGN);
    EXPECT_EQ(cache().Allocate(file_, 100).status().code(), StatusCode::kOutOfRange);
    const absl::Status truncated = cache().Truncate(file_, 101);
    EXPECT_EQ(truncated.code(), StatusCode::kOutOfRange) << truncated;
    EXPECT_EQ(*cache().PageCount(file_), 8u);
    EXPECT_EQ(SizeOnDisk(), 8u * kPageBytes);
    EXPECT_EQ(*cache().Allocate(file_, 92), 8u);
    return "";
  });
}

TEST_F(PageCacheSpaceTest, WhereNothingCanBeReservedOrPunchedItIsSaid) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    Start(4, 8);
    Change(1);
    ExpectVersion(2, 0);
    if (std::string why = ForbidSystemCall(SYS_fallocate, EOPNOTSUPP); !why.empty()) return why;
    const absl::Status required = cache().Allocate(file_, 10, {.require_reserved = true}).status();
    EXPECT_EQ(required.code(), StatusCode::kUnimplemented) << required;
    EXPECT_EQ(*cache().PageCount(file_), 8u);
    EXPECT_EQ(SizeOnDisk(), 8u * kPageBytes);
    EXPECT_EQ(*cache().Allocate(file_, 10), 8u);
    EXPECT_EQ(cache().Stats().unreserved, 10u);
    EXPECT_EQ(SizeOnDisk(), 18u * kPageBytes);
    ExpectZeros(12);

    const absl::Status freed = cache().FreePages(file_, 1, 2);
    EXPECT_EQ(freed.code(), StatusCode::kUnimplemented) << freed;
    EXPECT_EQ(cache().Stats().dirty_frames, 1u);
    ExpectVersion(1, 1);
    ExpectVersion(2, 0);
    Change(2);
    EXPECT_TRUE(cache().Flush(file_).ok());
    EXPECT_TRUE(PageOnDisk(1) == PageText(1, 1));
    return "";
  });
}

// ---- What all three refuse ----

TEST_F(PageCacheSpaceTest, FileThatIsNotOpenIsNotFound) {
  Start(4, 8);
  for (const absl::Status& status : All(FileId())) EXPECT_EQ(status.code(), StatusCode::kNotFound);
}

TEST_F(PageCacheSpaceTest, ReadOnlyFileIsNotChanged) {
  Start(4, 8);
  const std::string path = scratch_.MakeFile("other.db", FileText(4));
  const FileId file = *cache().OpenFile(path, {.read_only = true});
  for (const absl::Status& status : All(file)) {
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "read-only")) << status;
  }
  EXPECT_TRUE(ReadWholeFile(path) == FileText(4));
}

TEST_F(PageCacheSpaceTest, FileThatIsBeingClosedIsNotChanged) {
  StartWithLog(4, 8);
  ChangeLogged(1);
  InTheMiddle([this] {
    for (const absl::Status& status : All(file_)) {
      EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
      EXPECT_TRUE(absl::StrContains(status.message(), "being closed")) << status;
    }
  });
  EXPECT_TRUE(cache().CloseFile(file_).ok());
  EXPECT_TRUE(ran_);
  EXPECT_EQ(SizeOnDisk(), 8u * kPageBytes);
}

TEST_F(PageCacheSpaceTest, HookOfTheLogChangesNothing) {
  StartWithLog(4, 8);
  ChangeLogged(1);
  log_.hook = [this] {
    ran_ = true;
    for (const absl::Status& status : All(file_)) {
      EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
    }
  };
  EXPECT_TRUE(cache().Flush(file_).ok());
  EXPECT_TRUE(ran_);
}

TEST_F(PageCacheSpaceTest, ChangesOfOneFileWaitForEachOther) {
  StartWithLog(4, 8);
  ChangeLogged(1);
  const FileId other = *cache().OpenFile(scratch_.MakeFile("other.db", FileText(4)));
  InTheMiddle([this, other] {
    for (const absl::Status& status : All(file_, {.timeout = absl::Seconds(1)})) {
      EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded) << status;
    }
    EXPECT_EQ(cache().CloseFile(file_).code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(cache().Drop(file_).code(), StatusCode::kFailedPrecondition);
    for (const absl::Status& status : All(other, {.timeout = absl::Seconds(1)})) {
      EXPECT_TRUE(status.ok()) << status;
    }
  });
  ASSERT_TRUE(cache().FreePages(file_, 1, 1).ok());
  EXPECT_TRUE(ran_);
  for (const absl::Status& status : All(file_)) EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(cache().Drop(file_).ok());
}

TEST_F(PageCacheSpaceTest, BlockDeviceDoesNotGrowAndShrinkButGivesPagesBack) {
  Start(4, 8);
  const std::string backing = scratch_.MakeFile("backing", FileText(16));
  const LoopDevice loop(backing);
  if (!loop.works()) GTEST_SKIP() << loop.why_not();
  const FileId device = *cache().OpenFile(loop.path());
  EXPECT_EQ(cache().Allocate(device, 1).status().code(), StatusCode::kOutOfRange);
  EXPECT_EQ(cache().Truncate(device, 8).code(), StatusCode::kUnimplemented);
  EXPECT_EQ(*cache().PageCount(device), 16u);
  const absl::Status freed = cache().FreePages(device, 3, 2);
  if (absl::IsUnimplemented(freed)) GTEST_SKIP() << freed;
  ASSERT_TRUE(freed.ok()) << freed;
  for (const uint64_t page : {3, 4}) {
    EXPECT_TRUE(Text(cache().Read({device, page})->bytes()) == Zeros());
  }
  EXPECT_TRUE(Text(cache().Read({device, 5})->bytes()) == PageText(5));
}

// ---- FreePages ----

TEST_F(PageCacheSpaceTest, FreedPagesReadAsZerosAndAreNeverWritten) {
  Start(8, 8);
  const uint64_t reserved_bytes = ReservedBytes();
  Change(2);            // dirty
  ExpectVersion(3, 0);  // clean; 4 is on disk alone
  Change(1);
  Change(5);
  ASSERT_TRUE(cache().FreePages(file_, 2, 3).ok());
  EXPECT_EQ(Writes(), 0u);
  EXPECT_EQ(cache().Stats().dropped, 2u);
  EXPECT_EQ(cache().Stats().dirty_frames, 2u);
  EXPECT_EQ(ReservedBytes(), reserved_bytes - 3 * kPageBytes);
  EXPECT_EQ(*cache().PageCount(file_), 8u);
  for (const uint64_t page : {2, 3, 4}) {
    EXPECT_TRUE(PageOnDisk(page) == Zeros());
    ExpectZeros(page);
  }
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(engine().Offsets(IoOperation::kWrite),
            (std::vector<uint64_t>{1 * kPageBytes, 5 * kPageBytes}));
  for (const uint64_t page : {1, 5}) ExpectVersion(page, 1);
  ExpectVersion(0, 0);
}

TEST_F(PageCacheSpaceTest, FreedPagesCanBeUsedAgain) {
  Start(8, 8);
  Change(2);
  ASSERT_TRUE(cache().FreePages(file_, 0, 8).ok());
  Change(2, 7);
  {
    WriteGuard page = *cache().Make(Page(3));
    Put(page, PageText(3, 8));
  }
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_TRUE(PageOnDisk(2) == PageText(2, 7));
  EXPECT_TRUE(PageOnDisk(3) == PageText(3, 8));
  EXPECT_TRUE(PageOnDisk(4) == Zeros());
}

TEST_F(PageCacheSpaceTest, PagesThatAreInMemoryAloneAreFreed) {
  Start(8, 8);
  Change(20);
  Change(22);
  ASSERT_TRUE(cache().FreePages(file_, 10, 12).ok());
  EXPECT_EQ(*cache().PageCount(file_), 23u);
  ExpectZeros(20);
  ExpectVersion(22, 1);
}

TEST_F(PageCacheSpaceTest, FreePagesRefusesPagesThatDoNotExist) {
  Start(4, 8);
  EXPECT_EQ(cache().FreePages(file_, 1, 0).code(), StatusCode::kInvalidArgument);
  for (const auto& [first, count] : std::vector<std::pair<uint64_t, uint64_t>>{
           {7, 2}, {8, 1}, {0, 9}, {~uint64_t{0}, 1}, {1, ~uint64_t{0}}}) {
    EXPECT_EQ(cache().FreePages(file_, first, count).code(), StatusCode::kOutOfRange);
  }
  EXPECT_TRUE(ReadWholeFile(path_) == FileText(8));
}

TEST_F(PageCacheSpaceTest, PageThatIsHeldIsNamedAndNothingHasChanged) {
  Start(8, 8);
  Change(2);
  ExpectVersion(3, 0);
  for (const bool write : {false, true}) {
    std::optional<ReadGuard> read;
    std::optional<WriteGuard> written;
    if (write) {
      written = *cache().Write(Page(4));
    } else {
      read = *cache().Read(Page(4));
    }
    for (const absl::Status& status :
         {cache().FreePages(file_, 2, 3), cache().Truncate(file_, 1)}) {
      EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
      EXPECT_TRUE(absl::StrContains(status.message(), "page 4 is held")) << status;
    }
    // Others are let in again without the lock.
    EXPECT_TRUE(cache().TryWrite(Page(2)).has_value());
    EXPECT_TRUE(cache().TryWrite(Page(3)).has_value());
    EXPECT_EQ(cache().Stats().dirty_frames, 1u);
    // Those of other pages are in nobody's way.
    EXPECT_TRUE(cache().FreePages(file_, 5, 3).ok());
    EXPECT_TRUE(cache().Truncate(file_, 8).ok());
  }
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_TRUE(PageOnDisk(2) == PageText(2, 1));
  EXPECT_TRUE(PageOnDisk(3) == PageText(3));
}

TEST_F(PageCacheSpaceTest, PageThatIsWaitedForIsNamed) {
  Start(8, 8);
  engine().BeforeSubmit([this] {
    if (std::exchange(ran_, true)) return;
    const absl::Status status = cache().FreePages(file_, 2, 3);
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "page 4 is being waited for")) << status;
  });
  ExpectVersion(4, 0);
  EXPECT_TRUE(ran_);
}

TEST_F(PageCacheSpaceTest, ReadInFlightIsWaitedForOrNothingHasChanged) {
  Start(8, 8);
  engine().Hold({.operation = IoOperation::kRead});
  const storage::PageId page = Page(3);
  ASSERT_EQ(*cache().Prefetch({&page, 1}), 1u);
  const absl::Status status = cache().FreePages(file_, 2, 3, {.timeout = absl::Seconds(1)});
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "page 3")) << status;
  EXPECT_TRUE(PageOnDisk(3) == PageText(3));
  engine().ReleaseAll();
  ASSERT_TRUE(cache().FreePages(file_, 2, 3, {.timeout = absl::Seconds(1)}).ok());
  ExpectZeros(3);
}

TEST_F(PageCacheSpaceTest, WriteInFlightIsWaitedForAndDoesNotComeAfterTheHole) {
  Start(8, 8);
  Change(3);
  engine().Hold({.operation = IoOperation::kWrite});
  EXPECT_EQ(cache().Flush(file_, absl::Seconds(1)).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(cache().FreePages(file_, 2, 3, {.timeout = absl::Seconds(1)}).code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_EQ(cache().Truncate(file_, 3, {.timeout = absl::Seconds(1)}).code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_EQ(*cache().PageCount(file_), 8u);
  engine().ReleaseAll();
  ASSERT_TRUE(cache().FreePages(file_, 2, 3, {.timeout = absl::Seconds(1)}).ok());
  EXPECT_EQ(Writes(), 1u);
  EXPECT_TRUE(PageOnDisk(3) == Zeros());
  ExpectZeros(3);
}

TEST_F(PageCacheSpaceTest, PageThatCannotBeWrittenIsFreed) {
  Start(8, 8);
  Change(3);
  engine().Fail({.operation = IoOperation::kWrite}, io::ErrnoStatus(EIO, "the test"));
  EXPECT_FALSE(cache().Flush(file_).ok());
  EXPECT_EQ(cache().Stats().failing_frames, 1u);
  ASSERT_TRUE(cache().FreePages(file_, 3, 1).ok());
  EXPECT_EQ(cache().Stats().failing_frames, 0u);
  EXPECT_EQ(cache().Stats().free_frames, 8u);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(Writes(), 1u);
}

// ---- What others meet meanwhile ----

storage::Task<absl::Status> ReadOne(storage::TaskScheduler&, storage::PageCache& cache,
                                    storage::PageId page, absl::Duration timeout) {
  co_return (co_await cache.ReadAsync(page, {.timeout = timeout})).status();
}

TEST_F(PageCacheSpaceTest, NobodyGetsAPageOfTheRangeMeanwhile) {
  StartWithLog(16, 64);
  ChangeLogged(4);
  ExpectVersion(5, 0);
  ExpectVersion(20, 0);
  InTheMiddle([this] {
    const storage::AccessOptions shortly{.timeout = absl::Seconds(1)};
    for (uint64_t page = 4; page < 8; ++page) {  // 6 and 7 are not in memory
      for (const absl::Status& status :
           {cache().Read(Page(page), shortly).status(), cache().Write(Page(page), shortly).status(),
            cache().Make(Page(page), shortly).status()}) {
        EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded) << status;
        EXPECT_TRUE(absl::StrContains(status.message(), "another thread")) << status;
      }
      EXPECT_FALSE(cache().TryRead(Page(page)).has_value());
      EXPECT_FALSE(cache().TryWrite(Page(page)).has_value());
    }
    const std::vector<storage::PageId> pages = {Page(7), Page(6), Page(4), Page(5)};
    EXPECT_EQ(*cache().Prefetch(pages), 0u);
    storage::CacheProgress progress(&cache());
    const auto frames = *storage::CoroutineFrames::Create();
    storage::TaskScheduler scheduler(frames.get(), &progress, &environment_);
    EXPECT_EQ(scheduler.Run(ReadOne(scheduler, cache(), Page(6), absl::Seconds(1))).code(),
              StatusCode::kDeadlineExceeded);
    // Those beside them are everybody's.
    for (const uint64_t page : {3, 8, 20}) EXPECT_TRUE(cache().Read(Page(page), shortly).ok());
  });
  ASSERT_TRUE(cache().FreePages(file_, 4, 4).ok());
  EXPECT_TRUE(ran_);
  for (uint64_t page = 4; page < 8; ++page) {
    EXPECT_EQ(engine().Count(IoOperation::kRead, page * kPageBytes), page < 6 ? 1u : 0u);
    ExpectZeros(page);
  }
}

TEST_F(PageCacheSpaceTest, OptimisticReaderSeesWhatWasThereUntilItHasGone) {
  StartWithLog(16, 64);
  ChangeLogged(4);
  OptimisticGuard before = *cache().ReadOptimistic(Page(4));
  OptimisticGuard during;
  InTheMiddle([&] {
    EXPECT_TRUE(before.StillValid());
    during = cache().TryReadOptimistic(Page(4));
    EXPECT_TRUE(during.StillValid());
  });
  ASSERT_TRUE(cache().FreePages(file_, 4, 4).ok());
  EXPECT_TRUE(ran_);
  EXPECT_FALSE(before.StillValid());
  EXPECT_FALSE(during.StillValid());
}

TEST_F(PageCacheSpaceTest, NothingOfTheRangeIsWrittenMeanwhile) {
  StartWith({.frame_count = 16,
             .free_frames = 2,
             .background_thread = false,
             .dirty_share = 0,
             .log = &log_},
            64);
  for (uint64_t page = 2; page < 8; ++page) Change(page);  // of which the log knows nothing
  ChangeLogged(8);
  InTheMiddle([this] {
    storage::BackgroundWork background(&cache());
    for (int i = 0; i < 1000 && background.Step(); ++i) {
    }
    // More than there are frames, so that whoever may go does.
    for (uint64_t page = 30; page < 60; ++page) {
      EXPECT_TRUE(cache().Read(Page(page), {.timeout = absl::Seconds(1)}).ok());
    }
    EXPECT_EQ(cache().Flush(file_, absl::Seconds(1)).code(), StatusCode::kDeadlineExceeded);
    EXPECT_EQ(Writes(), 2u);  // of 2 and 3, which are not in it
  });
  ASSERT_TRUE(cache().FreePages(file_, 4, 5).ok());
  EXPECT_TRUE(ran_);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(Writes(), 2u);
  for (uint64_t page = 4; page < 9; ++page) EXPECT_TRUE(PageOnDisk(page) == Zeros());
}

TEST_F(PageCacheSpaceTest, ScanIsNotReadAheadIntoTheRange) {
  StartWithLog(512, 256);
  ChangeLogged(40);
  InTheMiddle([this] {
    for (uint64_t page = 0; page < 30; ++page) ExpectVersion(page, 0);
  });
  ASSERT_TRUE(cache().FreePages(file_, 32, 64).ok());
  EXPECT_TRUE(ran_);
  EXPECT_GT(cache().Stats().read_ahead, 0u);
  for (const uint64_t offset : engine().Offsets(IoOperation::kRead)) {
    EXPECT_TRUE(offset < 32 * kPageBytes || offset == 40 * kPageBytes) << offset;
  }
  for (uint64_t page = 30; page < 32; ++page) ExpectVersion(page, 0);
  for (uint64_t page = 32; page < 96; ++page) ExpectZeros(page);
  for (uint64_t page = 96; page < 256; ++page) ExpectVersion(page, 0);
}

// ---- The log ----

TEST_F(PageCacheSpaceTest, LogIsDurableBeforeTheHoleIsMade) {
  StartWithLog(8, 8);
  ChangeLogged(3);
  const Lsn record{++log_.last};
  InTheMiddle([this] { EXPECT_TRUE(PageOnDisk(3) == PageText(3)); });
  ASSERT_TRUE(cache().FreePages(file_, 3, 1, {.lsn = record}).ok());
  EXPECT_TRUE(ran_);
  EXPECT_EQ(log_.calls, std::vector<Lsn>{record});
  ran_ = false;
  const Lsn next{++log_.last};
  InTheMiddle([this] { EXPECT_EQ(SizeOnDisk(), 8u * kPageBytes); });
  ASSERT_TRUE(cache().Truncate(file_, 2, {.lsn = next}).ok());
  EXPECT_TRUE(ran_);
  EXPECT_EQ(log_.calls, (std::vector<Lsn>{record, next}));
}

TEST_F(PageCacheSpaceTest, WithoutTheLogNothingChanges) {
  StartWithLog(8, 8);
  ChangeLogged(3);
  log_.failure = absl::UnavailableError("the log's disk is full");
  for (const absl::Status& status : {cache().FreePages(file_, 3, 1), cache().Truncate(file_, 2)}) {
    EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "the log's disk is full")) << status;
  }
  EXPECT_EQ(*cache().PageCount(file_), 8u);
  ExpectVersion(3, 1);
  EXPECT_TRUE(PageOnDisk(3) == PageText(3));
  log_.failure = absl::OkStatus();
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_TRUE(PageOnDisk(3) == PageText(3, 1));
}

TEST_F(PageCacheSpaceTest, DroppedPagesDoNotCountAsDirtyButTheChangeDoes) {
  StartWithLog(8, 8);
  ChangeLogged(3);  // 1
  ChangeLogged(5);  // 2
  EXPECT_EQ(cache().OldestDirtyLsn(), Lsn{1});
  const Lsn record{++log_.last};  // 3
  ASSERT_TRUE(cache().FreePages(file_, 3, 1, {.lsn = record}).ok());
  EXPECT_EQ(cache().OldestDirtyLsn(), Lsn{2});
  ASSERT_TRUE(cache().FreePages(file_, 5, 1).ok());
  EXPECT_EQ(cache().OldestDirtyLsn(), record);
  // There is no page to be written; what there is is made durable.
  ASSERT_TRUE(cache().Checkpoint(record).ok());
  EXPECT_EQ(cache().OldestDirtyLsn(), std::nullopt);
  EXPECT_EQ(Syncs(), 1u);
  EXPECT_EQ(Writes(), 0u);
  ASSERT_TRUE(cache().Allocate(file_, 1, {.lsn = Lsn{++log_.last}}).ok());
  EXPECT_EQ(cache().OldestDirtyLsn(), Lsn{4});
  ASSERT_TRUE(cache().Truncate(file_, 4, {.lsn = Lsn{++log_.last}}).ok());
  EXPECT_EQ(cache().OldestDirtyLsn(), std::nullopt);
}

// ---- Truncate ----

TEST_F(PageCacheSpaceTest, TruncatedFileIsShorterAndSynced) {
  Start(8, 8);
  Change(2);
  Change(5);
  ExpectVersion(6, 0);
  Change(20);
  uint64_t size_at_sync = 0;
  engine().BeforeSubmit([&] { size_at_sync = SizeOnDisk(); });
  ASSERT_TRUE(cache().Truncate(file_, 4).ok());
  EXPECT_EQ(size_at_sync, 4u * kPageBytes);
  EXPECT_EQ(Syncs(), 1u);
  EXPECT_EQ(Writes(), 0u);
  EXPECT_EQ(cache().Stats().dropped, 3u);
  EXPECT_EQ(*cache().PageCount(file_), 4u);
  EXPECT_EQ(SizeOnDisk(), 4u * kPageBytes);
  for (const uint64_t page : {4, 5, 20}) {
    EXPECT_EQ(cache().Read(Page(page)).status().code(), StatusCode::kOutOfRange);
    EXPECT_FALSE(cache().TryRead(Page(page)).has_value());
  }
  ExpectVersion(2, 1);
  ExpectVersion(3, 0);
  // Made anew.
  {
    const WriteGuard page = *cache().Write(Page(6));
    EXPECT_TRUE(Text(page.bytes()) == Zeros());
  }
  EXPECT_EQ(*cache().PageCount(file_), 7u);
  ExpectZeros(5);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_TRUE(PageOnDisk(2) == PageText(2, 1));
  EXPECT_TRUE(PageOnDisk(5) == Zeros());
}

TEST_F(PageCacheSpaceTest, TruncateMakesAFileLongerToo) {
  Start(8, 8);
  Change(2);
  ASSERT_TRUE(cache().Truncate(file_, 12).ok());
  EXPECT_EQ(*cache().PageCount(file_), 12u);
  EXPECT_EQ(SizeOnDisk(), 12u * kPageBytes);
  EXPECT_EQ(cache().Stats().dropped, 0u);
  ExpectZeros(11);
  ExpectVersion(2, 1);
  ExpectVersion(7, 0);
  EXPECT_EQ(*cache().Allocate(file_, 1), 12u);
}

TEST_F(PageCacheSpaceTest, FileIsExactlyAsLongAsItsPages) {
  path_ = scratch_.MakeFile("data.db", FileText(3) + "the rest");
  stack_.emplace(&environment_, 8);
  file_ = *cache().OpenFile(path_);
  ASSERT_TRUE(cache().Truncate(file_, 4).ok());
  EXPECT_EQ(SizeOnDisk(), 4u * kPageBytes);
  std::string rest(kPageBytes, '\0');
  rest.replace(0, 8, "the rest");
  EXPECT_TRUE(Text(cache().Read(Page(3))->bytes()) == rest);
  Change(20);  // in memory alone
  ASSERT_TRUE(cache().Truncate(file_, 10).ok());
  EXPECT_EQ(SizeOnDisk(), 10u * kPageBytes);
  ASSERT_TRUE(cache().Truncate(file_, 0).ok());
  EXPECT_EQ(SizeOnDisk(), 0u);
  EXPECT_EQ(*cache().PageCount(file_), 0u);
  EXPECT_EQ(*cache().Allocate(file_, 1), 0u);
}

TEST_F(PageCacheSpaceTest, TruncateRefusesALengthThatNoFileHas) {
  Start(8, 8);
  EXPECT_EQ(cache().Truncate(file_, ~uint64_t{0}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(cache().Truncate(file_, std::numeric_limits<int64_t>::max() / kPageBytes + 1).code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(*cache().PageCount(file_), 8u);
}

TEST_F(PageCacheSpaceTest, TruncateWhoseSyncFailsPoisonsTheFile) {
  Start(8, 8);
  engine().Fail({.operation = IoOperation::kSync}, io::ErrnoStatus(EIO, "the test"));
  const absl::Status status = cache().Truncate(file_, 4);
  EXPECT_EQ(io::ErrnoOf(status), EIO) << status;
  EXPECT_EQ(*cache().PageCount(file_), 4u);
  for (const absl::Status& refused : All(file_)) EXPECT_EQ(refused, status);
  EXPECT_EQ(cache().Flush(file_), status);
}

TEST_F(PageCacheSpaceTest, TruncateWhoseSyncDoesNotEndSaysSo) {
  Start(8, 8);
  engine().Hold({.operation = IoOperation::kSync});
  const absl::Status status = cache().Truncate(file_, 4, {.timeout = absl::Seconds(1)});
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(absl::StrContains(status.message(), "the sync")) << status;
  EXPECT_EQ(*cache().PageCount(file_), 4u);
  engine().ReleaseAll();
  EXPECT_TRUE(cache().Truncate(file_, 4).ok());
}

TEST_F(PageCacheSpaceTest, SyncThatFailsMeanwhileKeepsAFileFromBeingChanged) {
  Start(8, 8);
  Change(1);
  engine().Hold({.operation = IoOperation::kSync});
  EXPECT_EQ(cache().Flush(file_, absl::Seconds(1)).code(), StatusCode::kDeadlineExceeded);
  engine().Hold({.operation = IoOperation::kRead});
  const storage::PageId page = Page(3);
  ASSERT_EQ(*cache().Prefetch({&page, 1}), 1u);
  engine().Fail({.operation = IoOperation::kSync}, io::ErrnoStatus(EIO, "the test"));
  engine().ReleaseAll();
  // Waits for the read, and takes the end of the sync in with it.
  const absl::Status status = cache().FreePages(file_, 3, 1);
  EXPECT_EQ(io::ErrnoOf(status), EIO) << status;
  EXPECT_TRUE(PageOnDisk(3) == PageText(3));
  ExpectVersion(3, 0);
}

TEST_F(PageCacheSpaceTest, TruncateSyncsTheDirectory) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    Start(8, 8);
    if (std::string why = ForbidSystemCall(SYS_fsync, EIO); !why.empty()) return why;
    const absl::Status status = cache().Truncate(file_, 4);
    EXPECT_EQ(io::ErrnoOf(status), EIO) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "directory")) << status;
    return "";
  });
}

}  // namespace
}  // namespace fixpool::tests
