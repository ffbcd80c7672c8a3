#include "fixpool/storage/page_words.h"

#include <utility>

#include "fixpool/io/check.h"

namespace fixpool::storage {
namespace {

constexpr size_t kChunkBytes = FileWords::kChunkPages * sizeof(AtomicPageWord);
constexpr size_t kStretchBytes = FileWords::kStretchPages * sizeof(AtomicPageWord);
constexpr size_t kDirectoryBytes =
    FileWords::kNearPages / FileWords::kChunkPages * sizeof(std::atomic<AtomicPageWord*>);

}  // namespace

absl::StatusOr<std::unique_ptr<FileWords>> FileWords::Create(VersionEpoch* epoch) {
  absl::StatusOr<ZeroedMemory> directory = ZeroedMemory::Reserve(kDirectoryBytes);
  if (!directory.ok()) return directory.status();
  return std::unique_ptr<FileWords>(new FileWords(epoch, *std::move(directory)));
}

FileWords::FileWords(VersionEpoch* epoch, ZeroedMemory directory)
    : epoch_(epoch), directory_(std::move(directory)) {
  cold_.reserve(kColdStretches);
}

FileWords::Chunk* FileWords::ChunkOf(PageNumber page) const {
  const size_t place = page % kNearPages / kChunkPages;
  if (page < kNearPages) return &ChunksOf(directory_)[place];
  const auto far = far_directories_.find(page / kNearPages);
  return far == far_directories_.end() ? nullptr : &ChunksOf(far->second)[place];
}

AtomicPageWord* FileWords::FindAny(PageNumber page) const {
  const Chunk* const chunk = ChunkOf(page);
  if (chunk == nullptr) return nullptr;
  AtomicPageWord* const words = chunk->load(std::memory_order_acquire);
  return words == nullptr ? nullptr : &words[page % kChunkPages];
}

absl::StatusOr<AtomicPageWord*> FileWords::FindOrMake(PageNumber page) {
  if (AtomicPageWord* const word = FindAny(page); word != nullptr) return word;
  if (ChunkOf(page) == nullptr) {
    absl::StatusOr<ZeroedMemory> directory = ZeroedMemory::Reserve(kDirectoryBytes);
    if (!directory.ok()) return directory.status();
    far_directories_.emplace(page / kNearPages, *std::move(directory));
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
  return chunks_.at(page / kChunkPages).stretches[page % kChunkPages / kStretchPages];
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
    chunks_.at(first / kChunkPages)
        .words.Discard(first % kChunkPages * sizeof(AtomicPageWord), kStretchBytes);
  }
  cold_.clear();
}

void FileWords::Clear() {
  FIXPOOL_CHECK(resident_ == 0, "the words of a file were given up with a page in memory");
  epoch_->Restart();
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
  return (1 + far_directories_.size()) * kDirectoryBytes + chunks_.size() * kChunkBytes;
}

PageWords::PageWords()
    : files_([] {
        absl::StatusOr<ZeroedMemory> table = ZeroedMemory::Reserve(kMaxFiles * sizeof(Slot));
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
    absl::StatusOr<std::unique_ptr<FileWords>> made = FileWords::Create(&epoch_);
    if (!made.ok()) return made.status();
    all_.push_back(*std::move(made));
    spare_.reserve(all_.size());
    spare_.push_back(all_.back().get());
  }
  FileWords* const words = spare_.back();
  spare_.pop_back();
  words->set_generation(id.generation());
  files()[id.slot()].store(words, std::memory_order_release);
  return words;
}

void PageWords::Close(FileId id) {
  FileWords* const words = files()[id.slot()].exchange(nullptr, std::memory_order_acq_rel);
  words->set_generation(0);
  words->set_writable(false);
  words->Clear();
  spare_.push_back(words);
}

}  // namespace fixpool::storage
