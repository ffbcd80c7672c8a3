#include "fixpool/storage/flusher.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/storage/ensure_log.h"
#include "fixpool/storage/mutation.h"
#include "fixpool/storage/thread_holds.h"

namespace fixpool::storage {
namespace {

using Wanted = CompletionReaper::Wanted;

// Transfers that a flush leaves to those who wait for a page.
uint32_t ReserveOf(const CacheState& state) { return state.engine->depth() / 4; }

}  // namespace

template <typename NeedsSync>
absl::Status Flusher::WriteAndSync(NeedsSync needs_sync) {
  absl::Status status = WritePages();
  bool sync;
  {
    io::MutexLock lock(state_.mutex);
    sync = needs_sync();
  }
  if (status.ok() && sync) status = Sync();
  End();
  return status;
}

absl::Status Flusher::Run() {
  if (absl::Status status = Begin(/*closing=*/false); !status.ok()) return status;
  return WriteAndSync([] { return true; });
}

absl::Status Flusher::RunToClose() {
  if (absl::Status status = Begin(/*closing=*/true); !status.ok()) return status;
  return WriteAndSync([this] {
    if (Mutated(Mutation::kCloseWithoutSync)) return false;
    return file_->unsynced || file_->sync_in_flight();
  });
}

absl::Status Flusher::RunUpTo(Lsn up_to) {
  up_to_ = up_to;
  if (absl::Status status = Begin(/*closing=*/false); !status.ok()) return status;
  return WriteAndSync([this, up_to] {
    const std::optional<Lsn> oldest = file_->unsynced_lsns.oldest();
    return oldest.has_value() && *oldest <= up_to;
  });
}

absl::Status Flusher::RunSyncAlone() {
  {
    io::MutexLock lock(state_.mutex);
    if (absl::Status status = Enter(/*closing=*/false); !status.ok()) return status;
    ++file_->flushes;
  }
  absl::Status status = Sync();
  End();
  return status;
}

absl::Status Flusher::Begin(bool closing) {
  if (absl::Status status = CheckNotInHook("Flush"); !status.ok()) return status;
  io::MutexLock lock(state_.mutex);
  if (absl::Status status = Enter(closing); !status.ok()) return status;
  if (absl::Status status = CheckOwnGuards(); !status.ok()) return status;
  AddItems();
  ++file_->flushes;
  return absl::OkStatus();
}

absl::Status Flusher::Enter(bool closing) {
  file_ = state_.files.Find(file_id_);
  if (file_ == nullptr) return UnknownFileStatus(file_id_);
  if (file_->closing != closing) {
    return absl::FailedPreconditionError(
        absl::StrCat("Flush of ", file_->path(), ": it is being closed"));
  }
  return file_->poison;
}

absl::Status Flusher::CheckOwnGuards() const {
  if (!ThreadHolds::Any()) return absl::OkStatus();
  for (uint32_t i = 0; i < state_.frames.size(); ++i) {
    const Frame& frame = state_.frames[FrameIndex{i}];
    if (frame.state != FrameState::kResident || !frame.HoldsPageOf(file_id_)) continue;
    const AtomicPageWord* const word = state_.frames.WordOf(FrameIndex{i});
    if (!Load(*word).closed() || ThreadHolds::CountOf(word) == 0) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("Flush of ", file_->path(), ": this thread holds a WriteGuard of page ",
                     frame.page_number(), " and would wait for itself; drop it first"));
  }
  return absl::OkStatus();
}

void Flusher::AddItems() {
  const FrameTable::Counts& counts = state_.frames.counts();
  items_.reserve(counts.dirty + counts.in_flight);
  for (uint32_t i = 0; i < state_.frames.size(); ++i) {
    const FrameIndex index{i};
    const Frame& frame = state_.frames[index];
    if (frame.state != FrameState::kResident || !frame.HoldsPageOf(file_id_)) continue;
    if (!frame.dirty && !state_.frames.IsInFlight(index)) continue;
    if (up_to_.has_value()) {
      const Lsn first_dirty = state_.lsns.first_dirty(index);
      if (first_dirty == Lsn::kNone || first_dirty > *up_to_) continue;
    }
    log_wanted_ = std::max(log_wanted_, state_.lsns.page(index));
    items_.push_back({.page_number = frame.page_number(), .frame = index});
  }
}

void Flusher::End() {
  io::MutexLock lock(state_.mutex);
  for (Item& item : active_) EndLatchWait(item);
  --file_->flushes;
  if (file_->closing) state_.reaper.Signal();
}

absl::Status Flusher::WritePages() {
  std::sort(items_.begin(), items_.end(),
            [](const Item& a, const Item& b) { return a.page_number < b.page_number; });
  IoBatch batch;
  while (true) {
    uint32_t seen;
    bool started;
    {
      io::MutexLock lock(state_.mutex);
      if (!file_->poison.ok()) return file_->poison;
      seen = state_.reaper.epoch();
      Advance(batch);
      started = !batch.empty();
    }
    // Also if some were started: those go on meanwhile.
    if (!state_.log_order.Allows(log_wanted_)) {
      Submit(state_, batch);
      absl::Status durable = EnsureLog(state_, log_wanted_, deadline_);
      if (durable.ok()) continue;
      return absl::Status(durable.code(),
                          absl::StrCat("Flush of ", file_->path(), ": ", durable.message()));
    }
    if (active_.empty() && next_ == items_.size()) return error_;
    if (started) {
      Submit(state_, batch);
      continue;
    }
    if (state_.environment->Expired(deadline_)) {
      const std::string why = active_.empty() || !active_.front().latch_wait
                                  ? "writes are still in flight"
                                  : "other threads hold WriteGuards of some";
      return absl::DeadlineExceededError(
          absl::StrCat("Flush of ", file_->path(), ": ", active_.size() + items_.size() - next_,
                       " of ", items_.size(), " pages are not written yet; ", why));
    }
    SubmitCollected(state_);
    const bool only_latched = waits_for_ == Look::kLatched;
    state_.reaper.WaitFor(
        seen,
        only_latched ? Wanted::kSignal : (any_latched_ ? Wanted::kEither : Wanted::kCompletion),
        deadline_);
  }
}

void Flusher::Advance(IoBatch& batch) {
  waits_for_ = Look::kDone;
  any_latched_ = false;
  RunWriter writer(state_, {.reserve = ReserveOf(state_)});
  writer.AssertLocked();
  // What matters most about the items that are not done: whether some transfer will help.
  const auto keep = [this](Look look) {
    if (look == Look::kLatched) any_latched_ = true;
    if (look != Look::kLatched || waits_for_ == Look::kDone) waits_for_ = look;
  };
  size_t kept = 0;
  for (Item& item : active_) {
    const Look look = LookAt(item, writer, batch);
    if (look == Look::kDone) continue;
    keep(look);
    active_[kept++] = item;
  }
  active_.resize(kept, Item{});
  for (; next_ < items_.size(); ++next_) {
    Item& item = items_[next_];
    const Look look = LookAt(item, writer, batch);
    if (look == Look::kDone) continue;
    keep(look);
    if (look == Look::kNoRoom) break;
    active_.push_back(item);
  }
  writer.HandOver(batch);
}

Flusher::Look Flusher::LookAt(Item& item, RunWriter& writer, IoBatch& batch) {
  const FrameTable::Capture capture(state_.frames, item.frame);
  const Frame& frame = state_.frames[item.frame];
  const BusyFrame& busy = capture.busy();
  if (frame.state != FrameState::kResident || !frame.HoldsPageOf(file_id_) ||
      frame.page_number() != item.page_number) {
    return Look::kDone;  // it left, which only pages do that were written, or dropped with their
                         // place
  }
  if (item.in_flight) {
    if (busy.latch.write_back() && busy.write_number == item.write_number) {
      return Look::kInFlight;
    }
    item.in_flight = false;
    if (!busy.write_failed) return Look::kDone;
    // Not dirty: somebody has begun to write it again, which is awaited like any other's write.
    if (item.mine && frame.dirty) {
      Note(busy.error);
      return Look::kDone;
    }
  }
  if (busy.latch.write_back()) {
    // Nobody can change it meanwhile, so this write has all that was there at the call.
    EndLatchWait(item);
    item.in_flight = true;
    item.mine = false;
    item.write_number = busy.write_number;
    return Look::kInFlight;
  }
  if (!frame.dirty) {
    EndLatchWait(item);
    return Look::kDone;
  }
  return StartItem(item, busy, writer, batch);
}

Flusher::Look Flusher::StartItem(Item& item, const BusyFrame& busy, RunWriter& writer,
                                 IoBatch& batch) {
  writer.AssertLocked();
  // It is going to be dropped, or else to be written after that.
  if (state_.frames[item.frame].closing && !file_->closing) return Look::kLatched;
  if (busy.latch.held_exclusively()) {
    BeginLatchWait(item);
    return Look::kLatched;
  }
  if (!LogAllowsWrite(state_, item.frame)) {
    log_wanted_ = std::max(log_wanted_, state_.lsns.page(item.frame));
    return Look::kLog;
  }
  switch (writer.Add(item.frame, batch)) {
    case RunWriter::Answer::kNoRoom:
      return Look::kNoRoom;
    case RunWriter::Answer::kFailed:
      EndLatchWait(item);
      Note(writer.error());
      return Look::kDone;
    case RunWriter::Answer::kStarted:
      break;
  }
  EndLatchWait(item);
  item.in_flight = true;
  item.mine = true;
  item.write_number = busy.write_number;
  return Look::kInFlight;
}

void Flusher::BeginLatchWait(Item& item) {
  if (item.latch_wait) return;
  item.latch_wait = true;
  FrameTable::Edit frame(state_.frames, item.frame);
  ++frame.busy().attached;
  frame.busy().latch.BeginWait(PageLatch::Mode::kShared);
}

void Flusher::EndLatchWait(Item& item) {
  if (!item.latch_wait) return;
  item.latch_wait = false;
  {
    FrameTable::Edit frame(state_.frames, item.frame);
    --frame.busy().attached;
    // Writers that were held back for this must look again.
    if (frame.busy().latch.EndWait(PageLatch::Mode::kShared)) state_.PageChanged(item.frame);
  }
  state_.FramesChanged();
}

absl::Status Flusher::Sync() {
  if (Mutated(Mutation::kSkipSync)) return absl::OkStatus();
  IoBatch batch;
  std::optional<uint64_t> target;
  while (true) {
    uint32_t seen;
    {
      io::MutexLock lock(state_.mutex);
      seen = state_.reaper.epoch();
      if (!file_->poison.ok()) return file_->poison;
      // One that is in flight by now may have begun before the last of our writes ended.
      if (!target.has_value()) target = file_->syncs_started + 1;
      if (file_->syncs_ended >= *target) return absl::OkStatus();
      if (!file_->sync_in_flight() && CanStart(state_, batch)) StartSync(state_, *file_, batch);
    }
    if (!batch.empty()) {
      Submit(state_, batch);
      continue;
    }
    if (state_.environment->Expired(deadline_)) {
      return absl::DeadlineExceededError(
          absl::StrCat("Flush of ", file_->path(), ": the sync has not ended yet"));
    }
    SubmitCollected(state_);
    state_.reaper.WaitFor(seen, Wanted::kCompletion, deadline_);
  }
}

}  // namespace fixpool::storage
