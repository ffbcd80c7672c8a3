#include "fixpool/storage/cache_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fixpool::storage {
namespace {

// Of the frames, those that can be had without a write while others change pages: enough for the
// misses of the time that a batch of writes takes.
constexpr uint32_t kCleanShare = 16;
constexpr uint32_t kMostClean = 4096;

// As far as is known here: pages that are held by their words alone count as well.
uint32_t CleanToBeHad(const FrameTable::Counts& counts) { return counts.free + counts.evictable; }

}  // namespace

CacheState::CacheState(arena::PageArena* arena, io::IoEngine* engine, io::Environment* environment,
                       CompletionHandler* handler, Frames frames, Timeouts timeouts,
                       uint32_t read_ahead_pages, std::unique_ptr<ReplacementPolicy> policy,
                       BackgroundNeeds background, WriteAheadLog* log)
    : arena(arena),
      engine(engine),
      environment(environment),
      page_bytes(static_cast<uint32_t>(arena->page_bytes())),
      timeouts(timeouts),
      max_frames(frames.max_frames),
      read_ahead_pages(read_ahead_pages),
      addresses(std::move(frames.addresses)),
      address_bytes(addresses.size_bytes()),
      reaper(engine, environment, handler),
      frames(std::move(frames.memory), std::move(frames.places), &words),
      lsns(addresses.size(), addresses.max_size()),
      frame_count(0),
      policy(std::move(policy)),
      joined_reads(engine->joined_depth() - engine->joined_depth() / 4, page_bytes),
      joined_writes(engine->joined_depth() / 4, page_bytes),
      background(background),
      log_order(log) {
  if (log != nullptr) lsns.StartUsing();
  io::MutexLock lock(mutex);
  FrameCountChanged();
}

void CacheState::FrameCountChanged() {
  const uint32_t count = frames.frame_count() - frames.leaving_count();
  frame_count.store(count, std::memory_order_relaxed);
  if (policy->frame_count() != count) policy->SetFrameCount(count);
  low_water = std::min(count / 4, background.free_frames.value_or(std::min(count / 128, 256u)));
  dirty_mark = static_cast<uint32_t>(count * std::clamp(background.dirty_share, 0.0, 1.0));
  clean_mark = std::min(count / kCleanShare, kMostClean);
  FramesChanged();
  LiftThrottle();
  CallKeeper();
  CallWriter();
}

FrameIndex CacheState::Find(const PageId& page) const {
  const AtomicPageWord* const word = files.at(page.file).words->FindAny(page.page_number);
  if (word == nullptr) return kNoFrame;
  const PageWord seen = Load(*word);
  return seen.present() ? seen.frame() : kNoFrame;
}

void CacheState::Insert(FrameIndex frame, AtomicPageWord* word) {
  frames.Bind(frame, word);
  FileOf(frame).words->CountIn(frames[frame].page_number());
}

void CacheState::Erase(FrameIndex frame) {
  frames.Unbind(frame);
  FileOf(frame).words->CountOut(frames[frame].page_number());
}

bool CacheState::TryVacate(FrameIndex frame) {
  if (!frames.TryVacate(frame)) return false;
  FileOf(frame).words->CountOut(frames[frame].page_number());
  return true;
}

void CacheState::PageChanged(FrameIndex frame) {
  waiters.WakeForPage(frame);
  reaper.Signal();
}

void CacheState::FramesChanged() {
  if (frame_waiters == 0) return;
  WakeTasksForFrames();
  reaper.Signal();
}

void CacheState::CallKeeper() {
  if (!keeper_sleeps || frames.available() >= low_water) return;
  keeper_sleeps = false;
  background_calls.fetch_add(1);
  environment->Wake(background_calls);
}

void CacheState::CallWriter() {
  if (!writer_sleeps) return;
  const bool enough = frames.counts().dirty <= dirty_mark;
  if (enough && !throttled && !writes_wanted && !log_order.wants()) return;
  writer_sleeps = false;
  background_calls.fetch_add(1);
  environment->Wake(background_calls);
}

void CacheState::NoteDirty(FrameIndex frame, Lsn first_dirty) {
  if (first_dirty != Lsn::kNone && lsns.first_dirty(frame) == Lsn::kNone) {
    lsns.set_first_dirty(frame, first_dirty);
  }
  if (!background_works()) return;
  if (!throttled && CleanToBeHad(frames.counts()) < clean_mark) {
    throttled = true;
    for (const FileId id : files.Ids()) UpdateWritable(files.at(id));
  }
  CallWriter();
}

bool CacheState::MustNotDirty() const {
  // Where nothing can be written it would be for ever: what is dirty is held, or of a file that
  // takes no writes.
  const FrameTable::Counts& counts = frames.counts();
  return throttled && !throttle_in_vain && counts.writable + counts.in_flight > 0;
}

void CacheState::LiftThrottle() {
  if (!throttled) return;
  // Little more: who is held up until many pages have been written waits long, and then makes as
  // many dirty at once.
  if (CleanToBeHad(frames.counts()) < clean_mark + clean_mark / 16) {
    if (!MustNotDirty()) WakeThrottled();
    return;
  }
  throttled = throttle_in_vain = false;
  for (const FileId id : files.Ids()) UpdateWritable(files.at(id));
  WakeThrottled();
}

void CacheState::WakeThrottled() {
  waiters.WakeForDirtying();
  reaper.Signal();
  throttle_changes.fetch_add(1);
  environment->Wake(throttle_changes);
}

void CacheState::UpdateWritable(PageFile& file) {
  file.words->set_writable(!throttled && !file.file->read_only() && file.poison.ok());
}

void CacheState::WakeTasksForFrames() {
  if (!waiters.someone_waits_for_frames()) return;
  const FrameTable::Counts& counts = frames.counts();
  uint32_t to_be_had = frames.available() + counts.evictable;
  if (to_be_had == 0 && transfers < engine->depth()) {
    const bool worth_a_try =
        counts.writable > 0 || (counts.failing > 0 && environment->NowNs() >= retry_failed_at_ns());
    // One who looks has them written, and others find them clean.
    if (worth_a_try) to_be_had = 1;
  }
  waiters.WakeForFrames(to_be_had);
}

void CacheState::WakeTasksForTransfers() {
  if (!waiters.someone_waits_for_transfers()) return;
  const uint32_t depth = engine->depth();
  if (transfers < depth) waiters.WakeForTransfers(depth - transfers);
}

bool CacheState::CollectedIsEnough() const {
  constexpr size_t kFewest = 4;
  constexpr size_t kMost = 16;
  if (collected.size() < kFewest) return false;
  return collected.size() >= kMost || collected.size() * 8 >= transfers;
}

std::string CacheState::NameOf(const PageId& page) const {
  const PageFile* const file = files.Find(page.file);
  if (file == nullptr) return page.ToString();
  return absl::StrCat("page ", page.page_number, " of ", file->path());
}

}  // namespace fixpool::storage
