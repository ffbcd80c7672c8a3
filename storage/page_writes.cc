#include "fixpool/storage/page_writes.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/storage/mutation.h"
#include "fixpool/storage/transfer.h"

namespace fixpool::storage {
namespace {

// Many that fail together are one occasion.
void LengthenPause(CacheState& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  const int64_t now_ns = state.environment->NowNs();
  if (now_ns >= state.write_pause.until_ns()) state.write_pause.Lengthen(now_ns);
}

void BookFailedWrite(CacheState& state, FrameIndex index, const absl::Status& status)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  FrameTable::Edit frame(state.frames, index);
  frame->dirty = true;
  frame.busy().write_failed = true;
  frame.busy().error = status;
  ++state.counters.write_errors;
  LengthenPause(state);
}

// From now on the page is clean and in write-back, or as StartWrite says.
absl::Status BeginWriteBack(CacheState& state, FrameIndex index, const arena::PageHandle& handle)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  if (absl::Status status = CheckHandle(state, index, handle, "write"); !status.ok()) {
    BookFailedWrite(state, index, status);
    return status;
  }
  FrameTable::Edit frame(state.frames, index);
  BusyFrame& busy = frame.busy();
  FIXPOOL_CHECK(frame->dirty && busy.latch.CanBeginWriteBack(), "a write of a page in use");
  frame->dirty = false;
  state.throttle_in_vain = false;
  busy.latch.BeginWriteBack();
  busy.write_number = ++state.writes_begun;
  return absl::OkStatus();
}

// The page has reached the file, and counts as changed until a sync says that it will stay there.
void BookWritten(CacheState& state, PageFile& file, FrameIndex index)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  file.unsynced = true;
  const Lsn first_dirty = state.lsns.first_dirty(index);
  if (first_dirty != Lsn::kNone) {
    if (!Mutated(Mutation::kCheckpointTooEarly)) file.unsynced_lsns.Add(first_dirty);
    state.lsns.set_first_dirty(index, Lsn::kNone);
  }
  ++state.counters.writes;
}

void EndPage(CacheState& state, FrameIndex index, const absl::Status& status,
             std::vector<std::string>& messages) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  const bool was_failing = state.frames.Busy(index).write_failed;
  PageFile& file = state.FileOf(index);
  const bool ok = status.ok() || Mutated(Mutation::kCleanAfterFailedWrite);
  // Of a file that cannot be synced, nothing is believed to be on disk.
  const bool written = ok && file.poison.ok();
  {
    FrameTable::Edit frame(state.frames, index);
    frame.busy().latch.EndWriteBack();
    if (ok) {
      frame.busy().write_failed = false;
      frame.busy().error = absl::OkStatus();
      frame->dirty = !written;
    }
  }
  if (written) BookWritten(state, file, index);
  if (ok) {
    state.write_pause.StartAnew();
    state.policy->OnWritten(index);
    return;
  }
  BookFailedWrite(state, index, status);
  state.policy->OnWriteFailed(index);
  if (was_failing) return;
  messages.push_back(absl::StrCat(state.NameOf(state.PageIn(index)),
                                  " cannot be written and stays in memory: ", status.message()));
}

}  // namespace

bool LogAllowsWrite(CacheState& state, FrameIndex index) {
  if (!state.log_order.has_log()) return true;
  const Lsn lsn = state.lsns.page(index);
  if (state.log_order.Allows(lsn) || Mutated(Mutation::kWriteBeforeLog)) return true;
  state.log_order.Want(lsn);
  return false;
}

absl::Status StartWrite(CacheState& state, FrameIndex index, IoBatch& batch) {
  const arena::PageHandle handle = state.frames.HandleOf(index);
  if (absl::Status status = BeginWriteBack(state, index, handle); !status.ok()) return status;
  AddTransfer(state, TransferKind::kWrite, index, handle, batch);
  return absl::OkStatus();
}

void EndWrite(CacheState& state, FrameIndex index, const absl::Status& status,
              std::vector<std::string>& messages) {
  --state.FileOf(index).in_flight;
  --state.writes_in_flight;
  EndPage(state, index, status, messages);
}

void EndJoinedWrite(CacheState& state, JoinedTransfer& joined, const absl::Status& status,
                    std::vector<std::string>& messages) {
  --state.files.at(joined.file).in_flight;
  --state.writes_in_flight;
  for (const FrameIndex index : joined.pages()) {
    EndPage(state, index, status, messages);
    state.waiters.WakeForPage(index);
  }
  state.joined_writes.Return(&joined);
}

// ---- RunWriter ----

bool RunWriter::Continues(FrameIndex index) const {
  if (joined_ == nullptr) return false;
  const PageId page = state_.PageIn(index);
  return page.file == joined_->file && page.page_number == joined_->first + joined_->count &&
         joined_->count < std::min(kMostPages, state_.joined_writes.pages_each()) &&
         joined_->count < state_.files.at(page.file).pages_of_a_write &&
         !state_.frames.Busy(index).write_failed;
}

// False: there is no room.
bool RunWriter::Begin(FrameIndex index, const IoBatch& batch) {
  if (started_ >= limits_.most || !CanStart(state_, batch, limits_.reserve)) return false;
  joined_ = state_.frames.Busy(index).write_failed ? nullptr : state_.joined_writes.Take();
  if (joined_ == nullptr) return true;
  const PageId page = state_.PageIn(index);
  joined_->file = page.file;
  joined_->first = page.page_number;
  return true;
}

RunWriter::Answer RunWriter::Add(FrameIndex index, IoBatch& batch) {
  if (!Continues(index)) {
    HandOver(batch);
    if (!Begin(index, batch)) return Answer::kNoRoom;
  }
  const arena::PageHandle handle = state_.frames.HandleOf(index);
  if (absl::Status status = BeginWriteBack(state_, index, handle); !status.ok()) {
    HandOver(batch);  // the next page does not follow
    error_ = std::move(status);
    return Answer::kFailed;
  }
  if (joined_ == nullptr) {
    AddTransfer(state_, TransferKind::kWrite, index, handle, batch);
    ++started_;
    return Answer::kStarted;
  }
  joined_->pieces[joined_->count] = {
      .region = handle.region, .data = state_.DataOf(index), .length_bytes = state_.page_bytes};
  joined_->frames[joined_->count++] = index;
  return Answer::kStarted;
}

void RunWriter::HandOver(IoBatch& batch) {
  JoinedTransfer* const joined = std::exchange(joined_, nullptr);
  if (joined == nullptr) return;
  if (joined->count < 2) {
    if (joined->count == 1) {
      const FrameIndex index = joined->frames[0];
      AddTransfer(state_, TransferKind::kWrite, index, state_.frames.HandleOf(index), batch);
      ++started_;
    }
    state_.joined_writes.Return(joined);
    return;
  }
  PageFile& file = state_.files.at(joined->file);
  ++file.in_flight;
  ++state_.transfers;
  ++state_.writes_in_flight;
  ++started_;
  ++state_.counters.joined_writes;
  batch.Add(
      {.operation = io::IoOperation::kWrite,
       .file = file.handle,
       .length_bytes = joined->count * state_.page_bytes,
       .offset_bytes = joined->first * state_.page_bytes,
       .user_data = UserData(TransferKind::kJoinedWrite, state_.joined_writes.IndexOf(*joined)),
       .pieces = absl::MakeConstSpan(joined->pieces.data(), joined->count)});
}

}  // namespace fixpool::storage
