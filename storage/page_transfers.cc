#include "fixpool/storage/page_transfers.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/io/error.h"
#include "fixpool/storage/page_sealing.h"

namespace fixpool::storage {
namespace {

// What a completion is about, in IoRequest::user_data: the kind above the index of a frame
// or, of a sync, the slot of a file, or, of a joined read, its place among these.
enum class TransferKind : uint8_t { kRead, kWrite, kSync, kJoinedRead };

uint64_t UserData(TransferKind kind, uint32_t index) {
  return uint64_t{static_cast<uint8_t>(kind)} << 32 | index;
}
TransferKind KindOf(uint64_t user_data) { return static_cast<TransferKind>(user_data >> 32); }
uint32_t IndexOf(uint64_t user_data) { return static_cast<uint32_t>(user_data); }

// In a frame's error.
constexpr absl::string_view kJoinedReadUrl = "fixpool/joined_read";

// Pages whose write failed are left alone for this long, then twice as long, ...
constexpr int64_t kFirstWritePauseNs = 10'000'000;
constexpr int64_t kLongestWritePauseNs = 1'000'000'000;

absl::Status CheckHandle(const CacheState& state, FrameIndex index, const arena::PageHandle& handle,
                         absl::string_view operation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  const std::optional<io::ValidationError> error = state.arena->Check(handle);
  if (!error.has_value()) return absl::OkStatus();
  return io::ValidationStatus(
      *error, absl::StrCat(operation, " of ", state.NameOf(state.PageIn(index)),
                           ": refused, because the handle of its frame is not valid (",
                           io::ValidationErrorName(*error),
                           "): ", state.arena->Validate(handle).message()));
}

void AddTransfer(CacheState& state, TransferKind kind, FrameIndex index, io::RegionId region,
                 IoBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  PageFile& file = state.FileOf(index);
  ++file.in_flight;
  ++state.transfers;
  batch.Add(
      {.operation = kind == TransferKind::kRead ? io::IoOperation::kRead : io::IoOperation::kWrite,
       .file = file.handle,
       .region = region,
       .data = state.DataOf(index),
       .length_bytes = state.page_bytes,
       .offset_bytes = state.frames[index].page_number() * state.page_bytes,
       .user_data = UserData(kind, ToInt(index))});
}

void BookFailedWrite(CacheState& state, FrameIndex index, const absl::Status& status)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  FrameTable::Edit frame(state.frames, index);
  frame->dirty = true;
  frame.busy().write_failed = true;
  frame.busy().error = status;
  ++state.counters.write_errors;
  state.write_pause_ns =
      std::clamp(state.write_pause_ns * 2, kFirstWritePauseNs, kLongestWritePauseNs);
  state.retry_writes_at_ns = state.environment->NowNs() + state.write_pause_ns;
}

// The page is there, or its read failed.
void EndPage(CacheState& state, FrameIndex index, const absl::Status& status)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  if (status.ok()) {
    FrameTable::Edit(state.frames, index)->state = FrameState::kResident;
    return;
  }
  state.Erase(index);
  state.policy->OnDropped(index);
  {
    FrameTable::Edit frame(state.frames, index);
    frame.busy().read_failed = true;
    frame.busy().error = status;
  }
  if (!state.frames.IsPinned(index)) state.frames.PutFree(index);
}

void EndRead(CacheState& state, FrameIndex index, const absl::Status& status, const BadPages& bad)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  --state.FileOf(index).in_flight;
  if (!status.ok()) ++state.counters.read_errors;
  EndPage(state, index, status.ok() ? bad.StatusOf(index) : status);
}

// A failed one fails nobody: those who wait for a page of it read that page alone (IsOfJoinedRead),
// and where nobody does, it is as if it had never been asked for.
void EndJoinedRead(CacheState& state, JoinedRead& read, const absl::Status& status,
                   const BadPages& bad) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  --state.files.at(read.file).in_flight;
  absl::Status of_pages;
  if (!status.ok()) {
    ++state.counters.read_errors;
    of_pages = status;
    of_pages.SetPayload(kJoinedReadUrl, absl::Cord());
  }
  for (const FrameIndex index : read.pages()) {
    EndPage(state, index, status.ok() ? bad.StatusOf(index) : of_pages);
    state.waiters.WakeForPage(index);
  }
  state.joined_reads.Return(&read);
}

// Returns what the sink should hear, or nothing.
std::string EndWrite(CacheState& state, FrameIndex index, const absl::Status& status)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  const bool was_failing = state.frames.Busy(index).write_failed;
  PageFile& file = state.FileOf(index);
  --file.in_flight;
  {
    FrameTable::Edit frame(state.frames, index);
    frame.busy().latch.EndWriteBack();
    if (status.ok()) {
      frame.busy().write_failed = false;
      frame.busy().error = absl::OkStatus();
      // Of a file that cannot be synced, nothing is believed to be on disk.
      frame->dirty = !file.poison.ok();
    }
  }
  if (!status.ok()) {
    BookFailedWrite(state, index, status);
    state.policy->OnWriteFailed(index);
    if (was_failing) return "";
    return absl::StrCat(state.NameOf(state.PageIn(index)),
                        " cannot be written and stays in memory: ", status.message());
  }
  file.unsynced = true;
  ++state.counters.writes;
  state.write_pause_ns = 0;
  state.policy->OnWritten(index);
  return "";
}

std::string EndSync(CacheState& state, uint32_t file_slot, const absl::Status& status)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  PageFile& file = state.files.at(FileId(file_slot, 0));
  --file.in_flight;
  ++file.syncs_ended;
  if (status.ok()) {
    ++state.counters.syncs;
    return "";
  }
  ++state.counters.sync_errors;
  file.unsynced = true;
  if (!file.poison.ok()) return "";
  std::string message = absl::StrCat(
      file.path(), " takes no more writes, because a sync of it failed and it cannot be known ",
      "which of the pages written before are on disk; close it with ",
      "CloseOptions::discard_changes and open it again: ", status.message());
  file.poison = absl::Status(status.code(), message);
  file.words->set_writable(false);
  state.waiters.WakeAll();  // among them those who want to write the file
  status.ForEachPayload([&file](absl::string_view url, const absl::Cord& payload) {
    file.poison.SetPayload(url, payload);
  });
  return message;
}

// Where the pages are that a read has brought, one of them in `alone`; of other transfers none.
absl::Span<const FrameIndex> PagesRead(CacheState& state, uint64_t user_data,
                                       FrameIndex& alone) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const uint32_t index = IndexOf(user_data);
  if (KindOf(user_data) == TransferKind::kRead) {
    alone = FrameIndex{index};
    return absl::MakeConstSpan(&alone, 1);
  }
  if (KindOf(user_data) != TransferKind::kJoinedRead) return {};
  return state.joined_reads[index].pages();  // ours: it has ended
}

// The file ended before all was read that was asked for: what lies behind, in memory, is whatever
// the frames held before.
void ZeroBehindTheEnd(CacheState& state, const io::IoCompletion& completion) {
  FrameIndex alone;
  uint32_t filled_bytes = completion.transferred_bytes;
  for (const FrameIndex frame : PagesRead(state, completion.user_data, alone)) {
    const uint32_t of_page = std::min(filled_bytes, state.page_bytes);
    std::memset(state.DataOf(frame) + of_page, 0, state.page_bytes - of_page);
    filled_bytes -= of_page;
  }
}

// Pages that are read alone several at a time, for the sake of the lock.
void VerifyReads(CacheState& state, absl::Span<const io::IoCompletion> completions, BadPages& bad) {
  std::array<FrameIndex, IoBatch::kCapacity> singles;
  size_t count = 0;
  for (const io::IoCompletion& completion : completions) {
    if (!completion.status.ok()) continue;
    FrameIndex alone;
    const absl::Span<const FrameIndex> frames = PagesRead(state, completion.user_data, alone);
    if (frames.data() != &alone) {
      VerifyPages(state, frames, bad);
      continue;
    }
    singles[count++] = alone;
    if (count < singles.size()) continue;
    VerifyPages(state, singles, bad);
    count = 0;
  }
  VerifyPages(state, absl::MakeConstSpan(singles.data(), count), bad);
}

void SealWrites(CacheState& state, absl::Span<const io::IoRequest> requests) {
  std::array<FrameIndex, IoBatch::kCapacity> frames;
  size_t count = 0;
  for (const io::IoRequest& request : requests) {
    if (KindOf(request.user_data) != TransferKind::kWrite) continue;
    frames[count++] = FrameIndex{IndexOf(request.user_data)};
  }
  SealPages(state, absl::MakeConstSpan(frames.data(), count));
}

// Ends `request`, which never reached the engine.
void EndRefused(CacheState& state, const io::IoRequest& request, absl::Status status) {
  const io::IoCompletion completion{
      .user_data = request.user_data, .status = std::move(status), .transferred_bytes = 0};
  EndTransfers(state, {&completion, 1});
  state.reaper.Signal();
}

}  // namespace

absl::Status StartRead(CacheState& state, FrameIndex index, IoBatch& batch) {
  const arena::PageHandle handle = state.frames.HandleOf(index);
  if (absl::Status status = CheckHandle(state, index, handle, "read"); !status.ok()) return status;
  AddTransfer(state, TransferKind::kRead, index, handle.region, batch);
  state.lsns.Reset(index);
  ++state.counters.reads;
  return absl::OkStatus();
}

JoinedRead* TakeJoinedRead(CacheState& state, PageFile& file, PageNumber first) {
  JoinedRead* const read = state.joined_reads.Take();
  if (read == nullptr) return nullptr;
  read->file = file.id;
  read->first = first;
  // From now on whoever closes the file waits for it.
  ++file.in_flight;
  ++state.transfers;
  return read;
}

absl::Status AddToJoinedRead(CacheState& state, JoinedRead& read, FrameIndex index) {
  const arena::PageHandle handle = state.frames.HandleOf(index);
  if (absl::Status status = CheckHandle(state, index, handle, "read"); !status.ok()) return status;
  read.pieces[read.count] = {
      .region = handle.region, .data = state.DataOf(index), .length_bytes = state.page_bytes};
  read.frames[read.count++] = index;
  state.lsns.Reset(index);
  ++state.counters.reads;
  return absl::OkStatus();
}

void StartJoinedRead(CacheState& state, JoinedRead& read, IoBatch& batch) {
  PageFile& file = state.files.at(read.file);
  if (read.count == 0) {
    --file.in_flight;
    --state.transfers;
    state.joined_reads.Return(&read);
    return;
  }
  if (read.count > 1) ++state.counters.joined_reads;
  batch.Add({.operation = io::IoOperation::kRead,
             .file = file.handle,
             .length_bytes = read.count * state.page_bytes,
             .offset_bytes = read.first * state.page_bytes,
             .user_data = UserData(TransferKind::kJoinedRead, state.joined_reads.IndexOf(read)),
             .pieces = absl::MakeConstSpan(read.pieces.data(), read.count)});
}

bool IsOfJoinedRead(const absl::Status& error) {
  return error.GetPayload(kJoinedReadUrl).has_value();
}

absl::Status StartWrite(CacheState& state, FrameIndex index, IoBatch& batch) {
  const arena::PageHandle handle = state.frames.HandleOf(index);
  if (absl::Status status = CheckHandle(state, index, handle, "write"); !status.ok()) {
    BookFailedWrite(state, index, status);
    return status;
  }
  {
    FrameTable::Edit frame(state.frames, index);
    BusyFrame& busy = frame.busy();
    FIXPOOL_CHECK(frame->dirty && busy.latch.CanBeginWriteBack(), "a write of a page in use");
    frame->dirty = false;
    busy.latch.BeginWriteBack();
    busy.write_number = ++state.writes_begun;
  }
  AddTransfer(state, TransferKind::kWrite, index, handle.region, batch);
  return absl::OkStatus();
}

void StartSync(CacheState& state, PageFile& file, IoBatch& batch) {
  FIXPOOL_CHECK(!file.sync_in_flight(), "two syncs of one file at once");
  ++file.in_flight;
  ++file.syncs_started;
  file.unsynced = false;
  ++state.transfers;
  batch.Add({.operation = io::IoOperation::kSync,
             .file = file.handle,
             .user_data = UserData(TransferKind::kSync, file.id.slot())});
}

void Submit(CacheState& state, IoBatch& batch) {
  SealWrites(state, batch.requests());
  absl::Span<const io::IoRequest> rest = batch.requests();
  std::optional<io::Deadline> deadline;
  while (!rest.empty()) {
    const uint32_t seen = state.reaper.epoch();
    const io::SubmitResult result = state.engine->Submit(rest);
    rest.remove_prefix(result.accepted);
    // Those who wait for these transfers may have found nothing in flight to reap.
    if (result.accepted > 0) state.reaper.Signal();
    if (!result.status.ok()) {
      EndRefused(state, rest.front(), result.status);
      rest.remove_prefix(1);
      continue;
    }
    if (rest.empty() || result.accepted > 0) continue;
    if (!deadline.has_value()) {
      deadline = state.environment->DeadlineAfter(state.timeouts.access);
    }
    if (state.environment->Expired(*deadline)) {
      EndRefused(
          state, rest.front(),
          absl::ResourceExhaustedError(absl::StrCat(
              "the engine took no transfer for ", absl::FormatDuration(state.timeouts.access),
              " with ", state.engine->in_flight(), " of ", state.engine->depth(),
              " in flight; is another user of it at work?")));
      rest.remove_prefix(1);
      continue;
    }
    // With nothing in flight no completion will tell when to try again.
    const io::Deadline soon = io::Deadline::AtNs(state.environment->NowNs() + 1'000'000);
    state.reaper.WaitFor(seen, CompletionReaper::Wanted::kCompletion, std::min(*deadline, soon));
  }
  batch.Clear();
}

void SubmitCollected(CacheState& state) {
  {
    io::MutexLock lock(state.mutex);
    if (state.collected.empty()) return;
  }
  IoBatch batch;
  {
    io::MutexLock lock(state.mutex);
    batch.TakeFrom(state.collected);
  }
  Submit(state, batch);
}

void EndTransfers(CacheState& state, absl::Span<const io::IoCompletion> completions) {
  // Before anybody can see the pages.
  for (const io::IoCompletion& completion : completions) {
    if (completion.status.ok()) ZeroBehindTheEnd(state, completion);
  }
  BadPages bad;
  VerifyReads(state, completions, bad);
  std::vector<std::string> messages;
  {
    io::MutexLock lock(state.mutex);
    for (const io::IoCompletion& completion : completions) {
      const uint32_t index = IndexOf(completion.user_data);
      --state.transfers;
      std::string message;
      switch (KindOf(completion.user_data)) {
        case TransferKind::kRead:
          EndRead(state, FrameIndex{index}, completion.status, bad);
          state.waiters.WakeForPage(FrameIndex{index});
          break;
        case TransferKind::kWrite:
          message = EndWrite(state, FrameIndex{index}, completion.status);
          state.waiters.WakeForPage(FrameIndex{index});
          break;
        case TransferKind::kJoinedRead:
          EndJoinedRead(state, state.joined_reads[index], completion.status, bad);
          break;
        case TransferKind::kSync:
          message = EndSync(state, index, completion.status);
          break;
      }
      if (!message.empty()) messages.push_back(std::move(message));
    }
    state.WakeTasksForFrames();
    state.WakeTasksForTransfers();
  }
  for (const std::string& message : messages) {
    state.environment->Report(io::Severity::kError, message);
  }
}

}  // namespace fixpool::storage
