#include "fixpool/storage/checkpoint.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fixpool/io/mutex.h"
#include "fixpool/storage/completion_reaper.h"
#include "fixpool/storage/ensure_log.h"
#include "fixpool/storage/flusher.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {
namespace {

// Of one look at the frames, for the sake of those who wait for the lock.
constexpr uint32_t kFramesAtATime = 4096;

std::vector<FileId> WritableFiles(CacheState& state) {
  std::vector<FileId> files;
  io::MutexLock lock(state.mutex);
  for (const FileId id : state.files.Ids()) {
    if (!state.files.at(id).file->read_only()) files.push_back(id);
  }
  return files;
}

// Until nobody is closing it: who does flushes it, but may fail. NotFound: it has been closed.
absl::Status WaitWhileClosing(CacheState& state, FileId id, io::Deadline deadline) {
  while (true) {
    uint32_t seen;
    std::string path;
    {
      io::MutexLock lock(state.mutex);
      seen = state.reaper.epoch();
      const PageFile* const file = state.files.Find(id);
      if (file == nullptr) return UnknownFileStatus(id);
      if (!file->closing) return absl::OkStatus();
      path = file->path();
    }
    if (state.environment->Expired(deadline)) {
      return absl::DeadlineExceededError(
          absl::StrCat("Flush of ", path, ": another thread is closing it still"));
    }
    state.reaper.WaitFor(seen, CompletionReaper::Wanted::kSignal, deadline);
  }
}

bool IsClosing(CacheState& state, FileId id) {
  io::MutexLock lock(state.mutex);
  const PageFile* const file = state.files.Find(id);
  return file != nullptr && file->closing;
}

// `flush` of each, and the first error.
template <typename Flush>
absl::Status ForWritableFiles(CacheState& state, io::Deadline deadline, Flush flush) {
  absl::Status first = CheckNotInHook("Flush");
  if (!first.ok()) return first;
  for (const FileId file : WritableFiles(state)) {
    absl::Status status;
    do {
      status = WaitWhileClosing(state, file, deadline);
      if (status.ok()) status = flush(file);
    } while (absl::IsFailedPrecondition(status) && IsClosing(state, file));
    // Closed meanwhile, and flushed for that, or its changes discarded as somebody wanted.
    if (!absl::IsNotFound(status)) first.Update(status);
  }
  return first;
}

void Lower(std::optional<Lsn>& least, std::optional<Lsn> lsn) {
  if (!lsn.has_value()) return;
  least = least.has_value() ? std::min(*least, *lsn) : *lsn;
}

// Of pages that are dirty or being written, and then of files. That order, because what is written
// goes from the one to the other. None: pages were moved meanwhile, perhaps behind our back.
bool TryFindOldest(CacheState& state, std::optional<Lsn>& oldest) {
  std::optional<uint64_t> moves;
  for (uint32_t first = 0;; first += kFramesAtATime) {
    io::MutexLock lock(state.mutex);
    if (moves.value_or(state.counters.moves) != state.counters.moves) return false;
    moves = state.counters.moves;
    const uint32_t size = state.frames.size();
    const uint32_t end = std::min(size, first + kFramesAtATime);
    for (uint32_t i = first; i < end; ++i) {
      const Lsn lsn = state.lsns.first_dirty(FrameIndex{i});
      if (lsn != Lsn::kNone) Lower(oldest, lsn);
    }
    if (end < size) continue;
    for (const FileId id : state.files.Ids()) {
      const PageFile& file = state.files.at(id);
      Lower(oldest, file.unsynced_lsns.oldest());
      Lower(oldest, file.changes.oldest());
    }
    return true;
  }
}

}  // namespace

absl::Status FlushAllFiles(CacheState& state, io::Deadline deadline) {
  return ForWritableFiles(state, deadline, [&state, deadline](FileId file) {
    return Flusher(state, file, deadline).Run();
  });
}

absl::Status CheckpointAllFiles(CacheState& state, Lsn up_to, io::Deadline deadline) {
  return ForWritableFiles(state, deadline, [&state, up_to, deadline](FileId file) {
    return Flusher(state, file, deadline).RunUpTo(up_to);
  });
}

std::optional<Lsn> OldestDirtyLsn(CacheState& state) {
  if (!state.lsns.in_use()) return std::nullopt;
  std::optional<Lsn> oldest;
  do oldest.reset();
  while (!TryFindOldest(state, oldest));
  return oldest;
}

}  // namespace fixpool::storage
