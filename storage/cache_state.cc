#include "fixpool/storage/cache_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fixpool::storage {

CacheState::CacheState(arena::PageArena* arena, io::IoEngine* engine, io::Environment* environment,
                       CompletionHandler* handler, Frames frames, Timeouts timeouts,
                       uint32_t read_ahead_pages, std::unique_ptr<ReplacementPolicy> policy,
                       std::optional<uint32_t> free_frames)
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
      joined_reads(engine->joined_depth(), page_bytes),
      free_frames(free_frames) {
  io::MutexLock lock(mutex);
  FrameCountChanged();
}

void CacheState::FrameCountChanged() {
  const uint32_t count = frames.frame_count() - frames.leaving_count();
  frame_count.store(count, std::memory_order_relaxed);
  if (policy->frame_count() != count) policy->SetFrameCount(count);
  low_water = std::min(count / 4, free_frames.value_or(std::min(count / 128, 256u)));
  FramesChanged();
  CallKeeper();
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
  keeper_calls.fetch_add(1);
  environment->Wake(keeper_calls);
}

void CacheState::WakeTasksForFrames() {
  if (!waiters.someone_waits_for_frames()) return;
  const FrameTable::Counts& counts = frames.counts();
  uint32_t to_be_had = frames.available() + counts.evictable;
  if (to_be_had == 0 && transfers < engine->depth()) {
    const bool worth_a_try =
        counts.writable > 0 || (counts.failing > 0 && environment->NowNs() >= retry_writes_at_ns);
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
