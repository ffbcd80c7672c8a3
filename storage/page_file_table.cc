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

absl::Status PageFileTable::CheckNotOpen(const io::File& file) const {
  for (const std::unique_ptr<PageFile>& open : slots_) {
    if (open == nullptr || open->file->device() != file.device() ||
        open->file->inode() != file.inode()) {
      continue;
    }
    return absl::FailedPreconditionError(absl::StrCat("OpenFile of ", file.path(),
                                                      ": it is open in this cache already, as ",
                                                      open->path(), "; use that FileId"));
  }
  return absl::OkStatus();
}

absl::StatusOr<PageFile*> PageFileTable::Add(PageFile file) {
  if (absl::Status status = CheckNotOpen(*file.file); !status.ok()) return status;
  const size_t slot = std::find(slots_.begin(), slots_.end(), nullptr) - slots_.begin();
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
