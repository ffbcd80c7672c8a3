#include "fixpool/io/operation.h"

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"
#include "fixpool/io/memory_region.h"

namespace fixpool::io {
namespace {

// In a row and without a byte of progress: far more than a healthy device ever needs.
constexpr uint32_t kMaxRetries = 1000;

absl::string_view OperationName(IoOperation operation) {
  switch (operation) {
    case IoOperation::kRead:
      return "read";
    case IoOperation::kWrite:
      return "write";
    case IoOperation::kSync:
      return "sync";
  }
  return "operation";
}

std::string Describe(const IoRequest& request, const File& file) {
  if (request.operation == IoOperation::kSync) return absl::StrCat("sync of ", file.path());
  return absl::StrCat(OperationName(request.operation), " of ", request.length_bytes,
                      " bytes at offset ", request.offset_bytes, " of ", file.path());
}

absl::Status CheckTransfer(const IoRequest& request, const File& file) {
  if (request.length_bytes == 0 || request.length_bytes > MemoryRegion::kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(Describe(request, file), ": a transfer has 1 to ", MemoryRegion::kMaxBytes, " bytes"));
  }
  if (request.offset_bytes > uint64_t{INT64_MAX} - request.length_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(Describe(request, file), ": ends beyond the largest offset of a file"));
  }
  if (request.operation == IoOperation::kWrite && file.read_only()) {
    return absl::FailedPreconditionError(
        absl::StrCat(Describe(request, file), ": the file is open read-only"));
  }
  const File::Alignment alignment = file.alignment();
  if (((request.offset_bytes | request.length_bytes) & (alignment.offset_bytes - 1)) != 0 ||
      (reinterpret_cast<uintptr_t>(request.data) & (alignment.memory_bytes - 1)) != 0) {
    return ValidationStatus(
        ValidationError::kMisaligned,
        absl::StrCat(Describe(request, file), ": direct I/O wants offset and length in multiples of ",
                     alignment.offset_bytes, " bytes and memory in multiples of ",
                     alignment.memory_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

OperationPool::OperationPool(uint32_t depth) : operations_(depth) {
  for (uint32_t i = 0; i < depth; ++i) operations_[i].next = i + 1 < depth ? i + 1 : kNone;
}

uint32_t OperationPool::Take() {
  if (free_ == kNone) return kNone;
  const uint32_t index = free_;
  free_ = operations_[index].next;
  ++taken_;
  return index;
}

void OperationPool::Return(uint32_t index) {
  operations_[index].next = free_;
  free_ = index;
  --taken_;
}

void OperationList::PushBack(OperationPool& pool, uint32_t index) {
  pool[index].next = OperationPool::kNone;
  if (empty()) {
    head_ = index;
  } else {
    pool[tail_].next = index;
  }
  tail_ = index;
}

uint32_t OperationList::PopFront(OperationPool& pool) {
  const uint32_t index = head_;
  head_ = pool[index].next;
  return index;
}

Progress Advance(Operation& operation, const File& file, int result, EngineCounters& counters) {
  const IoRequest& request = operation.request;
  if (result == -EINTR || result == -EAGAIN) {
    if (++operation.retries <= kMaxRetries) {
      ++counters.retried;
      return Progress::kAgain;
    }
  }
  if (result < 0) {
    operation.error_number = -result;
    ++counters.failed;
    return Progress::kFinished;
  }
  if (request.operation == IoOperation::kSync) return Progress::kFinished;
  operation.retries = 0;
  operation.transferred_bytes += static_cast<uint32_t>(result);
  if (operation.remaining_bytes() == 0) return Progress::kFinished;
  if (request.operation == IoOperation::kRead) {
    // A direct read ends off its alignment only where the file does; what would be asked
    // next could not be aligned anyway.
    const bool file_ended =
        result == 0 ||
        (operation.transferred_bytes & (file.alignment().offset_bytes - 1)) != 0;
    if (file_ended) return Progress::kFinished;
  } else if (result == 0) {
    operation.error_number = EIO;  // no progress and no reason: do not try for ever
    ++counters.failed;
    return Progress::kFinished;
  }
  ++counters.resumed;
  return Progress::kAgain;
}

absl::Status Admit(FixedBufferRegistry& registry, FileTable& files, EngineLevel level,
                   const IoRequest& request, Operation& operation) {
  FileTable::Entry* entry = files.Find(request.file);
  if (entry == nullptr) return UnknownFileStatus(request.file);
  operation.fixed = false;
  if (request.operation != IoOperation::kSync) {
    if (absl::Status status = CheckTransfer(request, *entry->file); !status.ok()) return status;
    if (!request.region.is_unregistered()) {
      if (const auto error = registry.TryLease(request.region, request.data, request.length_bytes,
                                               operation.lease)) {
        const absl::Status why =
            registry.Explain(*error, request.region, request.data, request.length_bytes);
        return ValidationStatus(*error,
                                absl::StrCat(Describe(request, *entry->file), ": ", why.message()));
      }
      operation.fixed =
          level == EngineLevel::kUringFixed && entry->fixed && operation.lease.fixed();
    }
  }
  operation.request = request;
  operation.transferred_bytes = 0;
  operation.retries = 0;
  operation.error_number = 0;
  ++entry->in_flight;
  return absl::OkStatus();
}

void Count(const Operation& operation, EngineCounters& counters) {
  if (operation.request.operation == IoOperation::kSync) {
    ++counters.syncs;
  } else if (operation.fixed) {
    ++counters.fixed_transfers;
  } else {
    ++counters.plain_transfers;
  }
}

void Conclude(Operation& operation, FileTable& files) {
  FileTable::Entry& entry = files.at(operation.request.file.slot());
  if (operation.error_number != 0) {
    operation.status = ErrnoStatus(operation.error_number, Describe(operation.request, *entry.file));
  }
  operation.lease.End();
  --entry.in_flight;
}

void FillCompletion(Operation& operation, IoCompletion& completion) {
  completion.user_data = operation.request.user_data;
  completion.transferred_bytes = operation.transferred_bytes;
  completion.status = std::exchange(operation.status, absl::OkStatus());
}

}  // namespace fixpool::io
