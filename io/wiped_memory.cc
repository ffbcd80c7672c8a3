#include "fixpool/io/wiped_memory.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "fixpool/io/sanitizer.h"

namespace fixpool::io {
namespace {

// Memory that the kernel does not wipe. A list without a lock, which a child might find held for
// ever; its nodes are never given back, and serve again.
struct ByHand {
  std::atomic<bool> taken{true};
  std::atomic<std::byte*> data{nullptr};  // null: there is nothing to wipe
  size_t size_bytes = 0;
  ByHand* older = nullptr;
};
std::atomic<ByHand*> newest{nullptr};

void WipeInChild() {
  for (ByHand* node = newest.load(); node != nullptr; node = node->older) {
    std::byte* const data = node->data.load();
    if (data == nullptr) continue;
    // Dropping the pages touches none of them; where even that is refused, writing does it.
    if (madvise(data, node->size_bytes, MADV_DONTNEED) != 0) std::memset(data, 0, node->size_bytes);
  }
}

void WipeByHand(std::byte* data, size_t size_bytes) {
  static std::atomic<bool> registered{false};
  if (!registered.exchange(true)) pthread_atfork(nullptr, nullptr, WipeInChild);
  ByHand* node = newest.load();
  while (node != nullptr && node->taken.exchange(true)) node = node->older;
  if (node == nullptr) {
    node = new ByHand();
    sanitizer::LeakedOnPurpose(node);
    node->older = newest.load();
    while (!newest.compare_exchange_weak(node->older, node)) {
    }
  }
  node->size_bytes = size_bytes;
  node->data.store(data);
}

void ForgetByHand(const std::byte* data) {
  for (ByHand* node = newest.load(); node != nullptr; node = node->older) {
    if (node->data.load() != data) continue;
    node->data.store(nullptr);
    node->taken.store(false);
  }
}

}  // namespace

absl::StatusOr<WipedMemory> WipedMemory::Reserve(size_t size_bytes) {
  const size_t page_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_bytes = (size_bytes + page_bytes - 1) / page_bytes * page_bytes;
  void* const data = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("no address space for a table of ", size_bytes,
                                                     " bytes: mmap: ", std::strerror(errno),
                                                     " (see RLIMIT_AS and vm.max_map_count)"));
  }
  auto* const bytes = static_cast<std::byte*>(data);
  if (madvise(data, size_bytes, MADV_WIPEONFORK) != 0) WipeByHand(bytes, size_bytes);
  // One touched byte must not cost 2 MiB. Where there are no huge pages this fails, rightly.
  (void)madvise(data, size_bytes, MADV_NOHUGEPAGE);
  return WipedMemory(bytes, size_bytes);
}

WipedMemory::~WipedMemory() {
  if (data_ == nullptr) return;
  ForgetByHand(data_);
  munmap(data_, size_bytes_);
}

}  // namespace fixpool::io
