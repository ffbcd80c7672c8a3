#ifndef FIXPOOL_TESTS_SIMULATION_PAGE_MODEL_H_
#define FIXPOOL_TESTS_SIMULATION_PAGE_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fixpool/storage/lsn.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/page_seal.h"
#include "tests/simulation/page_pattern.h"
#include "tests/simulation/sim_disk.h"
#include "tests/simulation/verdict.h"

namespace fixpool::simulation {

// What the pages of the disk's files must hold, and may hold after a crash: all versions of each
// page that were given to the disk since the last that is known to be durable, and the newest.
//
//   model.SetSector(file, page, 3);          // beside the change of the bytes
//   model.OnWrite(file, page, bytes);        // the cache gives them to the disk
//   model.OnFlushed(file);                   // and says that all of it is durable
//   model.OnCrash(file);                     // what the disk holds now must be among them
//
// A version is what some guard left behind, or is at work on. Sectors are judged by themselves,
// since no disk promises more. Thread-compatible.
class PageModel {
 public:
  struct File {
    storage::FileId id;  // while it is open
    bool open = false;
    bool read_only = false;
    bool poisoned = false;    // a sync of it has failed since it was opened
    bool doubtful = false;    // or one of its double-write area, which may be of no matter
    uint64_t page_count = 0;  // while it is open: as the cache is to count
  };

  PageModel(uint64_t seed, uint64_t most_pages, SimDisk* disk, Verdict* verdict);

  File& file(size_t number) { return files_[number]; }
  size_t file_count() const { return files_.size(); }
  uint64_t most_pages() const { return most_pages_; }
  // The number of the open file with that id, or none.
  std::optional<size_t> Find(storage::FileId id) const;

  const PageTags& Newest(size_t file, uint64_t page) const {
    return pages(file, page).versions.back().tags;
  }
  // From now on its pages have seals, of these; before Begin.
  void Seal(size_t file);
  const std::shared_ptr<storage::PageSeal>& seal() const { return seal_; }
  bool sealed(size_t file) const { return disk_->file(file).sealed(); }
  static uint64_t IdentityOf(size_t file) { return 0x5ea1'0000 + file; }
  // The disk has damaged the page, or has flipped a bit of it on the way.
  void SetDamaged(size_t file, uint64_t page) { pages(file, page).damaged = true; }
  void SetFlipped(size_t file, uint64_t page) { pages(file, page).suspect = true; }
  // Whether the page may have been found not to be what was sealed.
  bool MayBeLost(size_t file, uint64_t page) const {
    const Page& one = pages(file, page);
    return one.damaged || one.suspect || one.bad;
  }

  // A new version: all zeros; or a new pattern in one sector, which is returned.
  void SetZeros(size_t file, uint64_t page);
  Tag SetSector(size_t file, uint64_t page, size_t sector);
  void SetLsn(size_t file, uint64_t page, storage::Lsn lsn) { NewVersion(file, page).lsn = lsn; }
  storage::Lsn LsnOf(size_t file, uint64_t page) const {
    return pages(file, page).versions.back().lsn;
  }
  // Whether it has changed since it was on the disk for ever.
  bool HasChanged(size_t file, uint64_t page) const {
    return pages(file, page).versions.size() > 1;
  }
  PatternKey KeyOf(size_t file, uint64_t page) const {
    return {.seed = seed_,
            .file = static_cast<uint32_t>(file),
            .page = page,
            .trailer_bytes = sealed(file) ? seal_->trailer_bytes() : 0};
  }

  // Checks that `bytes` are the newest version, under that invariant.
  void CheckBytes(Invariant invariant, size_t file, uint64_t page, const std::byte* bytes);
  // The page was read, as the disk has it now.
  void OnRead(size_t file, uint64_t page);
  // Checks that `bytes`, which somebody is shown, are the newest version; or of a page that the
  // disk has damaged, what was read of it. That is the newest version from then on.
  void CheckShown(size_t file, uint64_t page, const std::byte* bytes);
  // They go to the disk, and may be found there from now on.
  void OnWrite(size_t file, uint64_t page, const std::byte* bytes);
  // Checks that the disk has the newest version, for now; that it has all of them for ever, which
  // become the only ones; that a crash left what may be left, which becomes the only one.
  void CheckOnDisk(size_t file, uint64_t page);
  void OnFlushed(size_t file);
  void OnCrash(size_t file);
  // Changes in memory were given up: the newest version is what the disk has for now.
  void OnDiscarded(size_t file);
  // Protected: pages are whole when the file has been opened again, and not before.
  void Protect(size_t file) { whole_[file].wanted = true; }
  bool IsProtected(size_t file) const { return whole_[file].wanted; }
  void OnOpened(size_t file);
  // The disk's content, patterns in its first `pages` pages.
  void Begin(size_t file, uint64_t size_bytes);

 private:
  struct Version {
    PageTags tags{};
    bool issued = false;
    bool found = false;  // on the disk, by who opened the file after its changes were discarded
    storage::Lsn lsn = storage::Lsn::kNone;
  };
  // The first may be on disk for ever; those behind it, but for the last, were issued.
  struct Page {
    std::vector<Version> versions{1};
    bool damaged = false;  // the disk may have anything, until the next crash is over
    std::optional<Version> loaded = std::nullopt;  // of a damaged one, what was read last
    bool suspect = false;  // somebody may still be about to hear that it is not what was sealed
    bool bad = false;      // the disk has what is no page, and so there is none to be shown
  };

  Page& pages(size_t file, uint64_t page) { return pages_[file * most_pages_ + page]; }
  const Page& pages(size_t file, uint64_t page) const { return pages_[file * most_pages_ + page]; }
  Version& NewVersion(size_t file, uint64_t page);
  // The sectors of the page at `bytes`, each of which must be one of an issued version.
  std::optional<PageTags> CheckSectors(size_t file, uint64_t page, const std::byte* bytes,
                                       const char* when);
  // What is to become of a protected file's pages when it is opened.
  struct Whole {
    bool wanted = false;
    enum class After : uint8_t { kNothing, kDiscard, kCrash } after = After::kNothing;
  };
  // The newest of the versions that may be on the disk that is what `bytes` are. None: there is
  // none.
  std::optional<Version> FindWhole(size_t file, uint64_t page, const std::byte* bytes) const;
  // Whether a failed sync may have forgotten some of the page, or of a copy.
  bool Forgotten(size_t file, uint64_t page) const {
    return disk_->file(file).forgot(page) || disk_->area(file).forgot_any();
  }
  // The seal that the page at `bytes` carries. None: it is none.
  std::optional<storage::Lsn> ReadSeal(size_t file, uint64_t page, const std::byte* bytes) const;
  // What was written as that page and is at `bytes`; and makes it the newest version. None: it is
  // no page.
  std::optional<Version> FindSealed(size_t file, uint64_t page, const std::byte* bytes) const;
  void TakeAsFound(size_t file, uint64_t page, const std::optional<Version>& found);
  bool MayHold(const Page& page, size_t sector, Tag tag) const;
  std::string NameOf(size_t file, uint64_t page) const;

  const uint64_t seed_;
  const uint64_t most_pages_;
  const std::shared_ptr<storage::PageSeal> seal_;
  SimDisk* const disk_;
  Verdict* const verdict_;
  std::vector<File> files_;
  std::vector<Whole> whole_;
  std::vector<Page> pages_;
  Tag last_tag_ = 0;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_PAGE_MODEL_H_
