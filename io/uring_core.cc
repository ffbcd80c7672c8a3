#include "fixpool/io/uring_core.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/io/error.h"
#include "fixpool/io/sanitizer.h"
#include "fixpool/io/uring_probe.h"

namespace fixpool::io {
namespace {

// user_data of a request that is no operation: its completion needs no booking.
constexpr uint64_t kNoOperation = ~uint64_t{0};

// How long a thread sleeps before it offers the kernel again what it had no memory for.
constexpr absl::Duration kRetryPause = absl::Milliseconds(1);

// How long one wait in the kernel may be. Completions end it; this is for what comes about
// meanwhile and wakes nobody in there: requests that another thread could not submit for want
// of memory, or that failed before the kernel took them.
constexpr absl::Duration kLongestSleep = absl::Milliseconds(100);

// How many threads may submit a request and exit, one after the other, before EFAULT is believed.
constexpr uint32_t kMaxFaults = 3;

// A vectored transfer of what is left. The kernel's own names for those with fixed buffers are
// newer than Debian 12's headers.
void FillVectoredSqe(io_uring_sqe* sqe, const Operation& operation, int file) {
  const absl::Span<const iovec> vectors = operation.joined->remaining();
  const auto count = static_cast<unsigned>(vectors.size());
  const uint64_t offset = operation.remaining_offset();
  if (operation.request.operation == IoOperation::kRead) {
    io_uring_prep_readv(sqe, file, vectors.data(), count, offset);
    if (operation.fixed) sqe->opcode = kReadvFixed;
  } else {
    io_uring_prep_writev(sqe, file, vectors.data(), count, offset);
    if (operation.fixed) sqe->opcode = kWritevFixed;
    if (operation.request.atomic) sqe->rw_flags = kWriteAtomically;
  }
  if (operation.fixed) sqe->buf_index = operation.buffer_slot();
}

void FillSqe(io_uring_sqe* sqe, const Operation& operation, int file) {
  const IoRequest& request = operation.request;
  if (operation.vectored()) return FillVectoredSqe(sqe, operation, file);
  const int slot = operation.fixed ? operation.buffer_slot() : 0;
  void* const data = operation.remaining_data();
  const uint32_t length = operation.remaining_bytes();
  const uint64_t offset = operation.remaining_offset();
  switch (request.operation) {
    case IoOperation::kRead:
      if (operation.fixed) {
        io_uring_prep_read_fixed(sqe, file, data, length, offset, slot);
      } else {
        io_uring_prep_read(sqe, file, data, length, offset);
      }
      break;
    case IoOperation::kWrite:
      if (operation.fixed) {
        io_uring_prep_write_fixed(sqe, file, data, length, offset, slot);
      } else {
        io_uring_prep_write(sqe, file, data, length, offset);
        if (request.atomic) sqe->rw_flags = kWriteAtomically;
      }
      break;
    case IoOperation::kSync:
      io_uring_prep_fsync(sqe, file, IORING_FSYNC_DATASYNC);
      break;
  }
}

// Tells ThreadSanitizer what the kernel did to the memory between submission and now.
void Annotate(Operation& operation, int result) {
  sanitizer::OperationReaped(&operation);
  AnnotateTransfer(operation, result);
}

}  // namespace

UringCore::UringCore(FixedBufferRegistry* registry, const EngineOptions& options,
                     EngineReport origin, std::unique_ptr<UringRing> ring)
    : registry_(registry),
      environment_(registry->environment()),
      options_(options),
      origin_(std::move(origin)),
      ring_(std::move(ring)),
      depth_(options.depth),
      operations_(options.depth, options.joined_depth),
      files_(options.max_files) {}

UringCore::~UringCore() {
  if (!ring_->HeldByAnotherThread()) return;
  environment_->Report(Severity::kWarning,
                       "an engine with registered_ring was destroyed on another thread than opened "
                       "it: the kernel keeps its ring, which no file depends on any more, until "
                       "that thread ends");
}

absl::Status UringCore::Set(uint16_t slot, const MemoryRegion& region) {
  return origin_.level == EngineLevel::kUringFixed ? ring_->SetBuffer(slot, region)
                                                   : absl::OkStatus();
}

absl::Status UringCore::Clear(uint16_t slot) {
  return origin_.level == EngineLevel::kUringFixed ? ring_->ClearBuffer(slot) : absl::OkStatus();
}

int UringCore::sharing_descriptor() const {
  return origin_.level == EngineLevel::kUringFixed ? ring_->descriptor() : -1;
}

absl::Status UringCore::Share(int descriptor, uint16_t first, uint32_t count) {
  return origin_.level == EngineLevel::kUringFixed ? ring_->CloneBuffers(descriptor, first, count)
                                                   : absl::OkStatus();
}

// Whether fixed buffers work on the file; an error if nothing does, or not what is required.
// Of the extras only IOPOLL depends on the file.
absl::StatusOr<bool> UringCore::ProbeFile(const File& file) const {
  const bool fixed_level = origin_.level == EngineLevel::kUringFixed;
  const RingExtras extras{.iopoll = ring_->extras().iopoll};
  if (!file.positional()) {  // a read would take bytes away, or wait
    if (!extras.iopoll) return fixed_level;
    return WithPollingAdvice(ErrnoStatus(EOPNOTSUPP, absl::StrCat("AddFile of ", file.path())));
  }
  if (fixed_level) {
    const absl::Status fixed = ProbeUring(EngineLevel::kUringFixed, file, extras);
    if (fixed.ok()) return true;
    if (options_.require == EngineLevel::kUringFixed) return fixed;
    if (extras.iopoll && ErrnoOf(fixed) == EOPNOTSUPP) return fixed;
    environment_->Report(
        Severity::kWarning,
        absl::StrCat(file.path(), " goes without fixed buffers: ", fixed.message()));
  }
  const absl::Status plain = ProbeUring(EngineLevel::kUringPlain, file, extras);
  if (!plain.ok()) return plain;
  return false;
}

absl::StatusOr<FileHandle> UringCore::AddFile(std::shared_ptr<File> file) {
  if (file == nullptr) return absl::InvalidArgumentError("AddFile: the file is null");
  if (file->fork_guard().forked()) return file->fork_guard().Refusal("AddFile: the file");
  const absl::StatusOr<bool> fixed = ProbeFile(*file);
  if (!fixed.ok()) return fixed.status();
  const std::optional<uint32_t> device_depth = file->DeviceQueueDepth();
  MutexLock lock(mutex_);
  absl::StatusOr<FileHandle> handle = files_.Add(file, *fixed);
  if (handle.ok() && ring_->has_file_table()) {
    if (absl::Status set = ring_->SetFile(handle->slot(), file->descriptor()); !set.ok()) {
      files_.Remove(*handle);
      return set;
    }
  }
  // It stays so when the file is removed: devices are few, and raising it is not worth a walk.
  if (handle.ok() && device_depth.has_value() && *device_depth < depth()) {
    depth_.store(*device_depth, std::memory_order_relaxed);
  }
  return handle;
}

absl::Status UringCore::RemoveFile(FileHandle file, Deadline deadline) {
  {
    MutexLock lock(mutex_);
    FileTable::Entry* entry = files_.Find(file);
    if (entry == nullptr) return UnknownFileStatus(file);
    entry->closing = true;
  }
  bool last_look = false;
  while (true) {
    {
      MutexLock lock(mutex_);
      FileTable::Entry& entry = files_.at(file.slot());
      if (entry.in_flight == 0) {
        absl::Status cleared =
            ring_->has_file_table() ? ring_->ClearFile(file.slot()) : absl::OkStatus();
        files_.Remove(file);
        return cleared;
      }
      if (last_look) {
        entry.closing = false;
        return RemoveFileTimedOut(entry);
      }
    }
    last_look = environment_->Expired(deadline);
    MakeProgress(deadline);
  }
}

absl::StatusOr<EngineLevel> UringCore::LevelOf(FileHandle file) const {
  MutexLock lock(mutex_);
  const FileTable::Entry* entry = files_.Find(file);
  if (entry == nullptr) return UnknownFileStatus(file);
  return entry->fixed ? EngineLevel::kUringFixed : EngineLevel::kUringPlain;
}

void UringCore::Prepare(uint32_t index) {
  Operation& operation = operations_[index];
  operation.in_kernel = true;
  ++in_kernel_;
  sanitizer::OperationSubmitted(&operation);
  if (ring_->extras().iopoll && operation.request.operation == IoOperation::kSync) {
    ++syncing_;
    syncs_.PushBack(operations_, index);
    return;
  }
  io_uring_sqe* sqe = ring_->NextSqe();
  FIXPOOL_CHECK(sqe != nullptr, "the submission queue has as many entries as operations exist");
  const uint16_t slot = operation.request.file.slot();
  if (ring_->has_file_table()) {
    FillSqe(sqe, operation, slot);
    sqe->flags |= IOSQE_FIXED_FILE;
  } else {
    FillSqe(sqe, operation, files_.at(slot).file->descriptor());
  }
  sqe->user_data = index;
}

SubmitResult UringCore::Submit(absl::Span<const IoRequest> requests) {
  SubmitResult result;
  {
    MutexLock submitting(submit_mutex_);
    result = SubmitLocked(requests);
  }
  if (ring_->extras().iopoll) SyncHere();
  return result;
}

SubmitResult UringCore::SubmitLocked(absl::Span<const IoRequest> requests) {
  SubmitResult result;
  ring_->WaitForRoom();
  {
    MutexLock lock(mutex_);
    for (const IoRequest& request : requests) {
      if (operations_.taken() >= depth() || !ring_->HasRoom()) break;
      const uint32_t index = operations_.Take(request);
      if (index == OperationPool::kNone) break;
      Operation& operation = operations_[index];
      result.status = Admit(*registry_, files_, MeansOf(origin_), request, operation);
      if (!result.status.ok()) {
        operations_.Return(index);
        break;
      }
      Count(operation, counters_);
      Prepare(index);
      ++result.accepted;
    }
    counters_.peak_in_flight = std::max<uint64_t>(counters_.peak_in_flight, operations_.taken());
  }
  EnterPrepared();
  return result;
}

void UringCore::EnterPrepared() {
  while (ring_->unsubmitted() > 0) {
    const int taken = ring_->Submit();
    if (taken > 0 || taken == -EINTR) continue;
    if (taken == 0 || taken == -EAGAIN || taken == -EBUSY) {
      pending_.store(true, std::memory_order_release);  // short of memory: offered again later
      return;
    }
    FailUnsubmitted(-taken);
  }
}

void UringCore::FailUnsubmitted(int error_number) {
  MutexLock lock(mutex_);
  while (ring_->unsubmitted() > 0) {
    const uint64_t user_data = ring_->TakeBackNewest();
    if (user_data != kNoOperation) BookCompletion(user_data, -error_number);
  }
  ready_signal_.Update(!ready_.empty());
  WakeFollowers();
}

void UringCore::WakeFollowers() {
  epoch_.fetch_add(1, std::memory_order_release);
  if (followers_ > 0) environment_->Wake(epoch_);
}

void UringCore::SubmitPending() {
  {
    MutexLock submitting(submit_mutex_);
    pending_.store(false, std::memory_order_relaxed);
    ring_->WaitForRoom();
    {
      MutexLock lock(mutex_);
      while (!resume_.empty() && ring_->HasRoom()) Prepare(resume_.PopFront(operations_));
      if (!resume_.empty()) pending_.store(true, std::memory_order_release);
    }
    EnterPrepared();
  }
  if (ring_->extras().iopoll) SyncHere();
}

void UringCore::SyncHere() {
  while (true) {
    uint32_t index = 0;
    int descriptor = -1;
    {
      MutexLock lock(mutex_);
      if (syncs_.empty()) return;
      index = syncs_.PopFront(operations_);
      descriptor = files_.at(operations_[index].request.file.slot()).file->descriptor();
    }
    const int result = fdatasync(descriptor) == 0 ? 0 : -errno;
    MutexLock lock(mutex_);
    --syncing_;
    BookCompletion(index, result);
    ready_signal_.Update(!ready_.empty());
    WakeFollowers();
  }
}

// What the kernel has still to do in the name of a thread it gives up when that thread exits:
// with ECANCELED what waits for a pipe or for a worker of the kernel's, and with EFAULT a buffered
// read whose page came later (io_uring/io_uring.c, io_req_task_submit, Linux 6.18).
bool UringCore::LostWithItsThread(const Operation& operation, int result) const {
  if (cancelling_) return false;
  // Memory that really cannot be accessed says EFAULT each time.
  return result == -ECANCELED || (result == -EFAULT && operation.retries < kMaxFaults);
}

void UringCore::BookCompletion(uint64_t user_data, int result) {
  FIXPOOL_CHECK(user_data < operations_.size() && operations_[user_data].in_kernel,
                "a completion came for an operation that is not in flight");
  const uint32_t index = static_cast<uint32_t>(user_data);
  Operation& operation = operations_[index];
  Annotate(operation, result);
  operation.in_kernel = false;
  --in_kernel_;
  // Nobody asked for that. It goes out again, from a thread that is alive.
  if (LostWithItsThread(operation, result)) result = -EAGAIN;
  const File& file = *files_.at(operation.request.file.slot()).file;
  if (Advance(operation, file, result, counters_) == Progress::kAgain) {
    resume_.PushBack(operations_, index);
    pending_.store(true, std::memory_order_release);
    return;
  }
  Conclude(operation, files_);
  if (ring_->extras().iopoll) operation.status = WithPollingAdvice(operation.status);
  ready_.PushBack(operations_, index);
}

bool UringCore::TakeIn() {
  constexpr unsigned kBatch = 32;
  io_uring_cqe* cqes[kBatch];
  bool any = false;
  if (ring_->wants_polling() && in_kernel_ > syncing_) ring_->PollDevice();
  while (const unsigned count = ring_->PeekCqes(cqes, kBatch)) {
    any = true;
    for (unsigned i = 0; i < count; ++i) {
      if (cqes[i]->user_data != kNoOperation) BookCompletion(cqes[i]->user_data, cqes[i]->res);
    }
    ring_->AdvanceCq(count);
  }
  return any;
}

size_t UringCore::PopReady(absl::Span<IoCompletion> completions) {
  size_t count = 0;
  while (count < completions.size() && !ready_.empty()) {
    const uint32_t index = ready_.PopFront(operations_);
    FillCompletion(operations_[index], completions[count++]);
    operations_.Return(index);
  }
  return count;
}

UringCore::Role UringCore::ChooseRole() {
  // Where the kernel has nothing of ours, a ring with IOPOLL would not let anybody sleep in it.
  const bool only_syncs = syncing_ > 0 && in_kernel_ == syncing_;
  if (waiter_in_kernel_ || only_syncs) {
    ++followers_;
    return Role::kFollower;
  }
  waiter_in_kernel_ = true;
  return Role::kWaiter;
}

bool UringCore::Sleep(Role role, uint32_t seen, Deadline deadline, size_t wanted) {
  if (role == Role::kFollower) {
    environment_->Wait(epoch_, seen, deadline);
    MutexLock lock(mutex_);
    --followers_;
    return true;
  }
  const absl::Duration at_most =
      pending_.load(std::memory_order_acquire) ? kRetryPause : kLongestSleep;
  deadline = std::min(deadline, environment_->DeadlineAfter(at_most));
  const int64_t timeout_ns = std::max<int64_t>(deadline.ns() - environment_->NowNs(), 0);
  // Time out, a signal, a completion: all the same, the caller looks again. A ring that cannot
  // be entered any more is no reason to spin.
  const int waited = ring_->WaitForCompletions(wanted, timeout_ns);
  if (waited != 0 && waited != -ETIME && waited != -EINTR) {
    environment_->Wait(epoch_, epoch_.load(std::memory_order_relaxed),
                       std::min(deadline, environment_->DeadlineAfter(kRetryPause)));
  }
  MutexLock lock(mutex_);
  waiter_in_kernel_ = false;
  TakeIn();
  const bool any = !ready_.empty();
  ready_signal_.Update(any);
  WakeFollowers();
  return any;
}

size_t UringCore::Reap(absl::Span<IoCompletion> completions, Deadline deadline, size_t wanted) {
  if (completions.empty()) return 0;
  bool something_came = false;
  while (true) {
    if (pending_.load(std::memory_order_acquire)) SubmitPending();
    size_t count = 0;
    bool returns = false;
    uint32_t seen = 0;
    Role role = Role::kFollower;
    {
      MutexLock lock(mutex_);
      if (!waiter_in_kernel_) TakeIn();
      count = PopReady(completions);
      ready_signal_.Update(!ready_.empty());
      // What came may have gone to another thread, and be what the caller wants.
      const bool last_look = count > 0 || operations_.taken() == 0 || something_came ||
                             environment_->Expired(deadline);
      if (!last_look) {
        seen = epoch_.load(std::memory_order_relaxed);
        role = ChooseRole();
        wanted = std::clamp<size_t>(wanted, 1, std::max(in_kernel_, 1u));
      } else {
        returns = true;
      }
    }
    if (returns) {
      // Before the caller goes its ways: nobody else may be there to send these out.
      if (pending_.load(std::memory_order_acquire)) SubmitPending();
      return count;
    }
    something_came = Sleep(role, seen, deadline, wanted);
  }
}

void UringCore::MakeProgress(Deadline deadline) {
  if (pending_.load(std::memory_order_acquire)) SubmitPending();
  uint32_t seen = 0;
  Role role = Role::kFollower;
  bool sleeps = false;
  {
    MutexLock lock(mutex_);
    const bool took = !waiter_in_kernel_ && TakeIn();
    ready_signal_.Update(!ready_.empty());
    if (!took && busy() && !environment_->Expired(deadline)) {
      sleeps = true;
      seen = epoch_.load(std::memory_order_relaxed);
      role = ChooseRole();
    }
  }
  if (sleeps) Sleep(role, seen, deadline, 1);
  // As in Reap: of what came short for others, nobody may come to send out the rest.
  if (pending_.load(std::memory_order_acquire)) SubmitPending();
}

bool UringCore::Drain(Deadline deadline) {
  while (true) {
    {
      MutexLock lock(mutex_);
      if (!busy()) return true;
    }
    const bool last_look = environment_->Expired(deadline);
    MakeProgress(deadline);
    if (last_look) {
      MutexLock lock(mutex_);
      return !busy();
    }
  }
}

void UringCore::CancelAll() {
  MutexLock submitting(submit_mutex_);
  {
    MutexLock lock(mutex_);
    cancelling_ = true;
  }
  io_uring_sqe* sqe = ring_->NextSqe();
  if (sqe == nullptr) return;
  io_uring_prep_cancel(sqe, nullptr, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
  sqe->user_data = kNoOperation;
  EnterPrepared();
}

absl::StatusOr<int> UringCore::CompletionDescriptor() {
  if (ring_->wants_polling()) {
    return absl::UnimplementedError(
        "a ring with IOPOLL cannot be waited for with poll(2): its completions are there when "
        "somebody looks for them");
  }
  MutexLock lock(mutex_);
  return ready_signal_.Descriptor(ring_->descriptor(), !ready_.empty());
}

uint32_t UringCore::in_flight() const {
  MutexLock lock(mutex_);
  return operations_.taken();
}

EngineReport UringCore::Report() const {
  EngineReport report = origin_;
  report.depth = depth();
  MutexLock lock(mutex_);
  report.counters = counters_;
  report.counters.kernel_enters = ring_->enters();
  return report;
}

}  // namespace fixpool::io
