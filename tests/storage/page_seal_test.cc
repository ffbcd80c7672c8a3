#include "fixpool/storage/page_seal.h"

#include <cstddef>
#include <vector>

#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

TEST(PageSealTest, TellsZerosFromAnythingElse) {
  for (const size_t size_bytes : {0u, 1u, 8u, 4096u}) {
    std::vector<std::byte> page(size_bytes);
    EXPECT_TRUE(IsAllZeros(page)) << size_bytes;
    for (std::byte& byte : page) {
      byte = std::byte{0x80};
      ASSERT_FALSE(IsAllZeros(page)) << size_bytes << ", byte " << &byte - page.data();
      byte = std::byte{0};
    }
  }
  EXPECT_FALSE(IsAllZeros(std::vector<std::byte>(4096, std::byte{1})));
}

}  // namespace
}  // namespace fixpool::storage
