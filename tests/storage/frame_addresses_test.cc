#include "fixpool/storage/frame_addresses.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <set>
#include <thread>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tests/support/seed.h"

namespace fixpool::storage {
namespace {

constexpr uint32_t kPageBytes = 4096;
constexpr uint64_t kRegionPages = 1024;  // 4 MiB

static_assert(std::is_trivially_copyable_v<FrameAddresses::View>);

std::byte* At(uint64_t page) { return reinterpret_cast<std::byte*>(page * kPageBytes); }

std::vector<std::byte*> Region(uint64_t first_page, uint64_t pages = kRegionPages) {
  std::vector<std::byte*> all;
  for (uint64_t i = 0; i < pages; ++i) all.push_back(At(first_page + i));
  return all;
}

FrameAddresses Make(const std::vector<std::byte*>& pages, uint32_t max_frames = 1u << 22,
                    size_t max_block_bytes = size_t{2} << 20) {
  return FrameAddresses::Create(pages, {.page_bytes = kPageBytes,
                                        .max_frames = max_frames,
                                        .max_block_bytes = max_block_bytes})
      .value();
}

void ExpectEachHasItsOwn(const std::vector<std::byte*>& pages, const FrameAddresses& addresses) {
  std::set<FrameIndex> frames;
  for (std::byte* const page : pages) {
    const FrameIndex frame = addresses.IndexOf(page);
    EXPECT_LT(ToInt(frame), addresses.size());
    EXPECT_EQ(addresses[frame], page);
    EXPECT_EQ(addresses.view()[frame], page);
    EXPECT_TRUE(frames.insert(frame).second);
  }
  EXPECT_LE(addresses.size(), pages.size() + pages.size() / 63);
}

TEST(FrameAddressesTest, OneFrame) { ExpectEachHasItsOwn({At(1000003)}, Make({At(1000003)})); }

TEST(FrameAddressesTest, WholeRegionsInAnyOrder) {
  std::vector<std::byte*> pages;
  for (const uint64_t base : {uint64_t{1} << 24, uint64_t{1} << 22}) {
    for (std::byte* const page : Region(base, 8192)) pages.push_back(page);
  }
  std::mt19937_64 random(tests::Seed());
  std::shuffle(pages.begin(), pages.end(), random);
  for (const size_t max_block_bytes : {size_t{2} << 20, size_t{16} << 20, size_t{1} << 30}) {
    const FrameAddresses addresses = Make(pages, 1u << 22, max_block_bytes);
    EXPECT_EQ(addresses.size(), pages.size());
    ExpectEachHasItsOwn(pages, addresses);
  }
}

TEST(FrameAddressesTest, ScatteredPagesWasteLittle) {
  std::mt19937_64 random(tests::Seed());
  for (const uint64_t one_of : {2, 3, 10, 1000}) {
    std::vector<std::byte*> pages;
    for (uint64_t i = 1; i < 100000; ++i) {
      if (random() % one_of == 0) pages.push_back(At(i));
    }
    ExpectEachHasItsOwn(pages, Make(pages));
  }
}

TEST(FrameAddressesTest, BlocksAreNumberedInTheOrderOfTheirPages) {
  std::vector<std::byte*> pages = Region(1u << 24);
  for (std::byte* const page : Region(1u << 22)) pages.push_back(page);
  const FrameAddresses addresses = Make(pages);
  EXPECT_EQ(ToInt(addresses.IndexOf(At(1u << 24))), 0u);
  EXPECT_EQ(ToInt(addresses.IndexOf(At(1u << 22))), kRegionPages);
}

TEST(FrameAddressesTest, KeepsItsNumbersWhileMemoryComesAndComesBack) {
  const std::vector<std::byte*> first = Region(1u << 24);
  const std::vector<std::byte*> second = Region(1u << 22);
  FrameAddresses addresses = Make(first);
  const FrameAddresses::View before = addresses.view();
  ASSERT_TRUE(addresses.Add(second).ok());
  std::vector<std::byte*> all = first;
  all.insert(all.end(), second.begin(), second.end());
  ExpectEachHasItsOwn(all, addresses);
  const FrameIndex frame = addresses.IndexOf(second.back());
  EXPECT_EQ(before[frame], second.back());
  // Gone meanwhile, and mapped at the same addresses again.
  ASSERT_TRUE(addresses.Add(second).ok());
  EXPECT_EQ(addresses.size(), 2 * kRegionPages);
  EXPECT_EQ(addresses.IndexOf(second.back()), frame);
}

TEST(FrameAddressesTest, NoRoomForMore) {
  FrameAddresses addresses = Make(Region(1u << 24), 2 * kRegionPages + 100);
  EXPECT_EQ(addresses.max_size(), 2 * kRegionPages);
  EXPECT_EQ(addresses.view().size(), 2 * kRegionPages);
  EXPECT_TRUE(absl::IsResourceExhausted(addresses.Add(Region(1u << 22, kRegionPages + 1))));
  EXPECT_EQ(addresses.size(), kRegionPages);
  EXPECT_TRUE(addresses.Add(Region(1u << 22)).ok());
  const absl::StatusOr<FrameAddresses> none =
      FrameAddresses::Create(Region(1u << 24), {.page_bytes = kPageBytes, .max_frames = 1000});
  EXPECT_TRUE(absl::IsResourceExhausted(none.status())) << none.status();
}

TEST(FrameAddressesTest, ReadersFindWhatWasPublished) {
  FrameAddresses addresses = Make(Region(kRegionPages), 1u << 22);
  const FrameAddresses::View view = addresses.view();
  std::atomic<uint32_t> published{0};
  std::thread reader([&] {
    for (uint32_t seen = 0; seen < 100;) {
      seen = published.load(std::memory_order_acquire);
      EXPECT_EQ(view[FrameIndex{seen * static_cast<uint32_t>(kRegionPages)}],
                At((seen + 1) * kRegionPages));
    }
  });
  for (uint32_t i = 1; i <= 100; ++i) {
    ASSERT_TRUE(addresses.Add(Region((i + 1) * kRegionPages)).ok());
    published.store(i, std::memory_order_release);
  }
  reader.join();
  EXPECT_EQ(addresses.size(), 101 * kRegionPages);
}

TEST(FrameAddressesDeathTest, AddressOfNoFrame) {
  const FrameAddresses addresses = Make(Region(1u << 24));
  EXPECT_DEATH((void)addresses.IndexOf(At(1)), "an address that is no frame's");
}

}  // namespace
}  // namespace fixpool::storage
