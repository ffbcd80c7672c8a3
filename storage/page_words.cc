#include "fixpool/storage/page_words.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "fixpool/io/check.h"

namespace fixpool::storage {
namespace {

constexpr size_t kChunkBytes = FileWords::kChunkPages * sizeof(AtomicPageWord);
constexpr size_t kStretchBytes = FileWords::kStretchPages * sizeof(AtomicPageWord);
constexpr size_t kDirectoryBytes =
    FileWords::kFlatPages / FileWords::kChunkPages * sizeof(std::atomic<AtomicPageWord*>);

// How far the flat range can be used at first: no smaller, so that it seldom grows.
constexpr uint64_t kFirstFlatPages = 1u << 16;

}  // namespace

absl::StatusOr<std::unique_ptr<FileWords>> FileWords::Create(VersionEpoch* epoch, Layout layout) {
  std::unique_ptr<FileWords> words(new FileWords(epoch));
  if (layout == Layout::kFlatIfPossible) words->ReserveFlat();
  if (words->GrowFlat(0)) return words;
  const absl::StatusOr<Chunk*> directory = words->MakeDirectory(0);
  if (!directory.ok()) return directory.status();
  return words;
}

FileWords::FileWords(VersionEpoch* epoch) : epoch_(epoch) { cold_.reserve(kColdStretches); }

void FileWords::ReserveFlat() {
  absl::StatusOr<ZeroedMemory> words =
      ZeroedMemory::ReserveAddresses(kFlatPages * sizeof(AtomicPageWord));
  if (!words.ok()) return;
  absl::StatusOr<ZeroedMemory> stretches =
      ZeroedMemory::ReserveAddresses(kFlatPages / kStretchPages * sizeof(Stretch));
  if (!stretches.ok()) return;
  flat_.emplace(FlatMemory{.words = *std::move(words), .stretches = *std::move(stretches)});
}

bool FileWords::GrowFlat(PageNumber page) {
  if (page < flat_pages_) return true;
  if (page >= kFlatPages || !flat_.has_value()) return false;
  if (near_directory_.load(std::memory_order_relaxed) != nullptr) return false;
  const uint64_t pages = std::max(kFirstFlatPages, std::bit_ceil(page + 1));
  if (!flat_->words.MakeAccessible(pages * sizeof(AtomicPageWord)).ok() ||
      !flat_->stretches.MakeAccessible(pages / kStretchPages * sizeof(Stretch)).ok()) {
    return false;
  }
  flat_pages_ = pages;
  if (entry_ != nullptr) entry_->flat.store(flat_words().bits(), std::memory_order_release);
  return true;
}

FlatWords FileWords::flat_words() const {
  if (flat_pages_ == 0) return FlatWords();
  return FlatWords(reinterpret_cast<AtomicPageWord*>(flat_->words.data()),
                   std::countr_zero(flat_pages_));
}

void FileWords::Enter(FileEntry* entry) {
  entry_ = entry;
  entry->words.store(this, std::memory_order_release);
  entry->flat.store(flat_words().bits(), std::memory_order_release);
}

void FileWords::Leave() {
  LetNobodyIn();
  set_writable(false);
  set_payload_bytes(0);
  entry_->flat.store(FlatWords().bits(), std::memory_order_release);
  entry_->words.store(nullptr, std::memory_order_release);
  entry_ = nullptr;
}

FileWords::Chunk* FileWords::ChunkOf(PageNumber page) const {
  const auto directory = directories_.find(page / kFlatPages);
  if (directory == directories_.end()) return nullptr;
  return ChunksOf(directory->second) + page % kFlatPages / kChunkPages;
}

AtomicPageWord* FileWords::FindInChunks(PageNumber page) const {
  if (page >= kFlatPages) return nullptr;
  const Chunk* const directory = near_directory_.load(std::memory_order_acquire);
  if (directory == nullptr) return nullptr;
  AtomicPageWord* const words = directory[page / kChunkPages].load(std::memory_order_acquire);
  return words == nullptr ? nullptr : &words[page % kChunkPages];
}

AtomicPageWord* FileWords::FindAny(PageNumber page) const {
  if (page < flat_pages_) return flat_words()[page];
  const Chunk* const chunk = ChunkOf(page);
  if (chunk == nullptr) return nullptr;
  AtomicPageWord* const words = chunk->load(std::memory_order_acquire);
  return words == nullptr ? nullptr : &words[page % kChunkPages];
}

absl::StatusOr<FileWords::Chunk*> FileWords::MakeDirectory(uint64_t number) {
  absl::StatusOr<ZeroedMemory> memory = ZeroedMemory::Reserve(kDirectoryBytes);
  if (!memory.ok()) return memory.status();
  Chunk* const chunks = ChunksOf(directories_.emplace(number, *std::move(memory)).first->second);
  if (number == 0) near_directory_.store(chunks, std::memory_order_release);
  return chunks;
}

absl::StatusOr<AtomicPageWord*> FileWords::FindOrMake(PageNumber page) {
  if (AtomicPageWord* const word = FindAny(page); word != nullptr) return word;
  if (GrowFlat(page)) return flat_words()[page];
  if (ChunkOf(page) == nullptr) {
    const absl::StatusOr<Chunk*> directory = MakeDirectory(page / kFlatPages);
    if (!directory.ok()) return directory.status();
  }
  absl::StatusOr<ZeroedMemory> words = ZeroedMemory::Reserve(kChunkBytes);
  if (!words.ok()) return words.status();
  auto* const base = reinterpret_cast<AtomicPageWord*>(words->data());
  chunks_.emplace(page / kChunkPages,
                  ChunkMemory{.words = *std::move(words),
                              .stretches = std::vector<Stretch>(kChunkPages / kStretchPages)});
  ChunkOf(page)->store(base, std::memory_order_release);
  return &base[page % kChunkPages];
}

FileWords::Stretch& FileWords::StretchOf(PageNumber page) {
  if (page < flat_pages_) {
    return reinterpret_cast<Stretch*>(flat_->stretches.data())[page / kStretchPages];
  }
  return chunks_.at(page / kChunkPages).stretches[page % kChunkPages / kStretchPages];
}

void FileWords::DiscardStretch(PageNumber first) {
  if (first < flat_pages_) {
    flat_->words.Discard(first * sizeof(AtomicPageWord), kStretchBytes);
  } else {
    chunks_.at(first / kChunkPages)
        .words.Discard(first % kChunkPages * sizeof(AtomicPageWord), kStretchBytes);
  }
}

void FileWords::CountIn(PageNumber page) {
  ++resident_;
  Stretch& stretch = StretchOf(page);
  ++stretch.resident;
  if (!std::exchange(stretch.touched, true)) ++touched_stretches_;
}

void FileWords::CountOut(PageNumber page) {
  --resident_;
  Stretch& stretch = StretchOf(page);
  if (--stretch.resident > 0 || std::exchange(stretch.listed, true)) return;
  cold_.push_back(page - page % kStretchPages);
  if (cold_.size() == kColdStretches) GiveBackColdStretches();
}

void FileWords::GiveBackColdStretches() {
  epoch_->Restart();
  for (const PageNumber first : cold_) {
    Stretch& stretch = StretchOf(first);
    stretch.listed = false;
    if (stretch.resident > 0) continue;
    stretch.touched = false;
    --touched_stretches_;
    DiscardStretch(first);
  }
  cold_.clear();
}

void FileWords::Clear() {
  FIXPOOL_CHECK(resident_ == 0, "the words of a file were given up with a page in memory");
  epoch_->Restart();
  if (flat_pages_ > 0) {
    flat_->words.Discard(0, flat_->words.accessible_bytes());
    flat_->stretches.Discard(0, flat_->stretches.accessible_bytes());
  }
  for (auto& [number, chunk] : chunks_) {
    for (uint64_t i = 0; i < chunk.stretches.size(); ++i) {
      if (!chunk.stretches[i].touched) continue;
      chunk.words.Discard(i * kStretchBytes, kStretchBytes);
      chunk.stretches[i] = Stretch();
    }
  }
  touched_stretches_ = 0;
  cold_.clear();
}

size_t FileWords::reserved_bytes() const {
  const size_t flat_bytes =
      flat_.has_value() ? flat_->words.size_bytes() + flat_->stretches.size_bytes() : size_t{0};
  return flat_bytes + directories_.size() * kDirectoryBytes + chunks_.size() * kChunkBytes;
}

PageWords::Place PageWords::View::FindElsewhere(const FileEntry* file, PageNumber page) {
  const FileWords* const words = file->words.load(std::memory_order_acquire);
  if (words == nullptr) return {};
  return {words->FindInChunks(page), file};
}

PageWords::PageWords(FileWords::Layout layout)
    : layout_(layout), files_([] {
        absl::StatusOr<io::WipedMemory> table =
            io::WipedMemory::Reserve(kMaxFiles * sizeof(FileEntry));
        FIXPOOL_CHECK(table.ok(), table.status().message());
        return *std::move(table);
      }()) {}

PageWords::~PageWords() = default;

size_t PageWords::touched_bytes() const {
  size_t sum_bytes = 0;
  for (const std::unique_ptr<FileWords>& words : all_) sum_bytes += words->touched_bytes();
  return sum_bytes;
}

absl::StatusOr<FileWords*> PageWords::Open(FileId id) {
  if (spare_.empty()) {
    absl::StatusOr<std::unique_ptr<FileWords>> made = FileWords::Create(&epoch_, layout_);
    if (!made.ok()) return made.status();
    all_.push_back(*std::move(made));
    spare_.reserve(all_.size());
    spare_.push_back(all_.back().get());
  }
  FileWords* const words = spare_.back();
  spare_.pop_back();
  words->Enter(&entries()[id.slot()]);
  words->set_generation(id.generation());
  return words;
}

void PageWords::Close(FileId id) {
  FileWords* const words = entries()[id.slot()].words.load(std::memory_order_relaxed);
  words->Leave();
  words->Clear();
  spare_.push_back(words);
}

}  // namespace fixpool::storage
