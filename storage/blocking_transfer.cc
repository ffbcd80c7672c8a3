#include "fixpool/storage/blocking_transfer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/mutex.h"
#include "fixpool/storage/completion_reaper.h"
#include "fixpool/storage/file_sync.h"
#include "fixpool/storage/transfer.h"

namespace fixpool::storage {
namespace {

using Transfer = BlockingTransfers::Transfer;
using Wanted = CompletionReaper::Wanted;

absl::Status LateStatus(const CacheState& state, absl::string_view what) {
  return absl::DeadlineExceededError(absl::StrCat(what, "; ", state.engine->in_flight(), " of ",
                                                  state.engine->depth(), " are in flight"));
}

uint32_t IndexOf(const CacheState& state, const Transfer& transfer) {
  io::MutexLock lock(state.mutex);
  return state.blocking.IndexOf(transfer);
}

// DeadlineExceeded: all are taken all the time. Aborted.
absl::StatusOr<Transfer*> TakeTransfer(CacheState& state, const BlockingRequest& request) {
  while (true) {
    const uint32_t seen = state.reaper.epoch();
    {
      io::MutexLock lock(state.mutex);
      const bool sync = request.booking == BlockingTransfers::Booking::kSync;
      if (sync && state.files.at(*request.file).sync_in_flight()) {
        return absl::AbortedError("a sync of the file is in flight");
      }
      if (Transfer* const transfer = state.blocking.Take(); transfer != nullptr) {
        transfer->memory = request.memory;
        transfer->file = request.file;
        transfer->booking = request.booking;
        if (sync) {
          BeginSync(state, state.files.at(*request.file));
        } else if (request.file.has_value()) {
          ++state.files.at(*request.file).in_flight;
        }
        // Beyond what CanStart allows, if need be: what this one is done for may have been counted
        // already, and does not go to the engine before.
        ++state.transfers;
        return transfer;
      }
    }
    if (state.environment->Expired(request.deadline)) {
      return LateStatus(state, "too many others wait for transfers");
    }
    state.reaper.WaitFor(seen, Wanted::kEither, request.deadline);
  }
}

// OK: the engine has it.
absl::Status Give(CacheState& state, const io::IoRequest& request, io::Deadline deadline) {
  while (true) {
    const uint32_t seen = state.reaper.epoch();
    const io::SubmitResult result = state.engine->Submit({&request, 1});
    if (result.accepted == 1) {
      state.reaper.Signal();  // who found nothing in flight to reap looks again
      return absl::OkStatus();
    }
    if (!result.status.ok()) return result.status;
    if (state.environment->Expired(deadline)) {
      return LateStatus(state, "the engine took no transfer");
    }
    const io::Deadline soon = io::Deadline::AtNs(state.environment->NowNs() + 1'000'000);
    state.reaper.WaitFor(seen, Wanted::kCompletion, std::min(deadline, soon));
  }
}

void EndHere(CacheState& state, uint32_t index, const absl::Status& status) {
  std::vector<std::string> messages;
  {
    io::MutexLock lock(state.mutex);
    --state.transfers;
    EndBlockingTransfer(state, index, status, 0, messages);
  }
  state.reaper.Signal();
  for (const std::string& message : messages) {
    state.environment->Report(io::Severity::kError, message);
  }
}

}  // namespace

absl::StatusOr<uint32_t> TransferNow(CacheState& state, const BlockingRequest& request) {
  const absl::StatusOr<Transfer*> taken = TakeTransfer(state, request);
  if (!taken.ok()) return taken.status();
  Transfer* const transfer = *taken;
  io::IoRequest mine = request.request;
  const uint32_t index = IndexOf(state, *transfer);
  mine.user_data = UserData(TransferKind::kBlocking, index);
  if (absl::Status given = Give(state, mine, request.deadline); !given.ok()) {
    EndHere(state, index, given);
  }
  while (true) {
    const uint32_t seen = state.reaper.epoch();
    {
      io::MutexLock lock(state.mutex);
      if (transfer->ended) {
        const absl::Status status = transfer->status;
        const uint32_t transferred_bytes = transfer->transferred_bytes;
        state.blocking.Return(*transfer);
        state.reaper.Signal();  // for who waits for one to be free
        if (!status.ok()) return status;
        return transferred_bytes;
      }
      if (state.environment->Expired(request.deadline)) {
        transfer->abandoned = true;
        return LateStatus(state, "a transfer has not ended yet");
      }
    }
    state.reaper.WaitFor(seen, Wanted::kCompletion, request.deadline);
  }
}

void EndBlockingTransfer(CacheState& state, uint32_t index, const absl::Status& status,
                         uint32_t transferred_bytes, std::vector<std::string>& messages) {
  Transfer& transfer = state.blocking[index];
  if (transfer.booking == BlockingTransfers::Booking::kSync) {
    EndSync(state, *transfer.file, status, messages);
  } else if (transfer.file.has_value()) {
    PageFile& file = state.files.at(*transfer.file);
    --file.in_flight;
    if (transfer.booking == BlockingTransfers::Booking::kAreaSync && !status.ok()) {
      Poison(state, file, "a sync of its double-write area failed", status, messages);
    }
  }
  if (transfer.abandoned) {
    state.blocking.Return(transfer);
    return;
  }
  transfer.ended = true;
  transfer.status = status;
  transfer.transferred_bytes = transferred_bytes;
}

}  // namespace fixpool::storage
