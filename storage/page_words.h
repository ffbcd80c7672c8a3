#ifndef FIXPOOL_STORAGE_PAGE_WORDS_H_
#define FIXPOOL_STORAGE_PAGE_WORDS_H_

#include "fixpool/io/require_cpp20.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/page_word.h"
#include "fixpool/storage/zeroed_memory.h"

namespace fixpool::storage {

// The words of one file's pages: an array that is there where it was touched.
//
// Shape: chunks of kChunkPages words, reserved one by one as pages of them come into memory,
// and found through a directory that reaches kNearPages (16 TiB of 4 KiB pages). Of a chunk the
// kernel backs those 4 KiB (a stretch of kStretchPages words) that were ever written to; when a
// stretch has no page in memory any more it is given back, kColdStretches at a time. Pages
// beyond kNearPages have more directories, which take the cache's lock to be found.
//
// Why chunks and not one range for the whole file: a file may grow to any size, and the address
// space or RLIMIT_AS may not have room for what it could become. The directory costs one more
// load, of a line that is in the cache of the processor.
//
// Lifetime: the memory of a directory or a chunk is mapped as long as the cache lives, because
// a thread may be on its way to a word. When a file is closed its words are zeroed, and go to
// the next file that is opened.
// Threads: Find() any; all else under the cache's lock.
class FileWords {
 public:
  static constexpr uint64_t kChunkPages = 1u << 15;
  static constexpr uint64_t kNearPages = uint64_t{1} << 32;
  static constexpr uint64_t kStretchPages = 512;
  static constexpr size_t kColdStretches = 64;

  // ResourceExhausted: no address space for the directory.
  static absl::StatusOr<std::unique_ptr<FileWords>> Create(VersionEpoch* epoch);
  FileWords(const FileWords&) = delete;
  FileWords& operator=(const FileWords&) = delete;

  // The generation of the file that these are the words of; 0: nobody is let in without the
  // cache's lock. To be asked *after* the word was read or latched: what was done to a word
  // is worth nothing if it has become another file's.
  uint32_t generation() const { return generation_.load(std::memory_order_acquire); }
  void set_generation(uint32_t generation) {
    generation_.store(generation, std::memory_order_seq_cst);
  }
  // Whether writers are let in without the cache's lock.
  bool writable() const { return writable_.load(std::memory_order_relaxed); }
  void set_writable(bool writable) { writable_.store(writable, std::memory_order_relaxed); }

  // Null: no page near there is in memory; or the page is far (see above).
  AtomicPageWord* Find(PageNumber page) const {
    if (ABSL_PREDICT_FALSE(page >= kNearPages)) return nullptr;
    AtomicPageWord* const chunk =
        ChunksOf(directory_)[page / kChunkPages].load(std::memory_order_acquire);
    if (ABSL_PREDICT_FALSE(chunk == nullptr)) return nullptr;
    return &chunk[page % kChunkPages];
  }
  // The same with far pages.
  AtomicPageWord* FindAny(PageNumber page) const;
  // Makes it if need be. ResourceExhausted: no memory for it.
  absl::StatusOr<AtomicPageWord*> FindOrMake(PageNumber page);

  // The page came into memory; it left, and its word says so.
  void CountIn(PageNumber page);
  void CountOut(PageNumber page);

  // Makes all words those of pages that are not in memory, which they are (CHECKed).
  void Clear();

  // Bytes of address space; of these, stretches that are backed by memory for all that is
  // known here, in bytes.
  size_t reserved_bytes() const;
  size_t touched_bytes() const { return touched_stretches_ * kStretchPages * sizeof(uint64_t); }

 private:
  using Chunk = std::atomic<AtomicPageWord*>;

  // What is known of the 512 words of one stretch.
  struct Stretch {
    uint16_t resident = 0;  // pages in memory
    bool touched = false;
    bool listed = false;  // in cold_
  };
  struct ChunkMemory {
    ZeroedMemory words;
    std::vector<Stretch> stretches;
  };

  FileWords(VersionEpoch* epoch, ZeroedMemory directory);
  static Chunk* ChunksOf(const ZeroedMemory& directory) {
    return reinterpret_cast<Chunk*>(directory.data());
  }
  // The place of the page's chunk in its directory; null: there is no directory.
  Chunk* ChunkOf(PageNumber page) const;
  Stretch& StretchOf(PageNumber page);
  void GiveBackColdStretches();

  VersionEpoch* const epoch_;
  std::atomic<uint32_t> generation_{0};
  std::atomic<bool> writable_{false};
  const ZeroedMemory directory_;
  std::map<uint64_t, ZeroedMemory> far_directories_;  // by page number / kNearPages
  std::map<uint64_t, ChunkMemory> chunks_;            // by page number / kChunkPages
  std::vector<PageNumber> cold_;                      // the first page of each
  size_t touched_stretches_ = 0;
  uint64_t resident_ = 0;
};

// Which pages of which files are in memory, and where: the words of all open files of a cache.
//
//   PageWords::Place place = words.Find(page);
//   if (place.word != nullptr && ... && place.file->generation() == page.file.generation())
//
// Threads: Find() any, without a lock; all else under the cache's lock.
class PageWords {
 public:
  static constexpr uint32_t kMaxFiles = 1u << 16;

  struct Place {
    AtomicPageWord* word = nullptr;
    FileWords* file = nullptr;
  };

  // CHECKs that there is address space for a table of kMaxFiles pointers.
  PageWords();
  PageWords(const PageWords&) = delete;
  PageWords& operator=(const PageWords&) = delete;
  ~PageWords();

  // Null: to be looked at under the cache's lock.
  Place Find(const PageId& page) const {
    const uint32_t slot = page.file.slot();
    if (ABSL_PREDICT_FALSE(slot >= kMaxFiles)) return {};
    FileWords* const file = files()[slot].load(std::memory_order_acquire);
    if (ABSL_PREDICT_FALSE(file == nullptr)) return {};
    return {file->Find(page.page_number), file};
  }

  // Of a page of the file in that slot, which is open; null: no page near there is in memory.
  AtomicPageWord* FindAny(uint32_t slot, PageNumber page) const {
    const FileWords* const file = files()[slot].load(std::memory_order_relaxed);
    if (AtomicPageWord* const word = file->Find(page); word != nullptr) return word;
    return file->FindAny(page);
  }
  // Of the words of all open files: see FileWords.
  size_t touched_bytes() const;

  // The file is open from now on. ResourceExhausted: no memory for its words.
  absl::StatusOr<FileWords*> Open(FileId id);
  // No page of the file is in memory.
  void Close(FileId id);

  VersionEpoch& epoch() { return epoch_; }
  const VersionEpoch& epoch() const { return epoch_; }

 private:
  using Slot = std::atomic<FileWords*>;
  Slot* files() const { return reinterpret_cast<Slot*>(files_.data()); }

  VersionEpoch epoch_;
  const ZeroedMemory files_;
  std::vector<std::unique_ptr<FileWords>> all_;  // open and spare
  std::vector<FileWords*> spare_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_WORDS_H_
