#include "fixpool/storage/double_write_area.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace fixpool::storage {

std::shared_ptr<std::byte> AreaMemory(size_t bytes, size_t page_bytes) {
  void* const memory = std::aligned_alloc(page_bytes, bytes);
  if (memory == nullptr) return nullptr;
  std::memset(memory, 0, bytes);
  return std::shared_ptr<std::byte>(static_cast<std::byte*>(memory), std::free);
}

uint32_t CopiesOfABatch(uint32_t page_bytes, uint64_t capacity_pages) {
  constexpr uint32_t kBatchBytes = 1u << 20;
  const uint64_t most = std::clamp<uint64_t>(kBatchBytes / page_bytes, 2, capacity_pages) - 1;
  return static_cast<uint32_t>(std::min<uint64_t>(most, DoubleWriteHeader::kMostCopies));
}

}  // namespace fixpool::storage
