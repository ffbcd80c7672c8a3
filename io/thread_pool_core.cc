#include "fixpool/io/thread_pool_core.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"

namespace fixpool::io {
namespace {

// One system call for a write that is done as a whole or not at all.
ssize_t WriteAtomically(const Operation& operation, const File& file) {
  const iovec whole{.iov_base = operation.remaining_data(), .iov_len = operation.remaining_bytes()};
  const absl::Span<const iovec> vectors =
      operation.vectored() ? operation.joined->remaining() : absl::MakeConstSpan(&whole, 1);
  return pwritev2(file.descriptor(), vectors.data(), static_cast<int>(vectors.size()),
                  static_cast<off_t>(operation.remaining_offset()), kWriteAtomically);
}

// One system call for what is left of a joined transfer.
ssize_t TransferVectors(const Operation& operation, const File& file) {
  const absl::Span<const iovec> vectors = operation.joined->remaining();
  const int count = static_cast<int>(vectors.size());
  const off_t offset = static_cast<off_t>(operation.remaining_offset());
  const int descriptor = file.descriptor();
  if (operation.request.operation == IoOperation::kRead) {
    return file.positional() ? preadv(descriptor, vectors.data(), count, offset)
                             : readv(descriptor, vectors.data(), count);
  }
  return file.positional() ? pwritev(descriptor, vectors.data(), count, offset)
                           : writev(descriptor, vectors.data(), count);
}

// One system call for what is left of the operation: bytes, or minus errno.
int Transfer(const Operation& operation, const File& file) {
  if (operation.request.atomic) {
    const ssize_t result = WriteAtomically(operation, file);
    return result < 0 ? -errno : static_cast<int>(result);
  }
  if (operation.vectored()) {
    const ssize_t result = TransferVectors(operation, file);
    return result < 0 ? -errno : static_cast<int>(result);
  }
  void* const data = operation.remaining_data();
  const size_t length = operation.remaining_bytes();
  const off_t offset = static_cast<off_t>(operation.remaining_offset());
  const int descriptor = file.descriptor();
  ssize_t result = 0;
  switch (operation.request.operation) {
    case IoOperation::kRead:
      result = file.positional() ? pread(descriptor, data, length, offset)
                                 : read(descriptor, data, length);
      break;
    case IoOperation::kWrite:
      result = file.positional() ? pwrite(descriptor, data, length, offset)
                                 : write(descriptor, data, length);
      break;
    case IoOperation::kSync:
      result = fdatasync(descriptor);
      break;
  }
  return result < 0 ? -errno : static_cast<int>(result);
}

}  // namespace

ThreadPoolCore::ThreadPoolCore(FixedBufferRegistry* registry, const EngineOptions& options,
                               EngineReport origin)
    : registry_(registry),
      environment_(registry->environment()),
      options_(options),
      origin_(std::move(origin)),
      operations_(options.depth, options.joined_depth),
      files_(options.max_files) {}

absl::StatusOr<FileHandle> ThreadPoolCore::AddFile(std::shared_ptr<File> file) {
  if (file == nullptr) return absl::InvalidArgumentError("AddFile: the file is null");
  if (file->fork_guard().forked()) return file->fork_guard().Refusal("AddFile: the file");
  if (file->positional()) {
    const size_t probe_bytes = std::max<size_t>(4096, file->alignment().offset_bytes);
    const std::unique_ptr<void, void (*)(void*)> page(std::aligned_alloc(probe_bytes, probe_bytes),
                                                      std::free);
    if (page == nullptr) return ErrnoStatus(ENOMEM, "memory for the probe");
    if (pread(file->descriptor(), page.get(), probe_bytes, 0) < 0) {
      return ErrnoStatus(errno, absl::StrCat("probe: pread of ", file->path()));
    }
  }
  MutexLock lock(mutex_);
  return files_.Add(std::move(file), /*fixed=*/false);
}

absl::Status ThreadPoolCore::RemoveFile(FileHandle file, Deadline deadline) {
  {
    MutexLock lock(mutex_);
    FileTable::Entry* entry = files_.Find(file);
    if (entry == nullptr) return UnknownFileStatus(file);
    entry->closing = true;
  }
  while (true) {
    {
      MutexLock lock(mutex_);
      FileTable::Entry& entry = files_.at(file.slot());
      if (entry.in_flight == 0) {
        files_.Remove(file);
        return absl::OkStatus();
      }
      if (environment_->Expired(deadline)) {
        entry.closing = false;
        return RemoveFileTimedOut(entry);
      }
    }
    MakeProgress(deadline);
  }
}

absl::StatusOr<EngineLevel> ThreadPoolCore::LevelOf(FileHandle file) const {
  MutexLock lock(mutex_);
  if (files_.Find(file) == nullptr) return UnknownFileStatus(file);
  return EngineLevel::kThreads;
}

SubmitResult ThreadPoolCore::Submit(absl::Span<const IoRequest> requests) {
  SubmitResult result;
  bool wake = false;
  {
    MutexLock lock(mutex_);
    for (const IoRequest& request : requests) {
      const uint32_t index = operations_.Take(request);
      if (index == OperationPool::kNone) break;
      Operation& operation = operations_[index];
      result.status = Admit(*registry_, files_, MeansOf(origin_), request, operation);
      if (!result.status.ok()) {
        operations_.Return(index);
        break;
      }
      Count(operation, counters_);
      to_do_.PushBack(operations_, index);
      ++unfinished_;
      ++result.accepted;
    }
    counters_.peak_in_flight = std::max<uint64_t>(counters_.peak_in_flight, operations_.taken());
    if (result.accepted > 0) {
      work_epoch_.fetch_add(1, std::memory_order_release);
      wake = idle_workers_ > 0;
    }
  }
  if (wake) environment_->Wake(work_epoch_);
  return result;
}

void ThreadPoolCore::RunWorker() {
  while (true) {
    uint32_t index = OperationPool::kNone;
    uint32_t seen = 0;
    const File* file = nullptr;
    Operation* operation = nullptr;
    {
      MutexLock lock(mutex_);
      if (abandoned_) return;
      if (!to_do_.empty()) {
        index = to_do_.PopFront(operations_);
        operation = &operations_[index];
        file = files_.at(operation->request.file.slot()).file.get();
      } else if (stop_) {
        return;
      } else {
        seen = work_epoch_.load(std::memory_order_relaxed);
        ++idle_workers_;
      }
    }
    if (operation == nullptr) {
      environment_->Wait(work_epoch_, seen, Deadline::Infinite());
      MutexLock lock(mutex_);
      --idle_workers_;
      continue;
    }
    // The operation is this thread's until it is booked; the file stays while it is in flight.
    Book(index, Transfer(*operation, *file));
  }
}

void ThreadPoolCore::Book(uint32_t index, int result) {
  bool wake = false;
  {
    MutexLock lock(mutex_);
    if (abandoned_) return;  // the registry may be gone; the lease is never given back
    ++counters_.kernel_enters;
    Operation& operation = operations_[index];
    const File& file = *files_.at(operation.request.file.slot()).file;
    if (Advance(operation, file, result, counters_) == Progress::kAgain) {
      to_do_.PushBack(operations_, index);  // this thread, or another, takes it up at once
      return;
    }
    Conclude(operation, files_);
    ready_.PushBack(operations_, index);
    ready_signal_.Update(true);
    --unfinished_;
    done_epoch_.fetch_add(1, std::memory_order_release);
    wake = sleepers_ > 0;
  }
  if (wake) environment_->Wake(done_epoch_);
}

size_t ThreadPoolCore::Reap(absl::Span<IoCompletion> completions, Deadline deadline) {
  uint32_t seen = 0;
  for (bool slept = false;; slept = true) {
    {
      MutexLock lock(mutex_);
      if (slept) --sleepers_;
      const size_t count = PopReady(completions);
      ready_signal_.Update(!ready_.empty());
      if (count > 0 || completions.empty() || operations_.taken() == 0) return count;
      const uint32_t epoch = done_epoch_.load(std::memory_order_relaxed);
      // Something was completed, and another thread has it. Decided under the lock that was looked
      // under: between two, it could go to another thread unnoticed.
      if (slept && epoch != seen) return 0;
      if (environment_->Expired(deadline)) return 0;
      seen = epoch;
      ++sleepers_;
    }
    environment_->Wait(done_epoch_, seen, deadline);
  }
}

size_t ThreadPoolCore::PopReady(absl::Span<IoCompletion> completions) {
  size_t count = 0;
  while (count < completions.size() && !ready_.empty()) {
    const uint32_t index = ready_.PopFront(operations_);
    FillCompletion(operations_[index], completions[count++]);
    operations_.Return(index);
  }
  return count;
}

void ThreadPoolCore::MakeProgress(Deadline deadline) {
  uint32_t seen = 0;
  {
    MutexLock lock(mutex_);
    if (unfinished_ == 0 || environment_->Expired(deadline)) return;
    seen = done_epoch_.load(std::memory_order_relaxed);
    ++sleepers_;
  }
  environment_->Wait(done_epoch_, seen, deadline);
  MutexLock lock(mutex_);
  --sleepers_;
}

bool ThreadPoolCore::Drain(Deadline deadline) {
  while (true) {
    {
      MutexLock lock(mutex_);
      if (unfinished_ == 0) return true;
    }
    if (environment_->Expired(deadline)) return false;
    MakeProgress(deadline);
  }
}

void ThreadPoolCore::Stop(bool abandon) {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    abandoned_ = abandon;
    work_epoch_.fetch_add(1, std::memory_order_release);
  }
  environment_->Wake(work_epoch_);
}

absl::StatusOr<int> ThreadPoolCore::CompletionDescriptor() {
  MutexLock lock(mutex_);
  return ready_signal_.Descriptor(-1, !ready_.empty());
}

uint32_t ThreadPoolCore::in_flight() const {
  MutexLock lock(mutex_);
  return operations_.taken();
}

EngineReport ThreadPoolCore::Report() const {
  EngineReport report = origin_;
  report.depth = options_.depth;
  MutexLock lock(mutex_);
  report.counters = counters_;
  return report;
}

}  // namespace fixpool::io
