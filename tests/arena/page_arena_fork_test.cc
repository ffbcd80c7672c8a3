// A PageArena of the parent's in a forked child.

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "gtest/gtest.h"
#include "tests/support/address_space.h"
#include "tests/support/child_process.h"

namespace fixpool::arena {
namespace {

struct Pool {
  std::unique_ptr<io::FixedBufferRegistry> registry = io::FixedBufferRegistry::Create({}).value();
  std::unique_ptr<PageArena> arena =
      PageArena::Create(registry.get(), {.size_bytes = size_t{8} << 20,
                                         .region_bytes = size_t{4} << 20})
          .value();
};

void ExpectRefused(const absl::Status& status, const char* operation) {
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << operation << ": " << status;
  EXPECT_TRUE(absl::StrContains(status.message(), operation)) << status;
}

TEST(PageArenaForkTest, ChildIsRefusedAndTheParentGoesOn) {
  Pool pool;
  PageArena& arena = *pool.arena;
  const PageHandle page = *arena.Allocate();
  std::byte* const bytes = arena.AddressOf(page);
  bytes[0] = std::byte{7};
  const PageHandle in_magazine = *arena.Allocate();
  ASSERT_TRUE(arena.Free(in_magazine).ok());
  FIXPOOL_IN_CHILD([&] {
    EXPECT_EQ(arena.TryAllocate(), std::nullopt);
    ExpectRefused(arena.Allocate().status(), "PageArena::Allocate");
    ExpectRefused(arena.Allocate(8192).status(), "PageArena::Allocate");
    ExpectRefused(arena.Free(page), "PageArena::Free");
    ExpectRefused(arena.Resolve(page).status(), "PageArena::Resolve");
    ExpectRefused(arena.Grow(4096), "PageArena::Grow");
    ExpectRefused(arena.Shrink(size_t{4} << 20, io::Deadline::Past()).status(), "PageArena::Shrink");
    EXPECT_FALSE(tests::IsKeptFromChildren(bytes));
    pool.arena.reset();  // touches nothing of the parent's
    return std::string();
  });
  EXPECT_EQ(bytes[0], std::byte{7});
  EXPECT_TRUE(arena.Free(page).ok());
  EXPECT_EQ(arena.Shrink(size_t{4} << 20, io::Deadline::Past()).value(), size_t{4} << 20);
  EXPECT_EQ(arena.free_count(), arena.page_count());
}

// Threads of the child's own, which exit while the parent's arena is remembered.
TEST(PageArenaForkTest, ChildHasArenasOfItsOwn) {
  Pool pool;
  ASSERT_TRUE(pool.arena->Free(*pool.arena->Allocate()).ok());
  FIXPOOL_IN_CHILD([] {
    Pool own;
    const PageHandle page = *own.arena->Allocate();
    own.arena->AddressOf(page)[0] = std::byte{1};
    std::thread([&own] {
      for (int i = 0; i < 100; ++i) EXPECT_TRUE(own.arena->Free(*own.arena->Allocate()).ok());
    }).join();
    EXPECT_TRUE(own.arena->Free(page).ok());
    EXPECT_EQ(own.arena->free_count(), own.arena->page_count());
    return std::string();
  });
  EXPECT_EQ(pool.arena->free_count(), pool.arena->page_count());
}

}  // namespace
}  // namespace fixpool::arena
