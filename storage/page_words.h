#ifndef FIXPOOL_STORAGE_PAGE_WORDS_H_
#define FIXPOOL_STORAGE_PAGE_WORDS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/io/wiped_memory.h"
#include "fixpool/storage/page_id.h"
#include "fixpool/storage/page_word.h"
#include "fixpool/storage/zeroed_memory.h"

namespace fixpool::storage {

class FileWords;

// Where the words of the pages below a power of two lie, one after the other: address and limit in
// one value, so that who reads it never has the one of this file and the other of that.
// Zeroed memory is a valid one: of no pages.
class FlatWords {
 public:
  constexpr FlatWords() = default;
  // `words` is at a multiple of 64 bytes.
  FlatWords(AtomicPageWord* words, int log2_limit)
      : bits_(reinterpret_cast<uintptr_t>(words) | static_cast<unsigned>(log2_limit)) {}
  explicit FlatWords(uint64_t bits) : bits_(bits) {}

  uint64_t bits() const { return bits_; }
  bool Has(PageNumber page) const { return page >> (bits_ % 64) == 0 && bits_ != 0; }
  // Has(page). Never null.
  AtomicPageWord* operator[](PageNumber page) const {
    auto* const word = reinterpret_cast<AtomicPageWord*>(bits_ & ~uint64_t{63}) + page;
    ABSL_ASSUME(word != nullptr);  // spares whoever asks the question
    return word;
  }

 private:
  uint64_t bits_ = 0;
};

// What a hit has to know of one file: where the words of its pages are, and who may come in.
// All of it is in one cache line, and zeroed memory is a valid one: of no file.
struct alignas(ABSL_CACHELINE_SIZE) FileEntry {
  std::atomic<uint64_t> flat;  // FlatWords. They stay mapped as long as the cache lives
  // All words of the file. Null: no file.
  std::atomic<FileWords*> words;
  // That of the file, or kNobody's, which is no file's: nobody is let in without the cache's lock.
  // To be asked *after* a word was read or latched: what was done to a word is worth nothing if it
  // has become another file's.
  static constexpr uint64_t kNobody = ~uint64_t{0};
  std::atomic<uint64_t> generation;
  // Whether writers are let in without the cache's lock.
  std::atomic<bool> writable;
  // Of each page, what its users see. The same as long as the file is open; to be asked *before* the
  // generation, which tells whose it was.
  std::atomic<uint32_t> payload_bytes;
};

// The words of one file's pages: an array that is there where it was touched.
//
// Shape: a flat range of addresses for the first kFlatPages words (16 TiB of 4 KiB pages take
// 32 GiB of addresses). It can be used as far as pages of the file have been in memory, in powers
// of two; of that the kernel backs those 4 KiB (a stretch of kStretchPages words) that were ever
// written to. When a stretch has no page in memory any more it is given back, kColdStretches at a
// time.
// Where the range cannot be had, or not as far (RLIMIT_AS, vm.overcommit_memory), and for pages
// beyond it, there are two levels instead: chunks of kChunkPages words, reserved one by one as
// pages of them come into memory, behind directories that reach kFlatPages each.
//
// Lifetime: what was mapped stays mapped as long as the cache lives, because a thread may be on
// its way to a word. When a file is closed its words are zeroed, and go to the next file that is
// opened.
// Threads: FindInChunks() any; all else under the cache's lock.
class FileWords {
 public:
  static constexpr uint64_t kChunkPages = 1u << 15;
  static constexpr uint64_t kFlatPages = uint64_t{1} << 32;
  static constexpr uint64_t kStretchPages = 512;
  static constexpr size_t kColdStretches = 64;

  enum class Layout : uint8_t { kFlatIfPossible, kTwoLevels };

  // ResourceExhausted: not even address space for a directory.
  static absl::StatusOr<std::unique_ptr<FileWords>> Create(VersionEpoch* epoch, Layout layout);
  FileWords(const FileWords&) = delete;
  FileWords& operator=(const FileWords&) = delete;

  // Puts the words behind `entry`, closed to those without the lock; takes them away from there.
  void Enter(FileEntry* entry);
  void Leave();
  // Of the entry that the words are behind.
  void set_generation(uint32_t generation) {
    entry_->generation.store(generation, std::memory_order_seq_cst);
  }
  void LetNobodyIn() { entry_->generation.store(FileEntry::kNobody, std::memory_order_seq_cst); }
  void set_writable(bool writable) { entry_->writable.store(writable, std::memory_order_relaxed); }
  // Before anybody knows the file's id.
  void set_payload_bytes(uint32_t bytes) {
    entry_->payload_bytes.store(bytes, std::memory_order_relaxed);
  }

  // Pages whose words are in the flat range. Grows.
  uint64_t flat_pages() const { return flat_pages_; }
  // Null: no page near there was in memory.
  AtomicPageWord* FindAny(PageNumber page) const;
  // The same for any thread without a lock, of a page that is neither in the flat range nor beyond
  // kFlatPages; of others null.
  AtomicPageWord* FindInChunks(PageNumber page) const;
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

  // What is known of the 512 words of one stretch. Zeroed memory is a valid one.
  struct Stretch {
    uint16_t resident;  // pages in memory
    bool touched;
    bool listed;  // in cold_
  };
  struct FlatMemory {
    ZeroedMemory words;
    ZeroedMemory stretches;
  };
  struct ChunkMemory {
    ZeroedMemory words;
    std::vector<Stretch> stretches;
  };

  explicit FileWords(VersionEpoch* epoch);
  // Leaves flat_ absent if there is no address space.
  void ReserveFlat();
  // Whether the flat range reaches the page now.
  bool GrowFlat(PageNumber page);
  FlatWords flat_words() const;
  static Chunk* ChunksOf(const ZeroedMemory& directory) {
    return reinterpret_cast<Chunk*>(directory.data());
  }
  // Whose directory it is: the page's number / kFlatPages.
  absl::StatusOr<Chunk*> MakeDirectory(uint64_t number);
  // The place of the page's chunk in its directory; null: there is no directory.
  Chunk* ChunkOf(PageNumber page) const;
  Stretch& StretchOf(PageNumber page);
  // The memory that the stretch from page `first` on lies in, back to the system.
  void DiscardStretch(PageNumber first);
  void GiveBackColdStretches();

  VersionEpoch* const epoch_;
  FileEntry* entry_ = nullptr;
  std::optional<FlatMemory> flat_;  // absent: it cannot be had
  uint64_t flat_pages_ = 0;         // a power of two, or 0; does not grow once there are chunks
                                    // of pages below kFlatPages
  std::map<uint64_t, ZeroedMemory> directories_;  // by page number / kFlatPages
  std::atomic<Chunk*> near_directory_{nullptr};   // the first, once it is there
  std::map<uint64_t, ChunkMemory> chunks_;        // by page number / kChunkPages
  std::vector<PageNumber> cold_;                  // the first page of each
  size_t touched_stretches_ = 0;
  uint64_t resident_ = 0;
};

// Which pages of which files are in memory, and where: the words of all open files of a cache.
//
//   PageWords::Place place = words.Find(page);
//   if (place.word != nullptr && ... && place.file->generation == page.file.generation())
//
// In a forked child nothing is found: the table of files is wiped there, so that who looks for a
// page need not ask which process it is in.
// Threads: Find() any, without a lock; all else under the cache's lock.
class PageWords {
 public:
  static constexpr uint32_t kMaxFiles = 1u << 16;

  struct Place {
    AtomicPageWord* word = nullptr;
    const FileEntry* file = nullptr;
  };

  // The table of files, as a value that is as good as the PageWords itself while that lives.
  class View {
   public:
    // word null: to be looked at under the cache's lock. A slot beyond the table is taken for
    // another, whose generation is not the id's.
    ABSL_ATTRIBUTE_ALWAYS_INLINE Place Find(const PageId& page) const {
      const FileEntry* const file = &files_[page.file.slot() % kMaxFiles];
      const FlatWords words(file->flat.load(std::memory_order_acquire));
      if (ABSL_PREDICT_FALSE(!words.Has(page.page_number))) {
        return FindElsewhere(file, page.page_number);
      }
      return {words[page.page_number], file};
    }

   private:
    friend class PageWords;
    explicit View(const FileEntry* files) : files_(files) {}
    ABSL_ATTRIBUTE_NOINLINE static Place FindElsewhere(const FileEntry* file, PageNumber page);

    const FileEntry* files_;
  };

  // CHECKs that there is address space for a table of kMaxFiles entries.
  explicit PageWords(FileWords::Layout layout = FileWords::Layout::kFlatIfPossible);
  PageWords(const PageWords&) = delete;
  PageWords& operator=(const PageWords&) = delete;
  ~PageWords();

  View view() const { return View(entries()); }
  Place Find(const PageId& page) const { return view().Find(page); }

  // Of a page of the file in that slot, which is open; null: no page near there is in memory.
  AtomicPageWord* FindAny(uint32_t slot, PageNumber page) const {
    return entries()[slot].words.load(std::memory_order_relaxed)->FindAny(page);
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
  FileEntry* entries() const { return reinterpret_cast<FileEntry*>(files_.data()); }

  const FileWords::Layout layout_;
  VersionEpoch epoch_;
  const io::WipedMemory files_;
  std::vector<std::unique_ptr<FileWords>> all_;  // open and spare
  std::vector<FileWords*> spare_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_WORDS_H_
