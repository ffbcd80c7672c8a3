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
      page_data(std::move(frames.data)),
      reaper(engine, environment, handler),
      frames(frames.handles),
      translation(static_cast<uint32_t>(frames.handles.size())),
      policy(std::move(policy)) {}

std::string CacheState::NameOf(const PageId& page) const {
  const PageFile* const file = files.Find(page.file);
  if (file == nullptr) return page.ToString();
  return absl::StrCat("page ", page.page_number, " of ", file->path());
}

}  // namespace fixpool::storage
