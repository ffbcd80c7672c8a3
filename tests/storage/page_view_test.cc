#include "fixpool/storage/page_view.h"

#include <array>
#include <limits>

#include "gtest/gtest.h"

namespace fixpool::storage {
namespace {

class PageViewTest : public testing::Test {
 protected:
  PageViewTest() {
    for (size_t i = 0; i < page_.size(); ++i) page_[i] = static_cast<std::byte>(i % 251);
  }
  alignas(4096) std::array<std::byte, 4096> page_;
  const PageView view_{page_.data(), 4096};
};

template <typename T>
T Plain(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

TEST_F(PageViewTest, LoadsAtAnyPlace) {
  for (size_t offset = 0; offset + 8 <= page_.size(); ++offset) {
    ASSERT_EQ(view_.Load<uint8_t>(offset), Plain<uint8_t>(&page_[offset]));
    ASSERT_EQ(view_.Load<uint16_t>(offset), Plain<uint16_t>(&page_[offset]));
    ASSERT_EQ(view_.Load<uint32_t>(offset), Plain<uint32_t>(&page_[offset]));
    ASSERT_EQ(view_.Load<uint64_t>(offset), Plain<uint64_t>(&page_[offset]));
  }
  struct Odd {
    uint32_t a;
    uint16_t b[5];
  };
  EXPECT_EQ(view_.Load<Odd>(33).b[4], Plain<Odd>(&page_[33]).b[4]);
}

TEST_F(PageViewTest, CopiesAnyStretch) {
  for (size_t offset = 0; offset < 20; ++offset) {
    for (size_t size = 0; size < 40; ++size) {
      std::array<std::byte, 40> copy{};
      view_.CopyTo(offset, std::span(copy).first(size));
      ASSERT_EQ(std::memcmp(copy.data(), &page_[offset], size), 0);
      for (size_t i = size; i < copy.size(); ++i) ASSERT_EQ(copy[i], std::byte{0});
    }
  }
}

// An offset may be a torn value that was read from another page.
TEST_F(PageViewTest, OutsideThePageAreZeros) {
  for (const size_t offset :
       {size_t{4090}, size_t{4096}, size_t{1} << 40, std::numeric_limits<size_t>::max()}) {
    EXPECT_EQ(view_.Load<uint64_t>(offset), 0u) << offset;
    std::array<std::byte, 9> copy;
    copy.fill(std::byte{7});
    view_.CopyTo(offset, copy);
    EXPECT_EQ(copy[8], std::byte{0}) << offset;
  }
  EXPECT_EQ(view_.Load<uint64_t>(4088), Plain<uint64_t>(&page_[4088]));
}

}  // namespace
}  // namespace fixpool::storage
