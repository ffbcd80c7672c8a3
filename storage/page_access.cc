#include "fixpool/storage/page_access.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/storage/frame_supply.h"
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

PageAccess::PageAccess(CacheState& state, const PageId& page, Intent intent,
                       const AccessOptions& options)
    : state_(state),
      page_(page),
      intent_(intent),
      options_(options),
      mode_(intent == Intent::kRead ? PageLatch::Mode::kShared : PageLatch::Mode::kExclusive) {}

absl::StatusOr<PageHold> PageAccess::Run() {
  IoBatch batch;
  std::optional<io::Deadline> deadline;
  while (true) {
    uint32_t seen;
    Next next;
    io::Deadline retry_at = io::Deadline::Infinite();
    {
      io::MutexLock lock(state_.mutex);
      seen = state_.reaper.epoch();
      next = Step(batch);
      if (next == Next::kWait) {
        if (reason_ == Reason::kFrames) retry_at = NextFrameRetry(state_);
      } else if (next != Next::kAgain) {
        Detach();
      }
    }
    Submit(state_, batch);
    if (next == Next::kGranted) return Grant();
    if (next == Next::kFailed) return error_;
    if (next == Next::kAgain) continue;
    if (!deadline.has_value()) {
      deadline = state_.DeadlineAfter(options_.timeout, state_.timeouts.access);
    }
    if (state_.environment->Expired(*deadline)) {
      io::MutexLock lock(state_.mutex);
      absl::Status status = DeadlineStatus();
      Detach();
      return status;
    }
    using Wanted = CompletionReaper::Wanted;
    const Wanted wanted = reason_ == Reason::kLatch    ? Wanted::kSignal
                          : reason_ == Reason::kFrames ? Wanted::kEither
                                                       : Wanted::kCompletion;
    state_.reaper.WaitFor(seen, wanted, std::min(*deadline, retry_at));
  }
}

PageAccess::Next PageAccess::Step(IoBatch& batch) {
  PageFile* const file = CheckFile();
  if (file == nullptr) return Next::kFailed;
  if (!attached_) frame_ = state_.Find(page_);
  if (frame_ == kNoFrame) return BringIn(*file, batch);
  switch (state_.frames[frame_].state) {
    case FrameState::kLoading:
      Count(&CacheStats::misses);
      Attach();
      return Wait(Reason::kRead);
    case FrameState::kLoadFailed:
      // What could not be read does not matter to a page that is made anew.
      if (intent_ == Intent::kMake) {
        Detach();
        return Next::kAgain;
      }
      return Fail(state_.frames[frame_].error);
    case FrameState::kResident:
      return LatchFrame();
    case FrameState::kFree:
      break;
  }
  FIXPOOL_CHECK(false, "the translation names a free frame");
  return Next::kFailed;
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

PageAccess::Next PageAccess::BringIn(const PageFile& file, IoBatch& batch) {
  const bool exists = page_.page_number < file.page_count;
  if (intent_ == Intent::kRead && !exists) {
    return Fail(
        absl::OutOfRangeError(absl::StrCat("Read of page ", page_.page_number, " of ", file.path(),
                                           ": the file has ", file.page_count, " pages")));
  }
  const bool make = intent_ == Intent::kMake || !exists;
  if (make) {
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

PageAccess::Next PageAccess::BeginRead(AtomicPageWord* word, IoBatch& batch) {
  {
    FrameTable::Edit frame(state_.frames, frame_);
    frame->page = page_;
    frame->state = FrameState::kLoading;
  }
  if (absl::Status status = StartRead(state_, frame_, batch); !status.ok()) {
    state_.frames.PutFree(frame_);
    return Fail(std::move(status));
  }
  state_.Insert(frame_, word);
  state_.policy->OnLoaded(frame_, page_, options_.hint);
  Attach();
  return Next::kAgain;
}

PageAccess::Next PageAccess::InstallMadePage(AtomicPageWord* word) {
  {
    FrameTable::Edit frame(state_.frames, frame_);
    frame->page = page_;
    frame->state = FrameState::kResident;
    frame->dirty = true;
    const PageLatch::Answer answer = frame->latch.TryExclusive(Caller());
    FIXPOOL_CHECK(answer == PageLatch::Answer::kGranted, "a free frame was latched");
  }
  state_.Insert(frame_, word);
  state_.policy->OnLoaded(frame_, page_, options_.hint);
  PageFile& file = state_.files.at(page_.file);
  file.page_count = std::max(file.page_count, page_.page_number + 1);
  word_ = word;
  // The latch is held exclusively until the zeros are there, so that they can wait for the
  // lock to be free.
  needs_zeros_ = true;
  return Next::kGranted;
}

PageAccess::Next PageAccess::LatchFrame() {
  PageLatch::Answer answer;
  {
    FrameTable::Edit frame(state_.frames, frame_);
    answer = frame->latch.Try(mode_, Caller());
    if (answer == PageLatch::Answer::kGranted && intent_ == Intent::kMake) {
      frame->dirty = true;
      needs_zeros_ = true;
    }
  }
  switch (answer) {
    case PageLatch::Answer::kGranted:
      // One who brought the page in has told the policy of it.
      if (!counted_) state_.policy->Hit(frame_, options_.hint);
      Count(&CacheStats::hits);
      word_ = state_.frames[frame_].word;
      return Next::kGranted;
    case PageLatch::Answer::kWouldDeadlock:
      return Fail(absl::FailedPreconditionError(
          absl::StrCat(IntentName(intent_), " of ", state_.NameOf(page_),
                       ": this thread holds a guard of that page and would wait for itself; drop "
                       "the guard first")));
    case PageLatch::Answer::kWaitForHolder:
    case PageLatch::Answer::kWaitForWriteBack:
      break;
  }
  Attach();
  if (!latch_wait_) {
    FrameTable::Edit(state_.frames, frame_)->latch.BeginWait(mode_);
    latch_wait_ = true;
  }
  return Wait(answer == PageLatch::Answer::kWaitForHolder ? Reason::kLatch : Reason::kWriteBack);
}

void PageAccess::Count(uint64_t CacheStats::*counter) {
  if (counted_) return;
  counted_ = true;
  ++(state_.counters.*counter);
}

PageAccess::Next PageAccess::Wait(Reason reason) {
  reason_ = reason;
  if (!waited_) ++state_.counters.waits;
  waited_ = true;
  if (reason == Reason::kFrames && !frame_wait_) {
    frame_wait_ = true;
    ++state_.frame_waiters;
  }
  return Next::kWait;
}

PageAccess::Next PageAccess::Fail(absl::Status error) {
  error_ = std::move(error);
  return Next::kFailed;
}

void PageAccess::Attach() {
  if (attached_) return;
  attached_ = true;
  ++FrameTable::Edit(state_.frames, frame_)->attached;
}

void PageAccess::EndLatchWait() {
  if (!latch_wait_) return;
  latch_wait_ = false;
  if (FrameTable::Edit(state_.frames, frame_)->latch.EndWait(mode_)) state_.reaper.Signal();
}

void PageAccess::Detach() {
  if (frame_wait_) --state_.frame_waiters;
  frame_wait_ = false;
  EndLatchWait();
  if (!attached_) return;
  attached_ = false;
  --FrameTable::Edit(state_.frames, frame_)->attached;
  const Frame& frame = state_.frames[frame_];
  if (frame.pinned()) return;
  if (frame.state == FrameState::kLoadFailed) state_.frames.PutFree(frame_);
  if (state_.frame_waiters > 0) state_.reaper.Signal();
}

absl::Status PageAccess::DeadlineStatus() const {
  const std::string what = absl::StrCat(IntentName(intent_), " of ", state_.NameOf(page_), ": ");
  switch (reason_) {
    case Reason::kRead:
      return absl::DeadlineExceededError(absl::StrCat(what, "its read is still in flight"));
    case Reason::kLatch:
      return absl::DeadlineExceededError(
          absl::StrCat(what, "other threads hold guards of that page"));
    case Reason::kWriteBack:
      return absl::DeadlineExceededError(absl::StrCat(what, "it is still being written to disk"));
    case Reason::kFrames:
      return NoFrameStatus(state_, page_);
    case Reason::kTransfers:
      return absl::DeadlineExceededError(absl::StrCat(
          what, "all of the engine's ", state_.engine->depth(), " transfers are still in flight"));
  }
  return absl::InternalError(what);
}

PageLatch::Caller PageAccess::Caller() const {
  const AtomicPageWord* const word = state_.frames[frame_].word;
  return {.guards_of_this_page = word == nullptr ? 0 : ThreadHolds::CountOf(word),
          .holds_guards = ThreadHolds::Any()};
}

// Without the lock: the latch is ours.
PageHold PageAccess::Grant() {
  PageHold hold(&state_, word_, state_.DataOf(frame_), page_, state_.page_bytes, frame_, mode_);
  if (needs_zeros_) std::memset(hold.data(), 0, hold.size_bytes());
  return hold;
}

}  // namespace fixpool::storage
