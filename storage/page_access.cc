#include "fixpool/storage/page_access.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/storage/frame_supply.h"
#include "fixpool/storage/mutation.h"
#include "fixpool/storage/thread_holds.h"

namespace fixpool::storage {
namespace {

absl::string_view IntentName(Intent intent) {
  switch (intent) {
    case Intent::kRead:
      return "Read";
    case Intent::kWrite:
      return "Write";
    case Intent::kMake:
      return "Make";
  }
  return "?";
}

}  // namespace

PageAccess::PageAccess(CacheState& state, const PageId& page, Intent intent, Caller caller,
                       const AccessOptions& options)
    : state_(state),
      page_(page),
      intent_(intent),
      caller_(caller),
      hint_(options.hint),
      expected_lsn_(intent == Intent::kMake ? Lsn::kNone : options.expected_lsn),
      mode_(intent == Intent::kRead ? PageLatch::Mode::kShared : PageLatch::Mode::kExclusive),
      next_lsn_(intent == Intent::kRead ? Lsn::kNone : state.log_order.NextLsn()) {}

PageAccess::Next PageAccess::Look(IoBatch& batch, ReadAheadPlan& plan) {
  Outcome outcome;
  do outcome = Step(batch, plan);
  while (outcome == Outcome::kAgain);
  if (outcome == Outcome::kWait) return Next::kWait;
  Detach();
  if (outcome != Outcome::kGranted) return Next::kFailed;
  // Who waits for a frame did not look for victims while this one was waited for, and has to mark
  // it as wanted, now that it is held.
  state_.FramesChanged();
  return Next::kGranted;
}

PageAccess::Outcome PageAccess::Step(IoBatch& batch, ReadAheadPlan& plan) {
  PageFile* const file = CheckFile();
  if (file == nullptr) return Outcome::kFailed;
  // One that is attached has come before, and was waited for or seen.
  if (!attached_ && file->changes.IsClosed(page_.page_number)) {
    frame_ = kNoFrame;
    return Wait(Reason::kChange);
  }
  if (!attached_) frame_ = state_.Find(page_);
  if (!noted_) NoteForScans(*file, plan);
  if (frame_ == kNoFrame) return BringIn(*file, batch);
  const bool loading = state_.frames[frame_].state == FrameState::kLoading;
  if (Mutated(Mutation::kTwoFramesForAPage) && loading && !attached_) return BringIn(*file, batch);
  if (Mutated(Mutation::kReadWhileLoading) && loading) return LatchFrame();
  switch (state_.frames[frame_].state) {
    case FrameState::kLoading:
      return AwaitRead();
    case FrameState::kResident:
      return LatchFrame();
    case FrameState::kHole:
    case FrameState::kFree:
      break;
  }
  FIXPOOL_CHECK(false, "the translation names a free frame");
  return Outcome::kFailed;
}

bool PageAccess::IsThrottled() const {
  if (intent_ == Intent::kRead || !state_.MustNotDirty()) return false;
  return frame_ == kNoFrame || !state_.frames[frame_].dirty;
}

PageAccess::Outcome PageAccess::AwaitRead() {
  const BusyFrame& busy = state_.frames.Busy(frame_);
  if (!busy.read_failed) {
    Count(&CacheStats::misses);
    Attach();
    return Wait(Reason::kRead);
  }
  if (intent_ != Intent::kMake && !IsOfJoinedRead(busy.error)) return Fail(busy.error);
  // What could not be read does not matter to a page that is made anew; nor, to any, what could not
  // be read together with it.
  Detach();
  return Outcome::kAgain;
}

void PageAccess::NoteForScans(PageFile& file, ReadAheadPlan& plan) {
  noted_ = true;
  if (intent_ == Intent::kMake || page_.page_number >= file.page_count) return;
  ScanDetector::Access access = ScanDetector::Access::kMissing;
  if (frame_ != kNoFrame) {
    const bool resident = state_.frames[frame_].state == FrameState::kResident;
    access = resident ? ScanDetector::Access::kResident : ScanDetector::Access::kInFlight;
  }
  NoteAccess(state_, file, page_.page_number, access, plan);
}

PageFile* PageAccess::CheckFile() {
  PageFile* const file = state_.files.Find(page_.file);
  if (file == nullptr) {
    error_ = UnknownFileStatus(page_.file);
    return nullptr;
  }
  if (file->closing) {
    error_ = absl::FailedPreconditionError(
        absl::StrCat(IntentName(intent_), " of ", state_.NameOf(page_), ": it is being closed"));
    return nullptr;
  }
  if (expected_lsn_ != Lsn::kNone && file->seal == nullptr) {
    error_ = absl::InvalidArgumentError(absl::StrCat(
        IntentName(intent_), " of ", state_.NameOf(page_),
        ": AccessOptions::expected_lsn of a file whose pages have no seal to tell it"));
    return nullptr;
  }
  payload_bytes_ = file->payload_bytes;
  if (intent_ == Intent::kRead) return file;
  if (file->file->read_only()) {
    error_ = absl::FailedPreconditionError(absl::StrCat(
        IntentName(intent_), " of ", state_.NameOf(page_), ": the file was opened read-only"));
    return nullptr;
  }
  if (!file->poison.ok()) {
    error_ = file->poison;
    return nullptr;
  }
  return file;
}

absl::Status PageAccess::CheckNewPage(const PageFile& file) const {
  const uint64_t limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (page_.page_number >= limit / state_.page_bytes) {
    return absl::OutOfRangeError(absl::StrCat(IntentName(intent_), " of page ", page_.page_number,
                                              " of ", file.path(), ": no file can be that large"));
  }
  if (!file.file->block_device() || page_.page_number < file.page_count) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(IntentName(intent_), " of page ", page_.page_number,
                                            " of ", file.path(), ": the device has ",
                                            file.page_count, " pages"));
}

PageAccess::Outcome PageAccess::BringIn(const PageFile& file, IoBatch& batch) {
  const bool exists = page_.page_number < file.page_count;
  if (intent_ == Intent::kRead && !exists) {
    return Fail(
        absl::OutOfRangeError(absl::StrCat("Read of page ", page_.page_number, " of ", file.path(),
                                           ": the file has ", file.page_count, " pages")));
  }
  const bool make = intent_ == Intent::kMake || !exists;
  if (IsThrottled()) return Wait(Reason::kDirtying);
  if (make) {
    if (expected_lsn_ != Lsn::kNone) return Fail(LostWriteStatus(Lsn::kNone));
    if (absl::Status status = CheckNewPage(file); !status.ok()) return Fail(std::move(status));
    Count(&CacheStats::made);
  } else {
    Count(&CacheStats::misses);
    // What was evicted may or may not have reached the disk.
    if (!file.poison.ok()) return Fail(file.poison);
    if (!CanStart(state_, batch)) return Wait(Reason::kTransfers);
  }
  const absl::StatusOr<AtomicPageWord*> word = file.words->FindOrMake(page_.page_number);
  if (!word.ok()) return Fail(word.status());
  frame_ = TakeFrame(state_, make ? 0 : 1, batch);
  if (frame_ == kNoFrame) return Wait(Reason::kFrames);
  return make ? InstallMadePage(*word) : BeginRead(*word, batch);
}

PageAccess::Outcome PageAccess::BeginRead(AtomicPageWord* word, IoBatch& batch) {
  {
    FrameTable::Edit frame(state_.frames, frame_);
    frame->set_page(page_);
    frame->state = FrameState::kLoading;
    frame.busy().attached = 1;
  }
  if (absl::Status status = StartRead(state_, frame_, batch); !status.ok()) {
    FrameTable::Edit(state_.frames, frame_).busy().attached = 0;
    state_.frames.PutFree(frame_);
    return Fail(std::move(status));
  }
  attached_ = true;
  state_.Insert(frame_, word);
  state_.policy->OnLoaded(frame_, page_, hint_);
  return Wait(Reason::kRead);
}

PageAccess::Outcome PageAccess::InstallMadePage(AtomicPageWord* word) {
  state_.lsns.Reset(frame_);
  {
    FrameTable::Edit frame(state_.frames, frame_);
    frame->set_page(page_);
    frame->state = FrameState::kResident;
    frame->dirty = true;
    const PageLatch::Answer answer = frame.busy().latch.TryExclusive({});
    FIXPOOL_CHECK(answer == PageLatch::Answer::kGranted, "a free frame was latched");
  }
  state_.NoteDirty(frame_, next_lsn_);
  state_.Insert(frame_, word);
  state_.policy->OnLoaded(frame_, page_, hint_);
  PageFile& file = state_.files.at(page_.file);
  file.page_count = std::max(file.page_count, page_.page_number + 1);
  word_ = word;
  // The latch is held exclusively until the zeros are there, so that they can wait for the
  // lock to be free.
  needs_zeros_ = true;
  return Outcome::kGranted;
}

PageAccess::Outcome PageAccess::LatchFrame() {
  if (IsThrottled()) {
    // What it waited for before it has no claim to now: others may read the page, and evict it.
    Detach();
    return Wait(Reason::kDirtying);
  }
  const PageLatch::Answer answer = TryLatch();
  switch (answer) {
    case PageLatch::Answer::kGranted:
      if (intent_ == Intent::kMake) state_.NoteDirty(frame_, next_lsn_);
      // One who brought the page in has told the policy of it.
      if (!counted_) state_.policy->Hit(frame_, hint_);
      Count(&CacheStats::hits);
      return Outcome::kGranted;
    case PageLatch::Answer::kWouldDeadlock:
      return Fail(absl::FailedPreconditionError(
          absl::StrCat(IntentName(intent_), " of ", state_.NameOf(page_),
                       ": this thread holds a guard of that page and would wait for itself; drop "
                       "the guard first")));
    case PageLatch::Answer::kWaitForHolder:
    case PageLatch::Answer::kWaitForWriteBack:
      break;
  }
  return Wait(answer == PageLatch::Answer::kWaitForHolder ? Reason::kLatch : Reason::kWriteBack);
}

// All of it in one Edit: between two, the page would go back to its word, and whoever holds it
// could let go of it there without hearing that somebody waits.
PageLatch::Answer PageAccess::TryLatch() {
  FrameTable::Edit frame(state_.frames, frame_);
  BusyFrame& busy = frame.busy();
  word_ = busy.word;
  const bool asks_who = busy.latch.asks_who();
  const PageLatch::Answer answer =
      busy.latch.Try(mode_, asks_who ? LatchCaller(word_) : PageLatch::Caller());
  switch (answer) {
    case PageLatch::Answer::kGranted:
      if (intent_ == Intent::kMake) {
        frame->dirty = true;
        needs_zeros_ = true;
      }
      busy.watched = false;  // this was the access
      // Here, where it costs little; what else there is to let go of, Detach does.
      if (attached_) --busy.attached;
      attached_ = false;
      break;
    case PageLatch::Answer::kWouldDeadlock:
      break;
    case PageLatch::Answer::kWaitForHolder:
    case PageLatch::Answer::kWaitForWriteBack:
      if (!attached_) ++busy.attached;
      attached_ = true;
      if (!latch_wait_) busy.latch.BeginWait(mode_);
      latch_wait_ = true;
      break;
  }
  return answer;
}

void PageAccess::Count(uint64_t CacheStats::*counter) {
  if (counted_) return;
  counted_ = true;
  ++(state_.counters.*counter);
}

PageAccess::Outcome PageAccess::Wait(Reason reason) {
  reason_ = reason;
  if (!waited_) ++state_.counters.waits;
  waited_ = true;
  if (reason == Reason::kFrames && !frame_wait_) {
    frame_wait_ = true;
    ++state_.frame_waiters;
  }
  return Outcome::kWait;
}

PageAccess::Outcome PageAccess::Fail(absl::Status error) {
  error_ = std::move(error);
  return Outcome::kFailed;
}

void PageAccess::Attach() {
  if (attached_) return;
  attached_ = true;
  ++FrameTable::Edit(state_.frames, frame_).busy().attached;
}

void PageAccess::EndLatchWait() {
  if (!latch_wait_) return;
  latch_wait_ = false;
  if (FrameTable::Edit(state_.frames, frame_).busy().latch.EndWait(mode_)) {
    state_.PageChanged(frame_);
  }
}

void PageAccess::Detach() {
  if (frame_wait_) --state_.frame_waiters;
  frame_wait_ = false;
  EndLatchWait();
  if (!attached_) return;
  attached_ = false;
  --FrameTable::Edit(state_.frames, frame_).busy().attached;
  const BusyFrame& busy = state_.frames.Busy(frame_);
  if (busy.pinned()) return;
  if (busy.read_failed) state_.frames.PutFree(frame_);
  state_.FramesChanged();
}

absl::Status PageAccess::GiveUp() {
  absl::Status status = DeadlineStatus();
  Detach();
  return status;
}

absl::Status PageAccess::DeadlineStatus() const {
  const std::string what = absl::StrCat(IntentName(intent_), " of ", state_.NameOf(page_), ": ");
  switch (reason_) {
    case Reason::kRead:
      return absl::DeadlineExceededError(absl::StrCat(what, "its read is still in flight"));
    case Reason::kLatch:
      return absl::DeadlineExceededError(absl::StrCat(what, "others hold guards of that page"));
    case Reason::kWriteBack:
      return absl::DeadlineExceededError(absl::StrCat(what, "it is still being written to disk"));
    case Reason::kFrames:
      return NoFrameStatus(state_, page_);
    case Reason::kDirtying:
      return absl::ResourceExhaustedError(
          absl::StrCat(what, "too many pages are dirty (", state_.frames.counts().dirty, " of ",
                       state_.frames.frame_count(),
                       " frames), and they are written more slowly than others are ",
                       "changed. Allow a longer timeout, or give the cache more memory"));
    case Reason::kChange:
      return absl::DeadlineExceededError(
          absl::StrCat(what, "another thread allocates, frees or truncates pages there"));
    case Reason::kTransfers:
      return absl::DeadlineExceededError(absl::StrCat(
          what, "all of the engine's ", state_.engine->depth(), " transfers are still in flight"));
  }
  return absl::InternalError(what);
}

PageLatch::Caller PageAccess::LatchCaller(const AtomicPageWord* word) const {
  const bool others_are_held_up = caller_ == Caller::kThread;
  return {.guards_of_this_page = others_are_held_up ? ThreadHolds::CountOf(word) : 0,
          .holds_guards = ThreadHolds::Any()};
}

absl::Status PageAccess::LostWriteStatus(Lsn found) {
  ++state_.counters.lost_writes;
  return absl::DataLossError(absl::StrCat(IntentName(intent_), " of ", state_.NameOf(page_),
                                          ": expected LSN ", ToInt(expected_lsn_), ", found ",
                                          ToInt(found), "; a write of the page was lost"));
}

// Without the lock: the latch is ours.
absl::StatusOr<PageHold> PageAccess::TakeHold() {
  PageHold hold(&state_, word_, state_.DataOf(frame_), page_, payload_bytes_, Load(*word_), mode_);
  // The seal's trailer, too.
  if (needs_zeros_) std::memset(hold.data(), 0, state_.page_bytes);
  if (ABSL_PREDICT_FALSE(expected_lsn_ != Lsn::kNone && hold.lsn() < expected_lsn_)) {
    io::MutexLock lock(state_.mutex);
    return LostWriteStatus(hold.lsn());
  }
  return hold;
}

}  // namespace fixpool::storage
