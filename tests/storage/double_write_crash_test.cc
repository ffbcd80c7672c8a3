#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"
#include "fixpool/storage/file_options.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/storage/sealed_files.h"
#include "tests/support/fake_engine.h"
#include "tests/support/seed.h"

// A crash after each disk operation of a run, with each sector that was not synced old or new:
// all pages are whole afterwards, and none is older than what was synced. The same of crashes in
// the recovery from that.

namespace fixpool::tests {
namespace {

using io::IoOperation;
using storage::FileOptions;
using storage::PageCache;
using Done = FakeEngine::Done;

constexpr size_t kSectorBytes = 512;
constexpr uint64_t kPages = 12;
constexpr uint32_t kFrames = 6;

// The files of a disk by path, and what a crash makes of them.
class Disk {
 public:
  // What the operations do to it. `more`: of those before it, and synced.
  void Apply(const Done& done) {
    File& file = files_[done.path];
    if (done.operation == IoOperation::kSync) {
      if (!done.ok) return;
      for (const Done& write : file.unsynced) Write(file.durable, write, [] { return true; });
      file.unsynced.clear();
      return;
    }
    file.unsynced.push_back(done);
  }
  // Each sector of what was not synced is written, or not.
  Disk Crash(std::mt19937_64& random) const {
    Disk crashed = *this;
    for (auto& [path, file] : crashed.files_) {
      for (const Done& write : file.unsynced) {
        // Some writes as a whole, since with all sectors at random none would be.
        const uint64_t kind = random() % 4;
        Write(file.durable, write, [&] { return kind == 0 || (kind != 1 && random() % 2 == 0); });
      }
      file.unsynced.clear();
    }
    return crashed;
  }
  // On a real one, where nothing else stays.
  void Put(const ScratchDirectory& scratch) const {
    for (const char* name : {"data.db", "data.db.double_write"}) {
      unlink(scratch.File(name).c_str());
    }
    for (const auto& [path, file] : files_) {
      scratch.MakeFile(path.substr(path.rfind('/') + 1), file.durable);
    }
  }

 private:
  struct File {
    std::string durable;
    std::vector<Done> unsynced;
  };
  template <typename Survives>
  static void Write(std::string& bytes, const Done& write, Survives survives) {
    for (size_t at = 0; at < write.bytes.size(); at += kSectorBytes) {
      if (!survives()) continue;
      const size_t to = write.offset_bytes + at;
      if (bytes.size() < to + kSectorBytes) bytes.resize(to + kSectorBytes);
      bytes.replace(to, kSectorBytes, write.bytes, at, kSectorBytes);
    }
  }

  std::map<std::string, File> files_;
};

// What may be on disk, of each page, after a part of the operations.
struct Bounds {
  std::vector<uint64_t> written = std::vector<uint64_t>(kPages);  // newest version, not torn
  std::vector<uint64_t> synced = std::vector<uint64_t>(kPages);   // and of these at least
};

class DoubleWriteCrashTest : public ::testing::Test {
 protected:
  FileOptions Options() {
    FileOptions options = Sealed();
    options.torn_pages = storage::TornPageProtection::kDoubleWrite;
    options.double_write_bytes = 10 * kPageBytes;
    return options;
  }
  void Start(bool record) {
    stack_.emplace(
        &environment_,
        FakeEngine::Options{.depth = 8, .joined_depth = 4, .skip_syncs = true, .record = record},
        PageCache::PartsOptions{.frame_count = kFrames, .free_frames = 0});
  }
  PageCache& cache() { return *stack_->cache; }

  void Change(uint64_t page_number) {
    auto page = cache().Write({file_, page_number});
    if (!page.ok()) return;  // there may be no frame while all dirty pages cannot be written
    Put(*page, Payload(page_number, ++versions_[page_number]));
  }
  // The disk operations of a random run.
  std::vector<Done> Run(std::mt19937_64& random, bool with_errors) {
    versions_.assign(kPages, 0);
    Start(/*record=*/true);
    file_ = *cache().OpenFile(path_, Options());
    for (int step = 0; step < 60; ++step) {
      if (with_errors && random() % 12 == 0) {
        stack_->engine->FailTorn({.operation = IoOperation::kWrite, .path = path_},
                                 io::ErrnoStatus(EIO, "the test"));
      }
      if (random() % 8 == 0) {
        (void)cache().Flush(file_);
      } else {
        Change(random() % kPages);
      }
    }
    stack_->engine->FailNothing();
    if (random() % 2 == 0) {
      EXPECT_TRUE(cache().CloseFile(file_).ok());
    }
    std::vector<Done> done = stack_->engine->Performed();
    stack_.reset();
    return done;
  }
  // Of a page's bytes: 0 if it was never written.
  std::optional<uint64_t> VersionOf(uint64_t page_number, const std::string& payload) {
    if (payload == std::string(kPayloadBytes, '\0')) return 0;
    for (uint64_t version = 1; version <= versions_[page_number]; ++version) {
      if (payload == Payload(page_number, version)) return version;
    }
    return std::nullopt;
  }
  void Note(const Done& done, Bounds& bounds) {
    if (done.path != path_ || !done.ok) return;
    if (done.operation == IoOperation::kSync) {
      bounds.synced = bounds.written;
      return;
    }
    for (size_t at = 0; at < done.bytes.size(); at += kPageBytes) {
      const uint64_t page = (done.offset_bytes + at) / kPageBytes;
      bounds.written[page] = *VersionOf(page, done.bytes.substr(at, kPayloadBytes));
    }
  }
  // Opens the file as it is on disk, and looks at all pages. What that did to the disk.
  std::vector<Done> Reopen(const Bounds& bounds, const std::string& when) {
    Start(/*record=*/true);
    const auto file = cache().OpenFile(path_, Options());
    EXPECT_TRUE(file.ok()) << when << ": " << file.status();
    if (!file.ok()) return {};
    std::vector<Done> done = stack_->engine->Performed();
    recovered_ += cache().Stats().pages_recovered;
    for (uint64_t page = 0; page < kPages; ++page) {
      const auto read = cache().Read({*file, page});
      if (absl::IsOutOfRange(read.status()) && bounds.synced[page] == 0) continue;
      EXPECT_TRUE(read.ok()) << when << ", page " << page << ": " << read.status();
      if (!read.ok()) continue;
      const std::optional<uint64_t> version = VersionOf(page, Text(read->bytes()));
      EXPECT_TRUE(version.has_value()) << when << ", page " << page << ": never written like that";
      EXPECT_GE(version.value_or(~0ull), bounds.synced[page]) << when << ", page " << page;
    }
    stack_.reset();
    return done;
  }
  void CrashEverywhere(uint64_t seed, bool with_errors) {
    std::mt19937_64 random(seed);
    const std::vector<Done> run = Run(random, with_errors);
    Disk disk;
    Bounds bounds;
    for (size_t count = 0; count <= run.size() && !HasFailure(); ++count) {
      const std::string when = absl::StrCat("seed ", seed, ", after ", count, " operations");
      Disk crashed = disk.Crash(random);
      crashed.Put(scratch_);
      const std::vector<Done> recovery = Reopen(bounds, when);
      if (!recovery.empty()) {
        const size_t part = random() % (recovery.size() + 1);
        for (size_t i = 0; i < part; ++i) crashed.Apply(recovery[i]);
        crashed.Crash(random).Put(scratch_);
        Reopen(bounds, absl::StrCat(when, " and ", part, " of the recovery"));
        ++crashes_in_recovery_;
      }
      if (count == run.size()) break;
      disk.Apply(run[count]);
      Note(run[count], bounds);
    }
  }

  ManualEnvironment environment_;
  ScratchDirectory scratch_;
  const std::string path_ = scratch_.File("data.db");
  std::optional<FakeStack> stack_;
  storage::FileId file_;
  std::vector<uint64_t> versions_;
  uint64_t recovered_ = 0;
  uint64_t crashes_in_recovery_ = 0;
};

TEST_F(DoubleWriteCrashTest, AllPagesAreWholeAndNoneIsOlderThanWhatWasSynced) {
  const uint64_t first = Seed();
  for (uint64_t seed = first; seed < first + 6 && !HasFailure(); ++seed) {
    Disk().Put(scratch_);
    CrashEverywhere(seed, /*with_errors=*/false);
  }
  EXPECT_GT(recovered_, 0u);
  EXPECT_GT(crashes_in_recovery_, 0u);
}

TEST_F(DoubleWriteCrashTest, AlsoWhereWritesFailHalfway) {
  const uint64_t first = Seed();
  for (uint64_t seed = first; seed < first + 6 && !HasFailure(); ++seed) {
    Disk().Put(scratch_);
    CrashEverywhere(seed, /*with_errors=*/true);
  }
  EXPECT_GT(recovered_, 0u);
}

}  // namespace
}  // namespace fixpool::tests
