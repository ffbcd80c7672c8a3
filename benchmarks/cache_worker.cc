#include "benchmarks/cache_worker.h"

#include <cstddef>
#include <cstring>

#include "absl/types/span.h"
#include "benchmarks/verify_pattern.h"

namespace fixpool::benchmarks {

CacheWorker::CacheWorker(const CacheStage& stage, uint32_t thread)
    : stage_(stage),
      sequence_({.pattern = stage.options.pattern,
                 .operation = stage.options.operation,
                 .pages = stage.page_file.pages(),
                 .thread = thread,
                 .threads = stage.options.threads,
                 .seed = stage.options.seed}) {}

absl::Status CacheWorker::Look(const storage::ReadGuard& guard, uint64_t page) {
  const auto bytes = guard.bytes();
  uint64_t word;
  std::memcpy(&word, bytes.data(), sizeof(word));
  bytes_seen_ += word & 0xFF;  // touched, as a user would
  if (stage_.ledger == nullptr) return absl::OkStatus();
  return stage_.ledger->Check(page, absl::MakeConstSpan(bytes.data(), bytes.size()));
}

absl::Status CacheWorker::Change(storage::WriteGuard& guard, uint64_t page) {
  const auto mutable_bytes = guard.mutable_bytes();
  const absl::Span<std::byte> bytes(mutable_bytes.data(), mutable_bytes.size());
  const uint64_t offset_bytes = page * stage_.options.page_bytes;
  if (stage_.ledger == nullptr) {
    RestampPattern(bytes, offset_bytes, ++writes_);
    return absl::OkStatus();
  }
  // What was there is looked at too: it may have been read for this write.
  if (absl::Status status = stage_.ledger->Check(page, bytes); !status.ok()) return status;
  const uint32_t sequence = stage_.ledger->NextSequence(page);
  WritePattern(bytes, offset_bytes, sequence);
  stage_.ledger->Set(page, sequence);
  return absl::OkStatus();
}

}  // namespace fixpool::benchmarks
