#include "fixpool/io/fork_guard.h"

#include <mutex>
#include <new>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/io/wiped_memory.h"

namespace fixpool::io {
namespace {

// A word that is 0 in every child, kept for ever.
std::atomic<uint64_t>* MakeWord() {
  static auto* const memory =
      new absl::StatusOr<WipedMemory>(WipedMemory::Reserve(sizeof(std::atomic<uint64_t>)));
  FIXPOOL_CHECK(memory->ok(), memory->status().message());
  return new ((*memory)->data()) std::atomic<uint64_t>(0);
}

}  // namespace

uint64_t ForkGuard::NumberOfThisProcess() {
  static std::once_flag made;
  std::call_once(made, [] { current_ = MakeWord(); });
  // Ordinary memory: a child goes on counting where its parent was.
  static std::atomic<uint64_t> last_number{0};
  uint64_t number = current_->load(std::memory_order_relaxed);
  if (ABSL_PREDICT_TRUE(number != 0)) return number;
  const uint64_t next = last_number.fetch_add(1, std::memory_order_relaxed) + 1;
  // Another thread may be first; then its number is that of the process.
  return current_->compare_exchange_strong(number, next, std::memory_order_relaxed) ? next : number;
}

absl::Status ForkGuard::Refusal(absl::string_view operation) const {
  return absl::FailedPreconditionError(
      absl::StrCat(operation,
                   ": this process is a forked child of the one that made the object, "
                   "which works there alone; make a new one here, after the fork"));
}

}  // namespace fixpool::io
