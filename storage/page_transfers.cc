#include "fixpool/storage/page_transfers.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fixpool/storage/blocking_transfer.h"
#include "fixpool/storage/file_sync.h"
#include "fixpool/storage/mutation.h"
#include "fixpool/storage/page_sealing.h"
#include "fixpool/storage/page_writes.h"
#include "fixpool/storage/write_protection.h"

namespace fixpool::storage {
namespace {

// In a frame's error.
constexpr absl::string_view kJoinedReadUrl = "fixpool/joined_read";

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
  if (Mutated(Mutation::kLeakFrame)) return;
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
void EndJoinedRead(CacheState& state, JoinedTransfer& read, const absl::Status& status,
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

// Of a joined write that has not ended.
absl::Span<const FrameIndex> PagesOfWrite(CacheState& state,
                                          uint64_t user_data) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  return state.joined_writes[IndexOf(user_data)].pages();  // ours: it has not been submitted
}

void SealWrites(CacheState& state, absl::Span<const io::IoRequest> requests) {
  std::array<FrameIndex, IoBatch::kCapacity> frames;
  size_t count = 0;
  for (const io::IoRequest& request : requests) {
    if (KindOf(request.user_data) == TransferKind::kWrite) {
      frames[count++] = FrameIndex{IndexOf(request.user_data)};
    } else if (KindOf(request.user_data) == TransferKind::kJoinedWrite) {
      SealPages(state, PagesOfWrite(state, request.user_data));
    }
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

// All of the batch, which is sealed and, where that is asked for, protected.
void SubmitNow(CacheState& state, IoBatch& batch) {
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

// Out of line, because of the memory on the stack.
[[gnu::noinline]] void SubmitProtected(CacheState& state, IoBatch& batch) {
  WriteProtection protection(state, batch);
  // Nobody who waits for these waits for copies of the others.
  SubmitNow(state, batch);
  absl::Status status;
  while (protection.Next(batch, status)) {
    if (status.ok()) {
      SubmitNow(state, batch);
      continue;
    }
    for (const io::IoRequest& request : batch.requests()) EndRefused(state, request, status);
    batch.Clear();
  }
}

}  // namespace

absl::Status StartRead(CacheState& state, FrameIndex index, IoBatch& batch) {
  const arena::PageHandle handle = state.frames.HandleOf(index);
  if (absl::Status status = CheckHandle(state, index, handle, "read"); !status.ok()) return status;
  AddTransfer(state, TransferKind::kRead, index, handle, batch);
  state.lsns.Reset(index);
  ++state.counters.reads;
  return absl::OkStatus();
}

JoinedTransfer* TakeJoinedRead(CacheState& state, PageFile& file, PageNumber first) {
  JoinedTransfer* const read = state.joined_reads.Take();
  if (read == nullptr) return nullptr;
  read->file = file.id;
  read->first = first;
  // From now on whoever closes the file waits for it.
  ++file.in_flight;
  ++state.transfers;
  return read;
}

absl::Status AddToJoinedRead(CacheState& state, JoinedTransfer& read, FrameIndex index) {
  const arena::PageHandle handle = state.frames.HandleOf(index);
  if (absl::Status status = CheckHandle(state, index, handle, "read"); !status.ok()) return status;
  read.pieces[read.count] = {
      .region = handle.region, .data = state.DataOf(index), .length_bytes = state.page_bytes};
  read.frames[read.count++] = index;
  state.lsns.Reset(index);
  ++state.counters.reads;
  return absl::OkStatus();
}

void StartJoinedRead(CacheState& state, JoinedTransfer& read, IoBatch& batch) {
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

void StartSync(CacheState& state, PageFile& file, IoBatch& batch) {
  BeginSync(state, file);
  ++state.transfers;
  batch.Add({.operation = io::IoOperation::kSync,
             .file = file.handle,
             .user_data = UserData(TransferKind::kSync, file.id.slot())});
}

void Submit(CacheState& state, IoBatch& batch) {
  SealWrites(state, batch.requests());
  if (state.double_write_files.load() > 0) {
    SubmitProtected(state, batch);
  } else {
    SubmitNow(state, batch);
  }
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
    if (completion.status.ok() && !Mutated(Mutation::kNoZeros)) ZeroBehindTheEnd(state, completion);
  }
  BadPages bad;
  VerifyReads(state, completions, bad);
  std::vector<std::string> messages;
  {
    io::MutexLock lock(state.mutex);
    for (const io::IoCompletion& completion : completions) {
      const uint32_t index = IndexOf(completion.user_data);
      --state.transfers;
      EndProtectedWrite(state, completion.user_data, completion.status.ok());
      switch (KindOf(completion.user_data)) {
        case TransferKind::kRead:
          EndRead(state, FrameIndex{index}, completion.status, bad);
          if (!Mutated(Mutation::kLostWaiter)) state.waiters.WakeForPage(FrameIndex{index});
          break;
        case TransferKind::kWrite:
          EndWrite(state, FrameIndex{index}, completion.status, messages);
          state.waiters.WakeForPage(FrameIndex{index});
          break;
        case TransferKind::kJoinedRead:
          EndJoinedRead(state, state.joined_reads[index], completion.status, bad);
          break;
        case TransferKind::kJoinedWrite:
          EndJoinedWrite(state, state.joined_writes[index], completion.status, messages);
          break;
        case TransferKind::kSync:
          EndSync(state, FileId(index, 0), completion.status, messages);
          break;
        case TransferKind::kBlocking:
          EndBlockingTransfer(state, index, completion.status, completion.transferred_bytes,
                              messages);
          break;
      }
    }
    state.LiftThrottle();
    state.WakeTasksForFrames();
    state.WakeTasksForTransfers();
  }
  for (const std::string& message : messages) {
    state.environment->Report(io::Severity::kError, message);
  }
}

}  // namespace fixpool::storage
