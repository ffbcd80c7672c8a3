#include "fixpool/storage/page_seal.h"

#include <cstring>

namespace fixpool::storage {

// Byte 0 is zero, and each other one like the one before it.
bool IsAllZeros(std::span<const std::byte> page) {
  return page.empty() || (page[0] == std::byte{0} &&
                          std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0);
}

}  // namespace fixpool::storage
