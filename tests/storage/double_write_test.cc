#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fixpool/io/error.h"
#include "fixpool/io/file.h"
#include "fixpool/storage/background_work.h"
#include "fixpool/storage/double_write_format.h"
#include "fixpool/storage/file_options.h"
#include "fixpool/storage/page_cache.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/storage/sealed_files.h"
#include "tests/support/fake_engine.h"
#include "tests/support/manual_environment.h"
#include "tests/support/scratch.h"

// Files with double-write areas: what goes to the disk and in which order, what happens where
// something fails, and what is done at the next open. Crashes at every moment are in
// double_write_crash_test.cc, the real kernel in torn_pages_levels_test.cc.

namespace fixpool::tests {
namespace {

using io::IoOperation;
using storage::FileOptions;
using storage::PageCache;
using storage::TornPageProtection;
using ::testing::HasSubstr;

class DoubleWriteTest : public ::testing::Test {
 protected:
  // `copies`: pages of the area beside the fronts.
  FileOptions Protected(uint32_t copies = 64) {
    FileOptions options = Sealed();
    options.torn_pages = TornPageProtection::kDoubleWrite;
    options.double_write_bytes = uint64_t{copies} * kPageBytes;
    return options;
  }
  void Start(uint32_t frames, const FileOptions& options, FakeEngine::Options engine = {}) {
    engine.record = true;
    stack_.emplace(&environment_, engine,
                   PageCache::PartsOptions{.frame_count = frames, .free_frames = 0});
    absl::StatusOr<storage::FileId> file = cache().OpenFile(path_, options);
    ASSERT_TRUE(file.ok()) << file.status();
    file_ = *file;
  }
  // A closed file of `pages` pages of version 0.
  void MakeFile(uint32_t pages) {
    Start(16, Protected());
    for (uint32_t page = 0; page < pages; ++page) Change(page, 0);
    ASSERT_TRUE(cache().CloseFile(file_).ok());
    stack_.reset();
  }
  PageCache& cache() { return *stack_->cache; }
  FakeEngine& engine() { return *stack_->engine; }

  void Change(uint64_t page_number, uint64_t version) {
    auto page = cache().Write({file_, page_number});
    ASSERT_TRUE(page.ok()) << page.status();
    Put(*page, Payload(page_number, version));
  }
  void ExpectVersion(uint64_t page_number, uint64_t version) {
    auto page = cache().Read({file_, page_number});
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_TRUE(Text(page->bytes()) == Payload(page_number, version)) << page_number;
  }
  // "copies 3", "sync copies", "pages 2", "sync pages", ..., since `from`.
  std::vector<std::string> History(size_t from = 0) {
    std::vector<std::string> history;
    const std::vector<FakeEngine::Done> done = engine().Performed();
    for (size_t i = from; i < done.size(); ++i) {
      const bool area = done[i].path == area_path_;
      if (done[i].operation == IoOperation::kSync) {
        history.push_back(area ? "sync copies" : "sync pages");
      } else if (area && done[i].offset_bytes < 2 * kPageBytes) {
        history.push_back("front");
      } else {
        const size_t pages = done[i].bytes.size() / kPageBytes;
        history.push_back(absl::StrCat(area ? "copies " : "pages ", area ? pages - 1 : pages));
      }
    }
    return history;
  }
  // Half of the page on disk is what it was not.
  void Tear(uint64_t page_number) {
    const std::string page = PageOnDisk(path_, page_number);
    std::string half = page.substr(0, kPageBytes / 2);
    for (char& byte : half) byte = static_cast<char>(~byte);
    PutOnDisk(path_, page_number * kPageBytes, half);
  }

  ManualEnvironment environment_;
  ScratchDirectory scratch_;
  const std::string path_ = scratch_.File("data.db");
  const std::string area_path_ = path_ + ".double_write";
  std::optional<FakeStack> stack_;
  storage::FileId file_;
};

using Strings = std::vector<std::string>;

// ---- Which one is in force ----

TEST_F(DoubleWriteTest, WhatIsInForceIsVisible) {
  Start(8, Protected());
  EXPECT_EQ(*cache().ProtectionOf(file_), TornPageProtection::kDoubleWrite);
  EXPECT_THAT(cache().Describe(), HasSubstr("data.db: against torn pages, double writes in "));
  EXPECT_THAT(cache().Describe(), HasSubstr(area_path_));
  const auto other = cache().OpenFile(scratch_.MakeFile("other", FileText(1)));
  EXPECT_EQ(*cache().ProtectionOf(*other), TornPageProtection::kNone);
  EXPECT_THAT(cache().Describe(), ::testing::Not(HasSubstr("other: against")));
  ASSERT_TRUE(cache().CloseFile(*other).ok());
  EXPECT_TRUE(absl::IsNotFound(cache().ProtectionOf(*other).status()));
}

TEST_F(DoubleWriteTest, ItNeedsASeal) {
  Start(8, Protected());
  FileOptions options = Protected();
  options.seal = nullptr;
  options.identity = 0;
  const auto status = cache().OpenFile(scratch_.File("unsealed"), options).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("FileOptions::seal"));
}

TEST_F(DoubleWriteTest, AreaIsNotTheFileItself) {
  Start(8, Protected());
  FileOptions options = Protected();
  options.locking = io::File::Locking::kCaller;
  options.double_write_path = scratch_.File("twice");
  const auto status = cache().OpenFile(scratch_.File("twice"), options).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
}

// One that has atomic writes of pages, as far as it says.
class AtomicFile final : public io::File {
 public:
  AtomicFile(const std::string& path, uint32_t unit_max_bytes)
      : File({.path = path,
              .device = 1,
              .inode = 1,
              .alignment = {512, 512},
              .atomic_writes = {512, unit_max_bytes, unit_max_bytes == 0 ? 0u : 1u}}) {}
  absl::StatusOr<uint64_t> SizeBytes() const override {
    struct stat status;
    return stat(path().c_str(), &status) == 0 ? static_cast<uint64_t>(status.st_size) : 0;
  }
  absl::Status Preallocate(uint64_t, uint64_t) override { return absl::OkStatus(); }
  absl::Status Sync() override { return absl::OkStatus(); }
};

TEST_F(DoubleWriteTest, AtomicWhereTheFileHasThatAndThenNoCopiesAndNothingJoined) {
  for (const auto wanted : {TornPageProtection::kBest, TornPageProtection::kAtomic}) {
    Start(16, Protected(), {.joined_depth = 8});
    const std::string path = scratch_.MakeFile("atomic", "");
    const auto file =
        cache().OpenFile(std::make_shared<AtomicFile>(path, 65536), {.torn_pages = wanted});
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(*cache().ProtectionOf(*file), TornPageProtection::kAtomic);
    EXPECT_THAT(cache().Describe(), HasSubstr("against torn pages, atomic writes"));
    for (uint64_t page = 0; page < 4; ++page) {
      storage::WriteGuard guard = *cache().Make({*file, page});
      Put(guard, PageText(page));
    }
    ASSERT_TRUE(cache().Flush(*file).ok());
    EXPECT_EQ(engine().atomic_writes(), 4u);
    EXPECT_EQ(cache().Stats().double_writes, 0u);
    EXPECT_TRUE(ReadWholeFile(path) == FileText(4));
    ASSERT_TRUE(cache().CloseFile(*file).ok());
    stack_.reset();
  }
}

TEST_F(DoubleWriteTest, AtomicWhereTheFileHasNone) {
  Start(8, Protected());
  const std::string path = scratch_.MakeFile("atomic", "");
  for (const uint32_t unit_max_bytes : {0u, 2048u}) {
    const auto file = std::make_shared<AtomicFile>(path, unit_max_bytes);
    FileOptions options = Sealed();
    options.torn_pages = TornPageProtection::kAtomic;
    const auto status = cache().OpenFile(file, options).status();
    EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
    options.torn_pages = TornPageProtection::kBest;
    const auto id = cache().OpenFile(file, options);
    ASSERT_TRUE(id.ok()) << id.status();
    EXPECT_EQ(*cache().ProtectionOf(*id), TornPageProtection::kDoubleWrite);
    ASSERT_TRUE(cache().CloseFile(*id).ok());
  }
}

// ---- The order of things ----

TEST_F(DoubleWriteTest, CopiesAreOnDiskBeforeAPageIsWritten) {
  Start(16, Protected());
  const size_t opened = engine().Performed().size();
  for (uint64_t page = 0; page < 3; ++page) Change(page, 1);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(History(opened),
            (Strings{"copies 3", "sync copies", "pages 1", "pages 1", "pages 1", "sync pages"}));
  EXPECT_EQ(cache().Stats().double_writes, 3u);
}

TEST_F(DoubleWriteTest, JoinedWritesToo) {
  Start(16, Protected(), {.joined_depth = 8});
  const size_t opened = engine().Performed().size();
  for (const uint64_t page : {3, 4, 5, 9}) Change(page, 1);
  ASSERT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(History(opened),
            (Strings{"copies 4", "sync copies", "pages 3", "pages 1", "sync pages"}));
}

TEST_F(DoubleWriteTest, NoPageIsWrittenWhileCopiesAreOnTheirWay) {
  Start(16, Protected());
  engine().Hold({.operation = IoOperation::kSync, .path = area_path_});
  Change(0, 1);
  const size_t before = engine().Performed().size();
  const absl::Status flushed = cache().Flush(file_, absl::Seconds(1));
  EXPECT_FALSE(flushed.ok());
  for (const std::string& step : History(before)) EXPECT_EQ(step, "copies 1");
  engine().ReleaseAll();
  EXPECT_TRUE(cache().Flush(file_).ok()) << "and then it goes on";
}

TEST_F(DoubleWriteTest, EvictionProtectsWhatItWrites) {
  Start(4, Protected());
  const size_t opened = engine().Performed().size();
  for (uint64_t page = 0; page < 12; ++page) Change(page, 1);
  const Strings history = History(opened);
  ASSERT_GE(history.size(), 3u);
  int64_t covered = 0;
  bool synced = true;
  for (const std::string& step : history) {
    if (step.substr(0, 6) == "copies") {
      synced = false;
      covered += std::stoi(step.substr(7));
    } else if (step == "sync copies") {
      synced = true;
    } else {
      EXPECT_TRUE(synced) << step;
      covered -= std::stoi(step.substr(6));
      EXPECT_GE(covered, 0);
    }
  }
  for (uint64_t page = 0; page < 12; ++page) ExpectVersion(page, 1);
}

TEST_F(DoubleWriteTest, PlaceOfCopiesIsUsedAgainOnlyAfterASyncOfTheFile) {
  Start(4, Protected(/*copies=*/6));
  const size_t opened = engine().Performed().size();
  for (uint64_t page = 0; page < 30; ++page) Change(page, 1);
  std::vector<std::pair<uint64_t, uint64_t>> in_use;  // ranges of the area since the last sync
  int syncs = 0;
  const auto done = engine().Performed();
  for (size_t i = opened; i < done.size(); ++i) {
    if (done[i].path != area_path_) {
      if (done[i].operation != IoOperation::kSync) continue;
      ++syncs;
      in_use.clear();
      continue;
    }
    if (done[i].operation == IoOperation::kSync || done[i].offset_bytes < 2 * kPageBytes) continue;
    const uint64_t begin = done[i].offset_bytes, end = begin + done[i].bytes.size();
    EXPECT_LE(end, 8 * kPageBytes);
    for (const auto& [from, to] : in_use) EXPECT_TRUE(end <= from || to <= begin);
    in_use.push_back({begin, end});
  }
  EXPECT_GT(syncs, 2);
  for (uint64_t page = 0; page < 30; ++page) ExpectVersion(page, 1);
}

TEST_F(DoubleWriteTest, MissDoesNotWaitForCopiesWhileSomethingIsClean) {
  MakeFile(40);
  // Somebody would write in the background, and does not get to it.
  stack_.emplace(
      &environment_, FakeEngine::Options{.record = true},
      PageCache::PartsOptions{.frame_count = 16, .free_frames = 1, .background_thread = false});
  file_ = *cache().OpenFile(path_, Protected());
  for (uint64_t page = 0; page < 3; ++page) Change(page, 2);
  for (uint64_t page = 3; page < 40; ++page) ExpectVersion(page, 0);
  EXPECT_EQ(History(), Strings{});
  // With nothing clean it is he who writes, few as the dirty ones are, once for all of them, and
  // the next miss finds them.
  storage::BackgroundWork background(&cache());
  std::vector<storage::ReadGuard> held;
  for (uint64_t page = 3; page < 16; ++page) held.push_back(*cache().Read({file_, page}));
  const auto read = cache().Read({file_, 20}, {.timeout = absl::Milliseconds(1)});
  EXPECT_TRUE(absl::IsResourceExhausted(read.status())) << read.status();
  for (int step = 0; step < 20; ++step) background.Step();
  ExpectVersion(20, 0);
  EXPECT_EQ(History().front(), "copies 3");
}

// ---- What fails ----

TEST_F(DoubleWriteTest, FailedWriteOfCopiesLeavesPagesDirty) {
  Start(16, Protected());
  Change(0, 1);
  engine().Fail({.operation = IoOperation::kWrite, .path = area_path_},
                io::ErrnoStatus(ENOSPC, "the test"));
  const size_t before = engine().Performed().size();
  const absl::Status status = cache().Flush(file_);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(History(before), Strings{});
  EXPECT_EQ(cache().Stats().dirty_frames, 1u);
  EXPECT_EQ(cache().Stats().write_errors, 1u);
  EXPECT_TRUE(cache().Flush(file_).ok());
  EXPECT_EQ(cache().Stats().dirty_frames, 0u);
}

TEST_F(DoubleWriteTest, FailedSyncOfCopiesPoisonsTheFile) {
  Start(16, Protected());
  Change(0, 1);
  engine().Fail({.operation = IoOperation::kSync, .path = area_path_},
                io::ErrnoStatus(EIO, "the test"));
  const size_t before = engine().Performed().size();
  absl::Status status = cache().Flush(file_);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("sync of its double-write area failed"));
  EXPECT_EQ(io::ErrnoOf(status), EIO);
  EXPECT_EQ(History(before), Strings{"copies 1"}) << "and no page";
  status = cache().Flush(file_);
  EXPECT_THAT(std::string(status.message()), HasSubstr("sync of its double-write area failed"));
  EXPECT_FALSE(cache().Write({file_, 5}).ok());
  ExpectVersion(0, 1);
  ASSERT_TRUE(cache().CloseFile(file_, {.discard_changes = true}).ok());
  file_ = *cache().OpenFile(path_, Protected());
  Change(0, 1);
  EXPECT_TRUE(cache().Flush(file_).ok());
}

TEST_F(DoubleWriteTest, TornWriteThatFailedIsRecoveredThoughTheFileWasSyncedSince) {
  MakeFile(8);
  Start(16, Protected(/*copies=*/6));
  Change(3, 1);
  engine().FailTorn({.operation = IoOperation::kWrite, .path = path_},
                    io::ErrnoStatus(EIO, "test"));
  EXPECT_FALSE(cache().Flush(file_).ok());
  // Others use the area up, again and again, while that page waits for its next try.
  engine().FailTorn(
      {.operation = IoOperation::kWrite, .offset_bytes = 3 * kPageBytes, .path = path_},
      io::ErrnoStatus(EIO, "test"), FakeEngine::kAlways);
  for (uint64_t round = 1; round < 10; ++round) {
    for (const uint64_t page : {0, 1, 5}) Change(page, round);
    EXPECT_FALSE(cache().Flush(file_).ok());
  }
  EXPECT_FALSE(LsnIn(PageOnDisk(path_, 3), 3).ok());
  ASSERT_TRUE(cache().CloseFile(file_, {.discard_changes = true}).ok());
  stack_.reset();
  Start(16, Protected(6));
  EXPECT_EQ(cache().Stats().pages_recovered, 1u);
  ExpectVersion(3, 1);
  for (const uint64_t page : {0, 1, 5}) ExpectVersion(page, 9);
}

// ---- The next open ----

TEST_F(DoubleWriteTest, TornPageIsWrittenAnewFromItsCopy) {
  MakeFile(8);
  Start(16, Protected());
  for (uint64_t page = 0; page < 4; ++page) Change(page, 7);
  ASSERT_TRUE(cache().Flush(file_).ok());
  stack_.reset();  // as after a crash: the file was not closed
  Tear(2);
  Start(16, Protected());
  EXPECT_EQ(cache().Stats().pages_recovered, 1u);
  EXPECT_TRUE(environment_.Heard("1 pages of "));
  ExpectVersion(2, 7);
  EXPECT_EQ(History(), (Strings{"pages 1", "sync pages", "front", "sync copies"}));
  stack_.reset();
  Start(16, Protected());
  EXPECT_EQ(cache().Stats().pages_recovered, 0u);
  EXPECT_EQ(History(), Strings{}) << "the area is empty";
}

TEST_F(DoubleWriteTest, WholePageIsNeverReplaced) {
  MakeFile(4);
  const std::string old = ReadWholeFile(path_);
  Start(16, Protected());
  for (uint64_t page = 0; page < 4; ++page) Change(page, 7);
  ASSERT_TRUE(cache().Flush(file_).ok());
  stack_.reset();
  PutOnDisk(path_, 0, old);
  Start(16, Protected());
  EXPECT_EQ(cache().Stats().pages_recovered, 0u);
  for (uint64_t page = 0; page < 4; ++page) ExpectVersion(page, 0);
}

TEST_F(DoubleWriteTest, NewestCopyCounts) {
  MakeFile(4);
  Start(16, Protected());
  // A write of the file that does not end keeps all copies needed.
  for (uint64_t version = 1; version < 5; ++version) {
    Change(1, version);
    engine().Fail({.operation = IoOperation::kWrite, .path = path_}, io::ErrnoStatus(EIO, "test"));
    EXPECT_FALSE(cache().Flush(file_).ok());
  }
  ASSERT_TRUE(cache().CloseFile(file_, {.discard_changes = true}).ok());
  stack_.reset();
  Tear(1);
  Start(16, Protected());
  ExpectVersion(1, 4);
}

TEST_F(DoubleWriteTest, CopiesOfThePastAreNotUsed) {
  MakeFile(4);
  Start(16, Protected());
  Change(1, 1);
  ASSERT_TRUE(cache().Flush(file_).ok());
  for (uint64_t version = 2; version < 4; ++version) {
    Change(0, version);
    ASSERT_TRUE(cache().Flush(file_).ok());
  }
  stack_.reset();
  // Not torn by a crash, since that write was synced long ago: the copy that still lies in the area
  // might be older than what was there.
  Tear(1);
  Start(16, Protected());
  EXPECT_EQ(cache().Stats().pages_recovered, 0u);
  EXPECT_TRUE(absl::IsDataLoss(cache().Read({file_, 1}).status()));
  ExpectVersion(0, 3);
}

TEST_F(DoubleWriteTest, ClosedFileLeavesNoCopiesThatCount) {
  MakeFile(4);
  Tear(1);
  Start(16, Protected());
  EXPECT_EQ(cache().Stats().pages_recovered, 0u);
  EXPECT_TRUE(absl::IsDataLoss(cache().Read({file_, 1}).status()));
}

TEST_F(DoubleWriteTest, DamagedCopyIsNotUsed) {
  MakeFile(4);
  Start(16, Protected());
  Change(1, 1);
  ASSERT_TRUE(cache().Flush(file_).ok());
  stack_.reset();
  Tear(1);
  FlipBitOnDisk(area_path_, 3, 100);  // after two fronts and a header
  Start(16, Protected());
  EXPECT_EQ(cache().Stats().pages_recovered, 0u);
  EXPECT_TRUE(absl::IsDataLoss(cache().Read({file_, 1}).status()));
}

// What lay at the place of a copy is an older one of the same page.
TEST_F(DoubleWriteTest, HeaderOnDiskBeforeItsCopiesDoesNotVouchForThem) {
  std::vector<std::string> versions;
  MakeFile(4);
  for (uint64_t version = 1; version < 4; ++version) {
    Start(16, Protected());
    Change(1, version);
    ASSERT_TRUE(cache().CloseFile(file_).ok());
    versions.push_back(PageOnDisk(path_, 1));
    stack_.reset();
  }
  const auto put_batch = [&](uint64_t at, uint64_t sequence, std::vector<uint64_t> needed,
                             const std::string& meant, const std::string& there) {
    std::string header(kPageBytes, '\0');
    const uint64_t checksum = storage::DoubleWriteChecksum(std::as_bytes(std::span(meant)));
    storage::EncodeHeader({.page_bytes = kPageBytes,
                           .identity = kIdentity,
                           .sequence = sequence,
                           .copies = {{.page_number = 1, .checksum = checksum}},
                           .needed = std::move(needed)},
                          std::as_writable_bytes(std::span(header)));
    PutOnDisk(area_path_, at * kPageBytes, header + there);
  };
  put_batch(2, 1000, {}, versions[1], versions[1]);
  put_batch(4, 1001, {1000}, versions[2], versions[0]);
  Tear(1);
  Start(16, Protected());
  ExpectVersion(1, 2);
}

TEST_F(DoubleWriteTest, FailureOfRecoveryRefusesTheFileAndTheNextTryDoesIt) {
  MakeFile(8);
  Start(16, Protected());
  Change(2, 7);
  ASSERT_TRUE(cache().Flush(file_).ok());
  stack_.reset();
  Tear(2);
  using Match = FakeEngine::Match;
  for (const Match& match : {Match{.operation = IoOperation::kRead, .path = path_},
                             Match{.operation = IoOperation::kWrite, .path = path_},
                             Match{.operation = IoOperation::kSync, .path = path_},
                             Match{.operation = IoOperation::kWrite, .path = area_path_},
                             Match{.operation = IoOperation::kSync, .path = area_path_},
                             Match{.operation = IoOperation::kRead, .path = area_path_}}) {
    stack_.emplace(&environment_, FakeEngine::Options{.record = true},
                   PageCache::PartsOptions{.frame_count = 16, .free_frames = 0});
    engine().Fail(match, io::ErrnoStatus(EIO, "the test"));
    const auto status = cache().OpenFile(path_, Protected()).status();
    EXPECT_EQ(io::ErrnoOf(status), EIO) << status;
    stack_.reset();
  }
  Start(16, Protected());
  ExpectVersion(2, 7);
}

// It may be whole, and its copy of before it was synced last.
TEST_F(DoubleWriteTest, PageThatCannotBeReadIsNotReplacedByItsCopy) {
  MakeFile(8);
  Start(16, Protected());
  Change(2, 7);
  ASSERT_TRUE(cache().Flush(file_).ok());
  stack_.reset();
  const std::string before = ReadWholeFile(path_);
  stack_.emplace(&environment_, FakeEngine::Options{.record = true},
                 PageCache::PartsOptions{.frame_count = 16, .free_frames = 0});
  engine().Fail({.operation = IoOperation::kRead, .offset_bytes = 2 * kPageBytes, .path = path_},
                io::ErrnoStatus(EIO, "the test"));
  EXPECT_EQ(io::ErrnoOf(cache().OpenFile(path_, Protected()).status()), EIO);
  EXPECT_EQ(engine().Count(IoOperation::kWrite), 0u);
  EXPECT_TRUE(ReadWholeFile(path_) == before);
}

// Recovery would take writes in flight for torn pages.
TEST_F(DoubleWriteTest, FileThatIsOpenIsNotRecovered) {
  MakeFile(8);
  Start(16, Protected());
  Change(2, 7);
  ASSERT_TRUE(cache().Flush(file_).ok());
  Tear(3);
  const size_t before = engine().Performed().size();
  FileOptions again = Protected();
  again.locking = io::File::Locking::kCaller;
  EXPECT_EQ(cache().OpenFile(path_, again).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(History(before), Strings{});
  ExpectVersion(2, 7);
}

TEST_F(DoubleWriteTest, FileClosedWithNoTimeLeftCanBeOpenedAgain) {
  MakeFile(8);
  Start(16, Protected());
  Change(2, 7);
  ASSERT_TRUE(cache().Flush(file_).ok());
  ASSERT_TRUE(cache().CloseFile(file_, {.timeout = absl::ZeroDuration()}).ok());
  const auto again = cache().OpenFile(path_, Protected());
  ASSERT_TRUE(again.ok()) << again.status();
  file_ = *again;
  ExpectVersion(2, 7);
}

TEST_F(DoubleWriteTest, AreaIsFreeWhenTheCacheHasGone) {
  MakeFile(8);
  Start(16, Protected());
  Change(2, 7);
  ASSERT_TRUE(cache().Flush(file_).ok());
  stack_->cache.reset();  // the engine stays
  stack_->cache = *PageCache::Create(stack_->arena.get(), stack_->engine.get(),
                                     {.frame_count = 16, .free_frames = 0});
  const auto again = cache().OpenFile(path_, Protected());
  ASSERT_TRUE(again.ok()) << again.status();
  file_ = *again;
  ExpectVersion(2, 7);
}

TEST_F(DoubleWriteTest, OpenedForReadingTornPagesAreRefusedAndWholeOnesServed) {
  MakeFile(8);
  Start(16, Protected());
  Change(2, 7);
  ASSERT_TRUE(cache().Flush(file_).ok());
  stack_.reset();
  FileOptions reading = Protected();
  reading.create = false;
  reading.read_only = true;
  Start(16, reading);
  ExpectVersion(2, 7);
  EXPECT_EQ(*cache().ProtectionOf(file_), TornPageProtection::kNone);
  stack_.reset();
  Tear(2);
  stack_.emplace(&environment_, FakeEngine::Options{.record = true},
                 PageCache::PartsOptions{.frame_count = 16, .free_frames = 0});
  const auto status = cache().OpenFile(path_, reading).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("open the file for writing once"));
  EXPECT_EQ(History(), Strings{});
}

TEST_F(DoubleWriteTest, WithoutItsAreaAFileIsOpenedOnlyIfThatIsEmpty) {
  MakeFile(4);
  Start(16, Protected());
  Change(2, 7);
  ASSERT_TRUE(cache().Flush(file_).ok());
  stack_.reset();
  stack_.emplace(&environment_, FakeEngine::Options{},
                 PageCache::PartsOptions{.frame_count = 16, .free_frames = 0});
  const auto status = cache().OpenFile(path_, Sealed()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("kDoubleWrite and close it"));
  file_ = *cache().OpenFile(path_, Protected());
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  EXPECT_TRUE(cache().OpenFile(path_, Sealed()).ok());
}

TEST_F(DoubleWriteTest, AreaOfAnotherFileOrOfOtherPagesIsRefused) {
  MakeFile(4);
  stack_.emplace(&environment_, FakeEngine::Options{},
                 PageCache::PartsOptions{.frame_count = 16, .free_frames = 0});
  FileOptions other = Sealed(kIdentity + 1);
  other.torn_pages = TornPageProtection::kDoubleWrite;
  absl::Status status = cache().OpenFile(path_, other).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("another file's"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("remove it"));
  stack_.reset();
  for (uint64_t page = 0; page < 2; ++page) FlipBitOnDisk(area_path_, page, 30);
  stack_.emplace(&environment_, FakeEngine::Options{},
                 PageCache::PartsOptions{.frame_count = 16, .free_frames = 0});
  status = cache().OpenFile(path_, Protected()).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("checksum"));
  FlipBitOnDisk(area_path_, 1, 30);
  EXPECT_TRUE(cache().OpenFile(path_, Protected()).ok()) << "one good front is enough";
}

}  // namespace
}  // namespace fixpool::tests
