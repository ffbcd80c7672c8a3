#include "fixpool/storage/cache_state.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace fixpool::storage {

CacheState::CacheState(arena::PageArena* arena, io::IoEngine* engine, io::Environment* environment,
                       CompletionHandler* handler, Frames frames, Timeouts timeouts,
                       std::unique_ptr<ReplacementPolicy> policy)
    : arena(arena),
      engine(engine),
      environment(environment),
      page_bytes(static_cast<uint32_t>(arena->page_bytes())),
      timeouts(timeouts),
      addresses(std::move(frames.addresses)),
      reaper(engine, environment, handler),
      frames(addresses.size(), frames.places, &words.epoch()),
      policy(std::move(policy)) {}

FrameIndex CacheState::Find(const PageId& page) const {
  const AtomicPageWord* const word = files.at(page.file).words->FindAny(page.page_number);
  if (word == nullptr) return kNoFrame;
  const PageWord seen = Load(*word);
  return seen.present() ? seen.frame() : kNoFrame;
}

void CacheState::Insert(FrameIndex frame, AtomicPageWord* word) {
  frames.Bind(frame, word);
  const PageId& page = frames[frame].page;
  files.at(page.file).words->CountIn(page.page_number);
}

void CacheState::Erase(FrameIndex frame) {
  frames.Unbind(frame);
  const PageId& page = frames[frame].page;
  files.at(page.file).words->CountOut(page.page_number);
}

std::string CacheState::NameOf(const PageId& page) const {
  const PageFile* const file = files.Find(page.file);
  if (file == nullptr) return page.ToString();
  return absl::StrCat("page ", page.page_number, " of ", file->path());
}

}  // namespace fixpool::storage
