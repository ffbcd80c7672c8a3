#include "fixpool/storage/page_file_table.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/storage/mutation.h"

namespace fixpool::storage {
namespace {

uint32_t NextGeneration() {
  static std::atomic<uint32_t> last{0};
  uint32_t generation;
  do {
    generation = last.fetch_add(1, std::memory_order_relaxed) + 1;
  } while (generation == 0);
  return generation;
}

}  // namespace

absl::StatusOr<PageFile*> PageFileTable::Add(PageFile file) {
  size_t slot = slots_.size();
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i] == nullptr) {
      slot = std::min(slot, i);
    } else if (slots_[i]->file->device() == file.file->device() &&
               slots_[i]->file->inode() == file.file->inode()) {
      return absl::FailedPreconditionError(absl::StrCat("OpenFile of ", file.path(),
                                                        ": it is open in this cache already, as ",
                                                        slots_[i]->path(), "; use that FileId"));
    }
  }
  if (slot == kMaxFiles) {
    return absl::ResourceExhaustedError(
        absl::StrCat("OpenFile of ", file.path(), ": ", kMaxFiles, " files are open"));
  }
  if (slot == slots_.size()) slots_.emplace_back();
  file.id = FileId(static_cast<uint32_t>(slot), NextGeneration());
  slots_[slot] = std::make_unique<PageFile>(std::move(file));
  return slots_[slot].get();
}

PageFile* PageFileTable::Find(FileId id) const {
  if (id.slot() >= slots_.size() || slots_[id.slot()] == nullptr) return nullptr;
  PageFile* file = slots_[id.slot()].get();
  return file->id == id || Mutated(Mutation::kAcceptStaleFile) ? file : nullptr;
}

void PageFileTable::Remove(FileId id) { slots_[id.slot()].reset(); }

std::vector<FileId> PageFileTable::Ids() const {
  std::vector<FileId> ids;
  for (const std::unique_ptr<PageFile>& file : slots_) {
    if (file != nullptr) ids.push_back(file->id);
  }
  return ids;
}

size_t PageFileTable::size() const {
  return std::count_if(slots_.begin(), slots_.end(), [](const auto& file) { return !!file; });
}

absl::Status UnknownFileStatus(FileId id) {
  return absl::NotFoundError(absl::StrCat(
      id.ToString(), " is not open in this cache: closed, never opened, or another's"));
}

}  // namespace fixpool::storage
