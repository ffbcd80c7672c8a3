#include "fixpool/io/fork_guard.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mutex>

#include "absl/strings/str_cat.h"

namespace fixpool::io {
namespace {

// Where there is no page that the kernel wipes.
std::atomic<uint64_t> wiped_by_handler{0};

void WipeInChild() { wiped_by_handler.store(0, std::memory_order_relaxed); }

// A word that is 0 in every child.
std::atomic<uint64_t>* MakeWord() {
  const size_t page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* const page =
      mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page != MAP_FAILED && madvise(page, page_bytes, MADV_WIPEONFORK) == 0) {
    return new (page) std::atomic<uint64_t>(0);
  }
  if (page != MAP_FAILED) munmap(page, page_bytes);
  pthread_atfork(nullptr, nullptr, WipeInChild);
  return &wiped_by_handler;
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
