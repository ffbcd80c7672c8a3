#include "fixpool/io/operation.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/sanitizer.h"

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
  std::string text = absl::StrCat(request.atomic ? "atomic " : "", OperationName(request.operation),
                                  " of ", request.length_bytes, " bytes at offset ",
                                  request.offset_bytes, " of ", file.path());
  if (!request.pieces.empty()) absl::StrAppend(&text, " in ", request.pieces.size(), " pieces");
  return text;
}

bool Misaligned(const void* data, uint32_t length_bytes, const File::Alignment& alignment) {
  return (length_bytes & (alignment.offset_bytes - 1)) != 0 ||
         (reinterpret_cast<uintptr_t>(data) & (alignment.memory_bytes - 1)) != 0;
}

absl::Status MisalignedStatus(const IoRequest& request, const File& file) {
  return ValidationStatus(
      ValidationError::kMisaligned,
      absl::StrCat(Describe(request, file), ": direct I/O wants offset and length in multiples of ",
                   file.alignment().offset_bytes, " bytes and memory in multiples of ",
                   file.alignment().memory_bytes));
}

// What an ordinary transfer cannot get wrong.
absl::Status CheckPieces(const IoRequest& request, const File& file) {
  const auto invalid = [&](auto... what) {
    return absl::InvalidArgumentError(absl::StrCat(Describe(request, file), ": ", what...));
  };
  if (request.pieces.size() > kMaxPieces) {
    return invalid("a joined transfer has up to ", kMaxPieces, " pieces");
  }
  uint64_t total_bytes = 0;
  for (const IoPiece& piece : request.pieces) {
    if (piece.length_bytes == 0) return invalid("a piece has at least one byte");
    total_bytes += piece.length_bytes;
    if (Misaligned(piece.data, piece.length_bytes, file.alignment())) {
      return MisalignedStatus(request, file);
    }
  }
  if (total_bytes != request.length_bytes) {
    return invalid("the pieces have ", total_bytes, " bytes together");
  }
  return absl::OkStatus();
}

// How many pieces there are after those that follow each other in memory are made one.
size_t StretchesOf(const IoRequest& request) {
  size_t stretches = 1;
  for (size_t i = 1; i < request.pieces.size(); ++i) {
    const IoPiece& before = request.pieces[i - 1];
    if (static_cast<std::byte*>(before.data) + before.length_bytes != request.pieces[i].data) {
      ++stretches;
    }
  }
  return stretches;
}

// What the kernel would say EINVAL or EOPNOTSUPP to.
absl::Status CheckAtomic(const IoRequest& request, const File& file) {
  const auto invalid = [&](auto... what) {
    return absl::InvalidArgumentError(absl::StrCat(Describe(request, file), ": ", what...));
  };
  if (request.operation != IoOperation::kWrite) return invalid("only writes can be atomic");
  if (file.atomic_write_unit_max() == 0) {
    return invalid("this file has no atomic writes", file.direct() ? "" : " without direct I/O",
                   "; see File::atomic_write_unit_max");
  }
  const uint32_t length_bytes = request.length_bytes;
  if (!std::has_single_bit(length_bytes) || length_bytes < file.atomic_write_unit_min() ||
      length_bytes > file.atomic_write_unit_max()) {
    return invalid("atomic writes of this file have a power of two from ",
                   file.atomic_write_unit_min(), " to ", file.atomic_write_unit_max(), " bytes");
  }
  if ((request.offset_bytes & (length_bytes - 1)) != 0) {
    return invalid("the offset of an atomic write is a multiple of its length");
  }
  const size_t stretches = StretchesOf(request);
  if (stretches <= file.atomic_write_segments_max()) return absl::OkStatus();
  return invalid("its pieces are ", stretches, " stretches of memory, where atomic writes of this ",
                 "file take ", file.atomic_write_segments_max());
}

absl::Status CheckTransfer(const IoRequest& request, const File& file) {
  if (request.length_bytes == 0 || request.length_bytes > MemoryRegion::kMaxBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        Describe(request, file), ": a transfer has 1 to ", MemoryRegion::kMaxBytes, " bytes"));
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
  if ((request.offset_bytes & (alignment.offset_bytes - 1)) != 0) {
    return MisalignedStatus(request, file);
  }
  if (request.atomic) {
    if (absl::Status status = CheckAtomic(request, file); !status.ok()) return status;
  }
  if (!request.pieces.empty()) return CheckPieces(request, file);
  if (Misaligned(request.data, request.length_bytes, alignment)) {
    return MisalignedStatus(request, file);
  }
  return absl::OkStatus();
}

// Validates the memory and leases its regions.
absl::Status Lease(FixedBufferRegistry& registry, const IoRequest& request, const File& file,
                   Operation& operation) {
  IoPiece piece{
      .region = request.region, .data = request.data, .length_bytes = request.length_bytes};
  std::optional<ValidationError> error;
  if (operation.joined != nullptr) {
    if (const auto refusal = operation.joined->Take(registry, request.pieces)) {
      piece = request.pieces[refusal->piece];
      error = refusal->error;
    }
  } else if (!request.region.is_unregistered()) {
    error = registry.TryLease(piece.region, piece.data, piece.length_bytes, operation.lease);
  }
  if (!error.has_value()) return absl::OkStatus();
  const absl::Status why = registry.Explain(*error, piece.region, piece.data, piece.length_bytes);
  return ValidationStatus(*error, absl::StrCat(Describe(request, file), ": ", why.message()));
}

// Whether all memory of the leased operation lies in one of the kernel's registered buffers, and
// the kernel has an operation that takes it from there.
bool CanGoFixed(const Operation& operation, const TransferMeans& means) {
  if (operation.joined == nullptr) return operation.lease.held() && operation.lease.fixed();
  return operation.joined->in_one_slot() && (means.joined_fixed || !operation.vectored());
}

// Books that the next `bytes` were transferred.
void Book(Operation& operation, uint32_t bytes) {
  operation.retries = 0;
  operation.transferred_bytes += bytes;
  if (operation.joined != nullptr) operation.joined->Advance(bytes);
}

// No progress and no reason: not for ever.
Progress GiveUp(Operation& operation, EngineCounters& counters) {
  operation.error_number = EIO;
  ++counters.failed;
  return Progress::kFinished;
}

bool EndsBefore(const File& file, uint64_t offset_bytes) {
  const absl::StatusOr<uint64_t> size_bytes = file.SizeBytes();
  return size_bytes.ok() && *size_bytes <= offset_bytes;
}

// A read that got nothing, or stopped off the alignment of direct I/O, looks like one at the end of
// the file. It need not be: a bad sector, or a file system across a network, ends a read early
// too, and an alignment that is only supposed (File::alignment) is larger than the device's. So the
// file is asked. Where it goes on, so does the read, from the last place that it can be asked for.
Progress AdvanceRead(Operation& operation, const File& file, uint32_t got,
                     EngineCounters& counters) {
  const uint32_t total = operation.transferred_bytes + got;
  const uint32_t off_alignment = total & (file.alignment().offset_bytes - 1);
  if (total < operation.request.length_bytes && (got == 0 || off_alignment != 0)) {
    if (EndsBefore(file, operation.request.offset_bytes + total)) {
      Book(operation, got);
      return Progress::kFinished;
    }
    got -= off_alignment;
    if (got == 0) {
      if (++operation.retries > kMaxRetries) return GiveUp(operation, counters);
      ++counters.retried;
      return Progress::kAgain;
    }
  }
  Book(operation, got);
  if (operation.remaining_bytes() == 0) return Progress::kFinished;
  ++counters.resumed;
  return Progress::kAgain;
}

}  // namespace

OperationPool::OperationPool(uint32_t depth, uint32_t joined_depth)
    : operations_(depth), joined_(std::min(depth, joined_depth)) {
  for (uint32_t i = 0; i < depth; ++i) operations_[i].next = i + 1 < depth ? i + 1 : kNone;
  free_joined_.reserve(joined_.size());
  for (JoinedMemory& memory : joined_) free_joined_.push_back(&memory);
}

uint32_t OperationPool::Take(const IoRequest& request) {
  const bool joined = !request.pieces.empty() && request.operation != IoOperation::kSync;
  if (free_ == kNone || (joined && free_joined_.empty() && !joined_.empty())) return kNone;
  const uint32_t index = free_;
  free_ = operations_[index].next;
  ++taken_;
  operations_[index].joined = nullptr;
  if (joined && !joined_.empty()) {
    operations_[index].joined = free_joined_.back();
    free_joined_.pop_back();
  }
  return index;
}

void OperationPool::Return(uint32_t index) {
  JoinedMemory* const joined = std::exchange(operations_[index].joined, nullptr);
  if (joined != nullptr) free_joined_.push_back(joined);
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

void AnnotateTransfer(Operation& operation, int result) {
  if (result <= 0 || operation.request.operation == IoOperation::kSync) return;
  const iovec whole{.iov_base = operation.remaining_data(), .iov_len = operation.remaining_bytes()};
  size_t left = static_cast<size_t>(result);
  for (const iovec& piece : operation.joined != nullptr ? operation.joined->remaining()
                                                        : absl::MakeConstSpan(&whole, 1)) {
    const size_t count = std::min(left, piece.iov_len);
    if (count == 0) break;
    if (operation.request.operation == IoOperation::kRead) {
      sanitizer::KernelWrote(piece.iov_base, count);
    } else {
      sanitizer::KernelRead(piece.iov_base, count);
    }
    left -= count;
  }
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
  const auto got = static_cast<uint32_t>(result);
  if (request.operation == IoOperation::kRead) return AdvanceRead(operation, file, got, counters);
  if (Book(operation, got); operation.remaining_bytes() == 0) return Progress::kFinished;
  // No reason to go on; or, of one that is to be done as a whole, the rest would be a write of its
  // own.
  if (got == 0 || request.atomic) return GiveUp(operation, counters);
  ++counters.resumed;
  return Progress::kAgain;
}

absl::Status Admit(FixedBufferRegistry& registry, FileTable& files, const TransferMeans& means,
                   const IoRequest& request, Operation& operation) {
  FileTable::Entry* entry = files.Find(request.file);
  if (entry == nullptr) return UnknownFileStatus(request.file);
  operation.fixed = false;
  if (request.operation != IoOperation::kSync) {
    const File& file = *entry->file;
    if (!request.pieces.empty() && operation.joined == nullptr) {
      return absl::UnimplementedError(
          absl::StrCat(Describe(request, file), ": the engine's joined_depth is 0"));
    }
    if (absl::Status status = CheckTransfer(request, file); !status.ok()) return status;
    if (absl::Status status = Lease(registry, request, file, operation); !status.ok()) {
      return status;
    }
    operation.fixed = means.level == EngineLevel::kUringFixed && entry->fixed && !request.atomic &&
                      CanGoFixed(operation, means);
  }
  operation.request = request;
  operation.request.pieces = {};  // the caller's
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
  if (operation.joined != nullptr) ++counters.joined_transfers;
  if (operation.request.atomic && operation.request.operation == IoOperation::kWrite) {
    ++counters.atomic_transfers;
  }
}

void Conclude(Operation& operation, FileTable& files) {
  FileTable::Entry& entry = files.at(operation.request.file.slot());
  if (operation.error_number != 0) {
    operation.status =
        ErrnoStatus(operation.error_number, Describe(operation.request, *entry.file));
  }
  operation.lease.End();
  if (operation.joined != nullptr) operation.joined->Release();
  --entry.in_flight;
}

void FillCompletion(Operation& operation, IoCompletion& completion) {
  completion.user_data = operation.request.user_data;
  completion.transferred_bytes = operation.transferred_bytes;
  completion.status = std::exchange(operation.status, absl::OkStatus());
}

}  // namespace fixpool::io
