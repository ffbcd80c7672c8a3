// Sealed files on the real kernel, and with several threads.

#include <atomic>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/types/span.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/level_fixture.h"
#include "tests/storage/sealed_files.h"
#include "tests/support/seed.h"

namespace fixpool::tests {
namespace {

using storage::FileId;
using storage::Lsn;
using storage::OptimisticGuard;
using storage::PageId;
using storage::ReadGuard;
using storage::WriteGuard;

class PageCacheSealLevelsTest : public LevelTest {
 protected:
  void Open() {
    absl::StatusOr<FileId> file = cache().OpenFile(path(), Sealed());
    ASSERT_TRUE(file.ok()) << file.status();
    file_ = *file;
  }
  void Reopen() {
    ASSERT_TRUE(cache().CloseFile(file_).ok());
    Open();
  }
  std::string path() const { return scratch_.File("sealed.db"); }
  void PutPage(uint64_t page, uint64_t version, uint64_t lsn) {
    absl::StatusOr<WriteGuard> guard = cache().Write(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    Put(*guard, Payload(page, version));
    guard->set_lsn(Lsn{lsn});
  }
  void ExpectPage(uint64_t page, uint64_t version, uint64_t lsn) {
    absl::StatusOr<ReadGuard> guard = cache().Read(Page(page));
    ASSERT_TRUE(guard.ok()) << guard.status();
    EXPECT_TRUE(Text(guard->bytes()) == Payload(page, version)) << "page " << page;
    EXPECT_EQ(guard->lsn(), Lsn{lsn}) << "page " << page;
  }
};
INSTANTIATE_TEST_SUITE_P(Levels, PageCacheSealLevelsTest, AllLevels(), LevelName);

TEST_P(PageCacheSealLevelsTest, PagesAndLsnsComeBack) {
  FIXPOOL_START_OR_SKIP(32);
  Open();
  constexpr uint64_t kPages = 200;
  for (uint64_t page = 0; page < kPages; ++page) PutPage(page, 0, page + 1);
  for (uint64_t page = 0; page < kPages; page += 3) PutPage(page, 1, page + 1000);
  ASSERT_TRUE(cache().Flush(file_).ok());
  Reopen();
  for (uint64_t page = 0; page < kPages; ++page) {
    ExpectPage(page, page % 3 == 0, page % 3 == 0 ? page + 1000 : page + 1);
  }
  EXPECT_EQ(cache().Stats().seal_errors, 0u);
}

TEST_P(PageCacheSealLevelsTest, BadPagesFailAlone) {
  FIXPOOL_START_OR_SKIP(256);
  Open();
  constexpr uint64_t kPages = 128;
  for (uint64_t page = 0; page < kPages; ++page) PutPage(page, 0, page + 1);
  ASSERT_TRUE(cache().CloseFile(file_).ok());
  for (const uint64_t page : {0, 17, 63, 64, 127}) FlipBitOnDisk(path(), page, page * 31);
  Open();
  std::vector<PageId> pages(kPages);
  for (uint64_t page = 0; page < kPages; ++page) pages[page] = Page(page);
  std::vector<absl::StatusOr<ReadGuard>> guards(kPages);
  EXPECT_EQ(cache().ReadMany(pages, absl::MakeSpan(guards)), kPages - 5);
  EXPECT_TRUE(absl::IsDataLoss(guards[64].status())) << guards[64].status();
  EXPECT_TRUE(environment_.Heard(io::Severity::kError, "page 17 of " + path()));
  EXPECT_GE(cache().Stats().seal_errors, 5u);
}

TEST_P(PageCacheSealLevelsTest, ResizeMovesPagesWithTheirLsns) {
  region_bytes_ = size_t{2} << 20;
  FIXPOOL_START_OR_SKIP(2048);
  Open();
  constexpr uint64_t kPages = 400;
  // In the last frames, too.
  for (uint64_t page = 0; page < 2048; ++page) PutPage(page, 0, page + 1);
  for (int hit = 0; hit < 4; ++hit) {
    for (uint64_t page = 0; page < kPages; ++page) ExpectPage(page * 5, 0, page * 5 + 1);
  }
  ASSERT_TRUE(cache().Resize(512 * kPageBytes).ok());
  EXPECT_GT(cache().Stats().moves, 0u);
  for (uint64_t page = 0; page < 2048; ++page) {
    if (const auto guard = cache().TryRead(Page(page))) {
      EXPECT_EQ(guard->lsn(), Lsn{page + 1});
    }
  }
  ASSERT_TRUE(cache().Resize(4096 * kPageBytes).ok());
  ASSERT_TRUE(cache().Flush(file_).ok());
  Reopen();
  for (uint64_t page = 0; page < 2048; ++page) ExpectPage(page, 0, page + 1);
  EXPECT_EQ(cache().Stats().seal_errors, 0u);
}

// The words of a page are all the same, and those who look at it, while it is changed, sealed and
// written by others, see nothing else.
TEST_P(PageCacheSealLevelsTest, ReadersOfPagesThatAreBeingSealed) {
  FIXPOOL_START_OR_SKIP(16);
  Open();
  constexpr uint64_t kPages = 4;
  const auto fill = [](WriteGuard& guard, uint64_t value) {
    const std::span<std::byte> bytes = guard.mutable_bytes();
    for (size_t at = 0; at < bytes.size(); at += 8) std::memcpy(&bytes[at], &value, 8);
    guard.set_lsn(Lsn{value});
  };
  for (uint64_t page = 0; page < kPages; ++page) {
    WriteGuard guard = *cache().Write(Page(page));
    fill(guard, 1);
  }
  std::atomic<bool> done{false};
  std::atomic<uint64_t> looks{0}, bad{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&, i] {
      for (uint64_t n = 0; !done; ++n) {
        const PageId page = Page(n % kPages);
        uint64_t words[kPayloadBytes / 8];
        if (i == 0) {
          const absl::StatusOr<OptimisticGuard> guard = cache().ReadOptimistic(page);
          if (!guard.ok()) {
            ++bad;
            continue;
          }
          guard->view().CopyTo(0, std::as_writable_bytes(std::span(words)));
          if (!guard->StillValid()) continue;
        } else {
          const absl::StatusOr<ReadGuard> guard = cache().Read(page);
          if (!guard.ok() || guard->bytes().size() != sizeof words) {
            ++bad;
            continue;
          }
          std::memcpy(words, guard->bytes().data(), sizeof words);
          if (guard->lsn() != Lsn{words[0]}) ++bad;
        }
        for (const uint64_t word : words) bad += word != words[0];
        ++looks;
      }
    });
  }
  std::thread flusher([&] {
    while (!done) EXPECT_TRUE(cache().Flush(file_).ok());
  });
  for (uint64_t value = 2; value < 400 || looks < 100; ++value) {
    absl::StatusOr<WriteGuard> guard = cache().Write(Page(value % kPages));
    ASSERT_TRUE(guard.ok()) << guard.status();
    fill(*guard, value);
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  flusher.join();
  EXPECT_EQ(bad, 0u);
  ASSERT_TRUE(cache().Flush(file_).ok());
  for (uint64_t page = 0; page < kPages; ++page) {
    const std::string on_disk = PageOnDisk(path(), page);
    uint64_t value;
    std::memcpy(&value, on_disk.data(), 8);
    EXPECT_EQ(*LsnIn(on_disk, page), Lsn{value});
  }
}

// Misses, evictions and seals, while other files come and go: the table of files moves in memory.
TEST_P(PageCacheSealLevelsTest, FilesComeAndGoBesideReadsThatAreVerified) {
  FIXPOOL_START_OR_SKIP(16);
  Open();
  constexpr uint64_t kPages = 64;
  for (uint64_t page = 0; page < kPages; ++page) PutPage(page, 0, page + 1);
  ASSERT_TRUE(cache().Flush(file_).ok());
  const uint64_t seed = Seed();
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 2; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937_64 random(seed + thread);
      for (int i = 0; i < 500; ++i) {
        const uint64_t page = random() % kPages;
        if (random() % 4 == 0) {
          PutPage(page, 0, page + 1);
        } else {
          ExpectPage(page, 0, page + 1);
        }
      }
    });
  }
  for (uint64_t round = 0; round < 40; ++round) {
    std::vector<FileId> files;
    for (uint64_t i = 0; i < 1 + round % 5; ++i) {
      absl::StatusOr<FileId> file =
          cache().OpenFile(scratch_.File("other" + std::to_string(i)), Sealed(100 + i));
      ASSERT_TRUE(file.ok()) << file.status();
      files.push_back(*file);
      WriteGuard guard = *cache().Make({*file, round});
      Put(guard, Payload(round));
    }
    for (const FileId file : files) {
      const absl::Status status = cache().CloseFile(file);
      EXPECT_TRUE(status.ok()) << status;
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(cache().Stats().seal_errors, 0u);
}

}  // namespace
}  // namespace fixpool::tests
