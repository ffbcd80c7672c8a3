#include "fixpool/storage/file_space.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "fixpool/io/file.h"
#include "fixpool/io/mutex.h"
#include "fixpool/storage/completion_reaper.h"
#include "fixpool/storage/ensure_log.h"
#include "fixpool/storage/file_changes.h"
#include "fixpool/storage/flusher.h"
#include "fixpool/storage/page_transfers.h"

namespace fixpool::storage {
namespace {

using Wanted = CompletionReaper::Wanted;

// Of those that there are.
Lsn LesserOf(Lsn a, Lsn b) {
  if (a == Lsn::kNone || b == Lsn::kNone) return std::max(a, b);
  return std::min(a, b);
}

// One change of one file, from the wait for its turn to its end. The steps in the order in which
// they stand here; the destructor ends it wherever it has come to.
class SpaceChange {
 public:
  // `operation`: for messages.
  SpaceChange(CacheState& state, FileId file, absl::string_view operation,
              const SpaceOptions& options)
      : state_(state),
        id_(file),
        operation_(operation),
        deadline_(state.DeadlineAfter(options.timeout, state.timeouts.flush)),
        lsn_(options.lsn),
        first_unsynced_(LesserOf(options.lsn, state.log_order.NextLsn())) {
    if (first_unsynced_ != Lsn::kNone) state.lsns.StartUsing();
  }
  ~SpaceChange() { End(); }
  SpaceChange(const SpaceChange&) = delete;
  SpaceChange& operator=(const SpaceChange&) = delete;

  // Waits for its turn, then asks `range_of` under the lock what to close, and closes it.
  absl::Status Begin(absl::FunctionRef<absl::StatusOr<PageRange>(const PageFile&)> range_of);
  // Nothing of the range is in flight any more, and the log tells of what is going to be done. An
  // error of the file's sync also.
  absl::Status Settle();
  // The file has been changed: forgets the pages in the range, and opens it. From now on the file
  // has so many pages.
  // Not OK: the file has been poisoned meanwhile.
  absl::Status Finish(std::optional<uint64_t> page_count);
  // That of the file as it is now.
  absl::Status Sync() { return Flusher(state_, id_, deadline_).RunSyncAlone(); }
  void End();

  // From Begin on.
  io::File& file() const { return *file_; }
  const PageRange& range() const { return range_; }
  absl::Status Refusal(absl::StatusCode code, absl::string_view why) const {
    return absl::Status(code, absl::StrCat(operation_, " of ", file_->path(), ": ", why));
  }

 private:
  absl::StatusOr<PageFile*> CheckFile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  absl::Status Close(PageFile& file, const PageRange& range)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void Open(PageFile& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  void Drop(PageFile& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);
  absl::Status WaitForTransfers();
  // Of the pages of the range that are in memory, or on their way there, until `visit` says false.
  template <typename Visit>
  void ForPagesInMemory(const PageFile& file, Visit visit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex);

  CacheState& state_;
  const FileId id_;
  const std::string operation_;
  const io::Deadline deadline_;
  Lsn lsn_;                   // the log is to be durable up to there before
  const Lsn first_unsynced_;  // what OldestDirtyLsn says until the change is synced
  std::shared_ptr<io::File> file_;
  std::optional<uint64_t> ticket_;
  bool closed_ = false;
  PageRange range_;
};

absl::StatusOr<PageFile*> SpaceChange::CheckFile() {
  PageFile* const file = state_.files.Find(id_);
  if (file == nullptr) return UnknownFileStatus(id_);
  file_ = file->file;
  if (file->closing) {
    return Refusal(absl::StatusCode::kFailedPrecondition, "it is being closed");
  }
  if (file->file->read_only()) {
    return Refusal(absl::StatusCode::kFailedPrecondition, "the file was opened read-only");
  }
  if (!file->poison.ok()) return file->poison;
  return file;
}

absl::Status SpaceChange::Begin(
    absl::FunctionRef<absl::StatusOr<PageRange>(const PageFile&)> range_of) {
  if (absl::Status status = CheckNotInHook(operation_); !status.ok()) return status;
  while (true) {
    uint32_t seen;
    {
      io::MutexLock lock(state_.mutex);
      seen = state_.reaper.epoch();
      absl::StatusOr<PageFile*> file = CheckFile();
      if (!file.ok()) return file.status();
      if (!ticket_.has_value()) ticket_ = (*file)->changes.Enter(first_unsynced_);
      if ((*file)->changes.HasTurn(*ticket_)) {
        const absl::StatusOr<PageRange> range = range_of(**file);
        return range.ok() ? Close(**file, *range) : range.status();
      }
    }
    if (state_.environment->Expired(deadline_)) {
      return Refusal(absl::StatusCode::kDeadlineExceeded,
                     "other threads allocate or free pages of it, or truncate it");
    }
    SubmitCollected(state_);
    state_.reaper.WaitFor(seen, Wanted::kSignal, deadline_);
  }
}

template <typename Visit>
void SpaceChange::ForPagesInMemory(const PageFile& file, Visit visit) {
  // None lies past the end of the file.
  const PageNumber end = std::min<PageNumber>(range_.end, file.page_count);
  if (end > range_.first && end - range_.first < state_.frames.size() / 4) {
    for (PageNumber page = range_.first; page < end; ++page) {
      const FrameIndex index = state_.Find({id_, page});
      if (index != kNoFrame && !visit(index)) return;
    }
    return;
  }
  for (uint32_t i = 0; i < state_.frames.size() && end > range_.first; ++i) {
    const FrameIndex index{i};
    const Frame& frame = state_.frames[index];
    if (!frame.HoldsPageOf(id_) || !range_.Contains(frame.page_number())) continue;
    // One whose read failed is there for the sake of who waited for it, and of no other.
    if (state_.frames.WordOf(index) == nullptr) continue;
    if (!visit(index)) return;
  }
}

absl::Status SpaceChange::Close(PageFile& file, const PageRange& range) {
  range_ = range;
  closed_ = true;
  file.changes.Close(range);
  absl::Status refusal;
  ForPagesInMemory(file, [&](FrameIndex index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex) {
    FrameTable::Edit(state_.frames, index)->closing = true;
    lsn_ = std::max(lsn_, state_.lsns.page(index));
    const BusyFrame& busy = state_.frames.Busy(index);
    if (!busy.pinned()) return true;
    refusal =
        Refusal(absl::StatusCode::kFailedPrecondition,
                absl::StrCat("page ", state_.frames[index].page_number(),
                             busy.latch.held() ? " is held by a guard; drop it first"
                                               : " is being waited for by another thread or task"));
    return false;
  });
  if (!refusal.ok()) Open(file);
  return refusal;
}

void SpaceChange::Open(PageFile& file) {
  ForPagesInMemory(file, [&](FrameIndex index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex) {
    FrameTable::Edit(state_.frames, index)->closing = false;
    return true;
  });
  closed_ = false;
  file.changes.Open();
  state_.waiters.WakeForChange();
  // Pages of it may be written for others again, or their frames are free.
  state_.FramesChanged();
  state_.LiftThrottle();
  state_.CallWriter();
  state_.reaper.Signal();
}

absl::Status SpaceChange::WaitForTransfers() {
  while (true) {
    uint32_t seen;
    PageNumber page = 0;
    bool in_flight = false;
    {
      io::MutexLock lock(state_.mutex);
      seen = state_.reaper.epoch();
      ForPagesInMemory(state_.files.at(id_),
                       [&](FrameIndex index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex) {
                         in_flight = state_.frames.IsInFlight(index);
                         page = state_.frames[index].page_number();
                         return !in_flight;
                       });
    }
    if (!in_flight) return absl::OkStatus();
    if (state_.environment->Expired(deadline_)) {
      return Refusal(absl::StatusCode::kDeadlineExceeded,
                     absl::StrCat("a transfer of page ", page, " is still in flight"));
    }
    SubmitCollected(state_);
    state_.reaper.WaitFor(seen, Wanted::kCompletion, deadline_);
  }
}

absl::Status SpaceChange::Settle() {
  if (absl::Status status = WaitForTransfers(); !status.ok()) return status;
  const absl::Status durable = EnsureLog(state_, lsn_, deadline_);
  if (!durable.ok()) return Refusal(durable.code(), durable.message());
  io::MutexLock lock(state_.mutex);
  return state_.files.at(id_).poison;
}

void SpaceChange::Drop(PageFile& file) {
  ForPagesInMemory(file, [&](FrameIndex index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state_.mutex) {
    if (file.scans != nullptr &&
        file.scans->detector().OnEvicted(state_.frames[index].page_number())) {
      ++state_.counters.read_ahead_wasted;
    }
    state_.Erase(index);
    state_.policy->OnDropped(index);
    state_.lsns.Reset(index);
    FrameTable::Edit(state_.frames, index)->dirty = false;
    state_.frames.PutFree(index);
    ++state_.counters.dropped;
    return true;
  });
}

absl::Status SpaceChange::Finish(std::optional<uint64_t> page_count) {
  io::MutexLock lock(state_.mutex);
  PageFile& file = state_.files.at(id_);
  Drop(file);
  if (page_count.has_value()) file.page_count = *page_count;
  file.unsynced = true;
  if (first_unsynced_ != Lsn::kNone) file.unsynced_lsns.Add(first_unsynced_);
  Open(file);
  return file.poison;
}

void SpaceChange::End() {
  if (!ticket_.has_value()) return;
  io::MutexLock lock(state_.mutex);
  PageFile& file = state_.files.at(id_);  // nobody closes it while there is a ticket
  if (closed_) Open(file);
  file.changes.Leave(*ticket_);
  ticket_.reset();
  state_.reaper.Signal();
}

// How many pages a file can have.
uint64_t MostPages(const CacheState& state) {
  return static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / state.page_bytes;
}

// Disk space for the pages in the range, which is where the file ends, or at least the length.
absl::Status Reserve(CacheState& state, const SpaceChange& change, uint64_t pages,
                     const SpaceOptions& options) {
  const uint64_t first_bytes = change.range().first * state.page_bytes;
  const uint64_t length_bytes = pages * state.page_bytes;
  absl::Status status = change.file().Preallocate(first_bytes, length_bytes);
  if (absl::IsUnimplemented(status) && !options.require_reserved) {
    status = change.file().Truncate(first_bytes + length_bytes);
    if (status.ok()) {
      io::MutexLock lock(state.mutex);
      state.counters.unreserved += pages;
    }
    return status;
  }
  if (status.ok()) return status;
  // Some of the space may have been reserved, and the file be longer by it.
  const absl::StatusOr<uint64_t> size_bytes = change.file().SizeBytes();
  if (size_bytes.ok() && *size_bytes > first_bytes) (void)change.file().Truncate(first_bytes);
  return status;
}

}  // namespace

absl::StatusOr<PageNumber> AllocatePages(CacheState& state, FileId id, uint64_t pages,
                                         const SpaceOptions& options) {
  SpaceChange change(state, id, "Allocate", options);
  const auto range_of = [&](const PageFile& file) -> absl::StatusOr<PageRange> {
    if (file.file->block_device()) {
      return change.Refusal(absl::StatusCode::kOutOfRange,
                            absl::StrCat("the device has ", file.page_count,
                                         " pages, all of which are there already"));
    }
    if (pages == 0 || file.page_count > MostPages(state) ||
        pages > MostPages(state) - file.page_count) {
      return change.Refusal(absl::StatusCode::kInvalidArgument,
                            absl::StrCat(pages, " pages more than ", file.page_count,
                                         " are not a number that a file can grow by"));
    }
    return PageRange{.first = file.page_count, .end = PageRange::kNoEnd};
  };
  if (absl::Status status = change.Begin(range_of); !status.ok()) return status;
  // No page of the range is there, and the log need not know of some that nobody uses.
  if (absl::Status status = Reserve(state, change, pages, options); !status.ok()) return status;
  const PageNumber first = change.range().first;
  if (absl::Status status = change.Finish(first + pages); !status.ok()) return status;
  return first;
}

absl::Status FreeFilePages(CacheState& state, FileId id, PageNumber first, uint64_t count,
                           const SpaceOptions& options) {
  SpaceChange change(state, id, "FreePages", options);
  const auto range_of = [&](const PageFile& file) -> absl::StatusOr<PageRange> {
    if (count == 0) {
      return change.Refusal(absl::StatusCode::kInvalidArgument, "no pages are named");
    }
    if (first > file.page_count || count > file.page_count - first) {
      return change.Refusal(
          absl::StatusCode::kOutOfRange,
          absl::StrCat(count, " pages from page ", first, " on are not all there; the file has ",
                       file.page_count, " pages"));
    }
    return PageRange{.first = first, .end = first + count};
  };
  if (absl::Status status = change.Begin(range_of); !status.ok()) return status;
  if (absl::Status status = change.Settle(); !status.ok()) return status;
  const absl::Status freed =
      change.file().FreeSpace(first * state.page_bytes, count * state.page_bytes);
  if (!freed.ok()) return freed;
  return change.Finish(std::nullopt);
}

absl::Status TruncateFile(CacheState& state, FileId id, uint64_t page_count,
                          const SpaceOptions& options) {
  SpaceChange change(state, id, "Truncate", options);
  const auto range_of = [&](const PageFile& file) -> absl::StatusOr<PageRange> {
    if (file.file->block_device()) {
      return change.Refusal(absl::StatusCode::kUnimplemented, "a block device is as long as it is");
    }
    if (page_count > MostPages(state)) {
      return change.Refusal(absl::StatusCode::kInvalidArgument,
                            absl::StrCat("no file can have ", page_count, " pages"));
    }
    return PageRange{.first = std::min(page_count, file.page_count), .end = PageRange::kNoEnd};
  };
  if (absl::Status status = change.Begin(range_of); !status.ok()) return status;
  if (absl::Status status = change.Settle(); !status.ok()) return status;
  const absl::Status truncated = change.file().Truncate(page_count * state.page_bytes);
  if (!truncated.ok()) return truncated;
  if (absl::Status status = change.Finish(page_count); !status.ok()) return status;
  // Others go on meanwhile; but the file is not closed, nor changed in this way by another.
  if (absl::Status status = change.Sync(); !status.ok()) return status;
  return change.file().SyncName();
}

}  // namespace fixpool::storage
