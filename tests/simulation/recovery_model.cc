#include "tests/simulation/recovery_model.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace fixpool::simulation {

Tag RecoveryModel::DurableTag(size_t sector) const {
  const uint64_t page = sector / kSectors;
  const SimFileImage& image = disk_->file(page / most_pages_);
  const uint64_t in_file = sector % (most_pages_ * kSectors);
  if ((in_file + 1) * kSectorBytes > image.durable_size_bytes()) return 0;
  Tag tag;
  std::memcpy(&tag, image.Durable(page % most_pages_, sector % kSectors), sizeof(tag));
  return tag;
}

void RecoveryModel::Note(size_t file, uint64_t page, size_t sector, storage::Lsn lsn, Tag tag) {
  const size_t number = (file * most_pages_ + page) * kSectors + sector;
  Sector& one = sectors_[number];
  last_lsn_ = ToInt(lsn);
  one.lsn = last_lsn_;
  one.tag = tag;
  log_.push_back({.lsn = last_lsn_, .sector = number, .tag = tag});
  if (!one.pending) pending_.push_back(number);
  one.pending = true;
}

void RecoveryModel::Forget(size_t file, uint64_t page) {
  const size_t first = (file * most_pages_ + page) * kSectors;
  for (size_t number = first; number < first + kSectors; ++number) {
    sectors_[number].lsn = 0;
    sectors_[number].forgotten = last_lsn_;
  }
}

void RecoveryModel::CheckOldest(std::optional<storage::Lsn> oldest) {
  const uint64_t from = oldest.has_value() ? ToInt(*oldest) : ~uint64_t{0};
  size_t kept = 0;
  for (const size_t number : pending_) {
    Sector& one = sectors_[number];
    if (one.lsn == 0 || DurableTag(number) == one.tag) {
      one.pending = false;
      continue;
    }
    pending_[kept++] = number;
    if (verdict_->Check(Invariant::kOldestDirty, one.lsn >= from)) continue;
    const uint64_t page = number / kSectors;
    verdict_->Fail(
        Invariant::kOldestDirty,
        absl::StrCat("OldestDirtyLsn() is ", oldest.has_value() ? absl::StrCat(from) : "none",
                     ", and record ", one.lsn, " of page ", page % most_pages_, " of file ",
                     page / most_pages_, " is not on stable storage"));
  }
  pending_.resize(kept);
}

void RecoveryModel::CheckRedo(storage::Lsn durable) {
  struct State {
    uint64_t lsn = 0;
    Tag wanted = 0;
    Tag redone = 0;
  };
  std::vector<State> states(sectors_.size());
  for (const Record& record : log_) {
    State& state = states[record.sector];
    const Tag on_disk = DurableTag(record.sector);
    const bool forgotten = record.lsn <= sectors_[record.sector].forgotten;
    if (record.lsn > ToInt(durable)) {
      const bool early = record.tag != 0 && on_disk == record.tag && !forgotten;
      if (verdict_->Check(Invariant::kLogFirst, !early)) continue;
      verdict_->Fail(Invariant::kLogFirst,
                     absl::StrCat("after a crash the disk has what record ", record.lsn,
                                  " tells of, and the log ends with ", ToInt(durable)));
      continue;
    }
    if (state.lsn == 0) state.redone = on_disk;
    state.lsn = record.lsn;
    state.wanted = record.tag;
    if (record.lsn >= redo_from_) state.redone = record.tag;
  }
  for (size_t number = 0; number < states.size(); ++number) {
    const State& state = states[number];
    if (state.lsn == 0 || state.lsn <= sectors_[number].forgotten) continue;
    if (verdict_->Check(Invariant::kRecovered, state.redone == state.wanted)) continue;
    const uint64_t page = number / kSectors;
    verdict_->Fail(Invariant::kRecovered,
                   absl::StrCat("redo from ", redo_from_, " does not bring back record ", state.lsn,
                                " of page ", page % most_pages_, " of file ", page / most_pages_));
  }
}

void RecoveryModel::Restart() {
  std::fill(sectors_.begin(), sectors_.end(), Sector());
  pending_.clear();
  log_.clear();
  last_lsn_ = 0;
  redo_from_ = 0;
}

}  // namespace fixpool::simulation
