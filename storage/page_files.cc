#include "fixpool/storage/page_files.h"

#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/storage/double_write_area.h"
#include "fixpool/storage/ensure_log.h"
#include "fixpool/storage/file_protection.h"
#include "fixpool/storage/flusher.h"
#include "fixpool/storage/page_seal.h"

namespace fixpool::storage {
namespace {

absl::Status CheckAlignment(const CacheState& state, const io::File& file) {
  const io::File::Alignment alignment = file.alignment();
  if (state.page_bytes % alignment.offset_bytes == 0 &&
      state.page_bytes % alignment.memory_bytes == 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "OpenFile of ", file.path(), ": direct I/O on it needs lengths that are multiples of ",
      alignment.offset_bytes, " bytes and addresses that are multiples of ", alignment.memory_bytes,
      ", which pages of ", state.page_bytes,
      " bytes are not; use larger pages or FileOptions::direct = kNever"));
}

absl::Status Preallocate(const CacheState& state, io::File& file, uint64_t size_bytes) {
  if (size_bytes == 0) return absl::OkStatus();
  const uint64_t last_bytes = size_bytes % state.page_bytes;
  const uint64_t padding_bytes = last_bytes == 0 ? 0 : state.page_bytes - last_bytes;
  if (size_bytes > std::numeric_limits<int64_t>::max() - padding_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "OpenFile of ", file.path(), ": no file can have ", size_bytes, " preallocated bytes"));
  }
  return file.Preallocate(0, size_bytes + padding_bytes);
}

absl::Status CheckOptions(absl::string_view path, bool read_only, const FileOptions& options) {
  if (!read_only || options.preallocate_bytes == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("OpenFile of ", path, ": read_only and preallocate_bytes exclude each other"));
}

absl::Status CheckSeal(const CacheState& state, absl::string_view path,
                       const FileOptions& options) {
  if (options.seal == nullptr) return absl::OkStatus();
  if (options.identity == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "OpenFile of ", path, ": a sealed file needs an identity of its own, other than 0, which ",
        "the caller chooses when the file is made; see FileOptions::identity"));
  }
  const uint32_t trailer_bytes = options.seal->trailer_bytes();
  if (trailer_bytes % 8 == 0 && trailer_bytes <= state.page_bytes / 2) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "OpenFile of ", path, ": its seal wants ", trailer_bytes, " of the ", state.page_bytes,
      " bytes of a page, where a multiple of 8 and at most half can be had"));
}

// Everything about the file that needs no lock.
absl::StatusOr<PageFile> Unlisted(CacheState& state, std::shared_ptr<io::File> file,
                                  const FileOptions& options) {
  if (absl::Status status = CheckAlignment(state, *file); !status.ok()) return status;
  if (absl::Status status = CheckSeal(state, file->path(), options); !status.ok()) return status;
  if (absl::Status status = Preallocate(state, *file, options.preallocate_bytes); !status.ok()) {
    return status;
  }
  const absl::StatusOr<uint64_t> size_bytes = file->SizeBytes();
  if (!size_bytes.ok()) return size_bytes.status();
  PageFile opened;
  opened.file = std::move(file);
  opened.payload_bytes = state.page_bytes;
  if (options.seal != nullptr) {
    opened.seal = options.seal;
    opened.identity = options.identity;
    opened.payload_bytes -= options.seal->trailer_bytes();
  }
  // A file may end inside a page. A device's last piece, if smaller, cannot be written back.
  const bool partial_page = !opened.file->block_device() && *size_bytes % state.page_bytes != 0;
  opened.page_count = *size_bytes / state.page_bytes + (partial_page ? 1 : 0);
  if (state.read_ahead_pages > 0) opened.scans = std::make_unique<FileScans>();
  return opened;
}

// Makes it one of the cache's files.
absl::StatusOr<PageFile*> List(CacheState& state, PageFile file)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  absl::StatusOr<PageFile*> listed = state.files.Add(std::move(file));
  if (!listed.ok()) return listed;
  const FileId id = (*listed)->id;
  const absl::StatusOr<FileWords*> words = state.words.Open(id);
  if (!words.ok()) {
    state.files.Remove(id);
    return words.status();
  }
  (*words)->set_payload_bytes((*listed)->payload_bytes);
  if ((*listed)->seal != nullptr) {
    state.sealed_files.fetch_add(1);
    state.lsns.StartUsing();
  }
  if ((*listed)->area != nullptr) state.double_write_files.fetch_add(1);
  (*listed)->words = *words;
  state.UpdateWritable(**listed);
  return listed;
}

// It stays open after all.
void EndClose(CacheState& state, PageFile& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  file.closing = false;
  file.words->set_generation(file.id.generation());
  for (uint32_t i = 0; i < state.frames.size(); ++i) {
    const Frame& frame = state.frames[FrameIndex{i}];
    if (!frame.closing || !frame.HoldsPageOf(file.id)) continue;
    FrameTable::Edit(state.frames, FrameIndex{i})->closing = false;
  }
  state.FramesChanged();  // its dirty pages may be written for others again
  state.reaper.Signal();  // for who waits for the end of this: see checkpoint.cc
}

// Closes the file to everybody but the caller.
absl::Status BeginClose(CacheState& state, FileId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  PageFile* const file = state.files.Find(id);
  if (file == nullptr) return UnknownFileStatus(id);
  if (file->closing) {
    return absl::FailedPreconditionError(
        absl::StrCat("CloseFile of ", file->path(), ": another thread is closing it"));
  }
  if (file->changes.any()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "CloseFile of ", file->path(), ": another thread allocates, frees or truncates pages"));
  }
  // From now on whoever latches a page without the lock lets go of it again, and soon nobody
  // can any more.
  file->words->LetNobodyIn();
  for (uint32_t i = 0; i < state.frames.size(); ++i) {
    const Frame& frame = state.frames[FrameIndex{i}];
    if (!frame.HoldsPageOf(id)) continue;
    FrameTable::Edit(state.frames, FrameIndex{i})->closing = true;
    const BusyFrame& busy = state.frames.Busy(FrameIndex{i});
    if (!busy.pinned()) continue;
    absl::Status refusal = absl::FailedPreconditionError(absl::StrCat(
        "CloseFile of ", file->path(), ": page ", frame.page_number(),
        busy.latch.held() ? " is held by a guard; drop it first" : " is being waited for"));
    EndClose(state, *file);
    return refusal;
  }
  file->closing = true;
  return absl::OkStatus();
}

absl::Status FlushToClose(CacheState& state, FileId id, const CloseOptions& options,
                          io::Deadline deadline) {
  if (options.discard_changes) return absl::OkStatus();
  return Flusher(state, id, deadline).RunToClose();
}

// Until no transfer of the file is in flight and no flush is at work on it.
absl::Status WaitUntilIdle(CacheState& state, FileId id, io::Deadline deadline) {
  while (true) {
    uint32_t seen;
    bool in_flight;
    {
      io::MutexLock lock(state.mutex);
      seen = state.reaper.epoch();
      const PageFile& file = state.files.at(id);
      if (file.in_flight == 0 && file.flushes == 0) return absl::OkStatus();
      in_flight = file.in_flight > 0;
      if (state.environment->Expired(deadline)) {
        return absl::DeadlineExceededError(
            absl::StrCat("CloseFile of ", file.path(), ": ", file.in_flight,
                         " transfers are still in flight; the file stays open"));
      }
    }
    SubmitCollected(state);
    state.reaper.WaitFor(
        seen, in_flight ? CompletionReaper::Wanted::kCompletion : CompletionReaper::Wanted::kSignal,
        deadline);
  }
}

void DropPages(CacheState& state, FileId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  std::unique_ptr<FileScans>& scans = state.files.at(id).scans;
  if (scans != nullptr) state.counters.read_ahead_wasted += scans->detector().abandoned();
  scans.reset();
  for (uint32_t i = 0; i < state.frames.size(); ++i) {
    const FrameIndex index{i};
    if (!state.frames[index].HoldsPageOf(id)) continue;
    state.Erase(index);
    state.policy->OnDropped(index);
    state.lsns.Reset(index);
    FrameTable::Edit(state.frames, index)->dirty = false;
    state.frames.PutFree(index);
  }
}

}  // namespace

absl::StatusOr<FileId> OpenPageFile(CacheState& state, const std::string& path,
                                    const FileOptions& options) {
  if (absl::Status status = CheckOptions(path, options.read_only, options); !status.ok()) {
    return status;
  }
  absl::StatusOr<std::shared_ptr<io::File>> file =
      io::File::Open(path, {.create = options.create,
                            .read_only = options.read_only,
                            .direct = options.direct,
                            .locking = options.locking,
                            .lock_timeout = options.lock_timeout,
                            .mode = options.mode,
                            .environment = state.environment});
  if (!file.ok()) return file.status();
  return OpenPageFile(state, *std::move(file), options);
}

absl::StatusOr<FileId> OpenPageFile(CacheState& state, std::shared_ptr<io::File> file,
                                    const FileOptions& options) {
  if (file == nullptr) return absl::InvalidArgumentError("OpenFile: the file is null");
  if (absl::Status status = CheckOptions(file->path(), file->read_only(), options); !status.ok()) {
    return status;
  }
  {
    // Before anything is done to it: recovery would take writes that others have in flight for
    // torn.
    io::MutexLock lock(state.mutex);
    if (absl::Status status = state.files.CheckNotOpen(*file); !status.ok()) return status;
  }
  absl::StatusOr<PageFile> opened = Unlisted(state, std::move(file), options);
  if (!opened.ok()) return opened.status();
  const absl::StatusOr<io::FileHandle> handle = state.engine->AddFile(opened->file);
  if (!handle.ok()) return handle.status();
  opened->handle = *handle;
  absl::Status status = ProtectFile(state, *opened, options);
  const std::shared_ptr<DoubleWriteArea> area = opened->area;
  if (status.ok()) {
    io::MutexLock lock(state.mutex);
    const absl::StatusOr<PageFile*> listed = List(state, *std::move(opened));
    if (listed.ok()) return (*listed)->id;
    status = listed.status();
  }
  const io::Deadline deadline = state.environment->DeadlineAfter(state.timeouts.flush);
  if (area != nullptr) UnprotectFile(state, *area, deadline);
  // Nothing is in flight on it, unless that took too long.
  (void)state.engine->RemoveFile(*handle, deadline);
  return status;
}

absl::Status ClosePageFile(CacheState& state, FileId id, const CloseOptions& options) {
  if (absl::Status status = CheckNotInHook("CloseFile"); !status.ok()) return status;
  const io::Deadline deadline = state.DeadlineAfter(options.timeout, state.timeouts.flush);
  {
    io::MutexLock lock(state.mutex);
    if (absl::Status status = BeginClose(state, id); !status.ok()) return status;
  }
  absl::Status status = FlushToClose(state, id, options, deadline);
  if (status.ok()) status = WaitUntilIdle(state, id, deadline);
  std::shared_ptr<io::File> file;
  std::shared_ptr<const PageSeal> seal;
  std::shared_ptr<DoubleWriteArea> area;
  io::FileHandle handle;
  {
    io::MutexLock lock(state.mutex);
    PageFile& closing = state.files.at(id);
    if (!status.ok()) {
      EndClose(state, closing);
      return status;
    }
    file = closing.file;  // its descriptor is closed without the lock
    seal = closing.seal;  // the caller's, and so likewise
    if (seal != nullptr) state.sealed_files.fetch_sub(1);
    area = closing.area;
    if (area != nullptr) state.double_write_files.fetch_sub(1);
    handle = closing.handle;
    DropPages(state, id);
    state.words.Close(id);
    state.files.Remove(id);
    state.FramesChanged();
    state.LiftThrottle();
  }
  state.reaper.Signal();  // for who waits for the end of this: see checkpoint.cc
  // The file is closed, whatever time there was for that.
  if (area != nullptr) {
    UnprotectFile(state, *area, state.environment->DeadlineAfter(state.timeouts.flush));
  }
  // Nothing is in flight on it; and whatever the engine says, the file is closed.
  if (absl::Status removed = state.engine->RemoveFile(handle, deadline); !removed.ok()) {
    state.environment->Report(
        io::Severity::kWarning,
        absl::StrCat("CloseFile of ", file->path(), ": the engine keeps it: ", removed.message()));
  }
  return absl::OkStatus();
}

}  // namespace fixpool::storage
