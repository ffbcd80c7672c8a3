#include "fixpool/storage/page_sealing.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "fixpool/io/mutex.h"
#include "fixpool/storage/mutation.h"
#include "fixpool/storage/page_file_table.h"
#include "fixpool/storage/page_seal.h"

namespace fixpool::storage {
namespace {

// Pages whose names are looked up at a time.
constexpr size_t kAtATime = 64;

struct SealedPage {
  FrameIndex frame;
  const PageSeal* seal;  // of a file that stays open: a transfer of it has not been booked
  PageSeal::Place place;
};

using SealedPages = std::array<SealedPage, kAtATime>;

// Those of the frames, at most kAtATime, whose page is of a sealed file; how many there are.
size_t LookUp(CacheState& state, absl::Span<const FrameIndex> frames, SealedPages& pages) {
  io::MutexLock lock(state.mutex);
  size_t count = 0;
  for (const FrameIndex frame : frames) {
    const PageFile& file = state.FileOf(frame);
    if (file.seal == nullptr) continue;
    pages[count++] = {.frame = frame,
                      .seal = file.seal.get(),
                      .place = {.page_number = state.frames[frame].page_number(),
                                .file_identity = file.identity}};
  }
  return count;
}

// Calls visit(page, bytes) for each of the frames whose page is of a sealed file.
template <typename Visit>
void ForSealed(CacheState& state, absl::Span<const FrameIndex> frames, Visit visit) {
  if (state.sealed_files.load() == 0) return;
  SealedPages pages;
  while (!frames.empty()) {
    const size_t taken = std::min(frames.size(), kAtATime);
    const size_t count = LookUp(state, frames.first(taken), pages);
    frames.remove_prefix(taken);
    for (const SealedPage& page : absl::MakeConstSpan(pages.data(), count)) {
      visit(page, std::span<std::byte>(state.DataOf(page.frame), state.page_bytes));
    }
  }
}

void BookBadPage(CacheState& state, FrameIndex frame, const absl::Status& status, BadPages& bad) {
  std::string message;
  {
    io::MutexLock lock(state.mutex);
    ++state.counters.seal_errors;
    message = absl::StrCat(state.NameOf(state.PageIn(frame)),
                           " was read and is not what was written there: ", status.message());
  }
  state.environment->Report(io::Severity::kError, message);
  bad.Add(frame, absl::DataLossError(message));
}

}  // namespace

void SealPages(CacheState& state, absl::Span<const FrameIndex> frames) {
  ForSealed(state, frames, [&state](const SealedPage& page, std::span<std::byte> bytes) {
    page.seal->Seal(bytes, page.place, state.lsns.page(page.frame));
  });
}

absl::Status BadPages::StatusOf(FrameIndex frame) const {
  for (const Page& page : pages_) {
    if (page.frame == frame) return page.status;
  }
  return absl::OkStatus();
}

void VerifyPages(CacheState& state, absl::Span<const FrameIndex> frames, BadPages& bad) {
  ForSealed(state, frames, [&state, &bad](const SealedPage& page, std::span<std::byte> bytes) {
    const absl::StatusOr<Lsn> lsn = page.seal->Verify(bytes, page.place);
    if (lsn.ok()) {
      state.lsns.set_page(page.frame, *lsn);
    } else if (!IsAllZeros(bytes) && !Mutated(Mutation::kAcceptTornPage)) {
      BookBadPage(state, page.frame, lsn.status(), bad);
    }
  });
}

}  // namespace fixpool::storage
