// What a simulated life has to do with its write-ahead log, and with checkpoints.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "fixpool/storage/lsn.h"
#include "tests/simulation/simulation.h"

namespace fixpool::simulation {

using storage::Lsn;
using storage::PageId;

// If a lock of the cache's were held, this would not come back.
void Simulation::OnLogCalled() {
  if (dying_ || !random_.Chance(200)) return;
  (void)cache().Stats();
  const std::optional<size_t> file = ChooseOpenFile();
  if (!file.has_value()) return;
  const PageId page{model_.file(*file).id, options_.most_pages - 1};
  if (machine_->inspector.IsInMemory(page)) return;  // which is had without waiting
  const bool refused = absl::IsFailedPrecondition(cache().Read(page).status()) &&
                       absl::IsFailedPrecondition(cache().Flush(page.file));
  if (verdict_.Check(Invariant::kLogUnlocked, refused)) return;
  Fail(Invariant::kLogUnlocked, "the log may ask for a page, from inside of EnsureDurable");
}

// A page came into being.
void Simulation::LogZeros(HeldPage& page) {
  const std::optional<size_t> file = model_.Find(page.held().page.file);
  if (!options_.log || !file.has_value()) return;
  const uint64_t number = page.held().page.page_number;
  const Lsn lsn = log_.Append();
  model_.SetLsn(*file, number, lsn);
  recovery_.NoteZeros(*file, number, lsn);
  page.SetLsn(lsn, /*now=*/random_.Chance(500));
}

void Simulation::CheckOldest() { recovery_.CheckOldest(cache().OldestDirtyLsn()); }

void Simulation::Checkpoint() {
  const Lsn end = log_.end();
  const std::optional<Lsn> oldest = cache().OldestDirtyLsn();
  Lsn up_to = end;
  if (oldest.has_value() && random_.Chance(600)) {
    up_to = Lsn{random_.Between(ToInt(*oldest), std::max(ToInt(end), ToInt(*oldest)))};
  }
  const std::optional<absl::Duration> timeout = ChooseTimeout();
  const absl::Status status = cache().Checkpoint(up_to, timeout);
  verdict_.Note(static_cast<uint64_t>(status.code()));
  const std::optional<Lsn> left = cache().OldestDirtyLsn();
  if (status.ok()) {
    const bool done = !left.has_value() || *left > up_to;
    if (!verdict_.Check(Invariant::kCheckpointed, done)) {
      Fail(Invariant::kCheckpointed,
           absl::StrCat("after a checkpoint up to ", ToInt(up_to), " OldestDirtyLsn() is ",
                        ToInt(left.value_or(Lsn::kNone))));
    }
    // Nothing that is as old as that is missing on the disk.
    recovery_.CheckOldest(Lsn{ToInt(up_to) + 1});
  }
  recovery_.CheckOldest(left);
  recovery_.TakeCheckpoint(std::min(end, left.value_or(end)));
}

}  // namespace fixpool::simulation
