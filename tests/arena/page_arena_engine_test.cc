// A PageArena and the kernel: transfers in and out of its pages, and what becomes of it where
// the kernel refuses to pin its memory.

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/error.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/open_engine.h"
#include "gtest/gtest.h"
#include "tests/support/child_process.h"
#include "tests/support/scratch.h"

namespace fixpool::arena {
namespace {

using io::FixedBufferRegistry;

// An engine and a registry, in the order in which they must go.
struct Stack {
  std::unique_ptr<FixedBufferRegistry> registry = FixedBufferRegistry::Create({}).value();
  std::unique_ptr<io::IoEngine> engine = io::OpenEngine(registry.get()).value();

  bool uring() const { return engine->Report().level == io::EngineLevel::kUringFixed; }
};

absl::Status Transfer(io::IoEngine& engine, const io::IoRequest& request) {
  const io::SubmitResult submitted = engine.Submit({&request, 1});
  if (submitted.accepted != 1) return submitted.status;
  io::IoCompletion done[1];
  while (engine.Reap(absl::MakeSpan(done), io::Deadline::Infinite()) == 0) {
  }
  return done[0].status;
}

TEST(PageArenaEngineTest, TransfersPagesAsFixedBuffers) {
  Stack stack;
  if (!stack.uring()) GTEST_SKIP() << stack.engine->Report().ToString();
  for (const PageBacking backing : {PageBacking::k4KiB, PageBacking::kTransparent}) {
    const auto arena = PageArena::Create(
        stack.registry.get(),
        {.size_bytes = size_t{4} << 20,
         .page_bytes = 16384,
         .ladder = {.one_gib = RungPolicy::kNever,
                    .two_mib = RungPolicy::kNever,
                    .transparent = backing == PageBacking::kTransparent ? RungPolicy::kPrefer
                                                                        : RungPolicy::kNever},
         .fixed = FixedBufferRegistry::FixedPolicy::kRequire,
         .region_bytes = size_t{2} << 20});
    ASSERT_TRUE(arena.ok()) << arena.status();
    const tests::ScratchDirectory scratch;
    const auto file = io::File::Open(scratch.File("pages"), {.create = true});
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->Preallocate(0, 16384).ok());
    const io::FileHandle handle = stack.engine->AddFile(*file).value();

    const PageHandle from = *(*arena)->Allocate();
    const PageHandle to = *(*arena)->Allocate();
    const std::string text = tests::PatternBytes(1, 16384);
    std::memcpy((*arena)->AddressOf(from), text.data(), text.size());
    const uint64_t fixed_before = stack.engine->Report().counters.fixed_transfers;
    const absl::Status written = Transfer(*stack.engine, {.operation = io::IoOperation::kWrite,
                                                          .file = handle,
                                                          .region = from.region,
                                                          .data = (*arena)->AddressOf(from),
                                                          .length_bytes = 16384});
    ASSERT_TRUE(written.ok()) << written;
    const absl::Status read = Transfer(*stack.engine, {.operation = io::IoOperation::kRead,
                                                       .file = handle,
                                                       .region = to.region,
                                                       .data = (*arena)->AddressOf(to),
                                                       .length_bytes = 16384});
    ASSERT_TRUE(read.ok()) << read;
    EXPECT_EQ(std::memcmp((*arena)->AddressOf(to), text.data(), text.size()), 0);
    EXPECT_EQ(stack.engine->Report().counters.fixed_transfers, fixed_before + 2);
  }
}

// Writes pages to a file of its own and reads them back into other pages, until told to stop.
// Each thread has a ring of its own, and all share what is registered.
void MovePages(FixedBufferRegistry& registry, PageArena& arena, io::EngineLevel level,
               const std::string& path, const std::atomic<bool>& stop, std::atomic<uint64_t>& moved) {
  auto engine = io::OpenEngine(&registry, {.depth = 8, .require = level});
  ASSERT_TRUE(engine.ok()) << engine.status();
  const auto file = io::File::Open(path, {.create = true});
  ASSERT_TRUE(file.ok()) << file.status();
  const io::FileHandle handle = (*engine)->AddFile(*file).value();
  while (!stop.load()) {
    const PageHandle from = *arena.Allocate();
    const PageHandle to = *arena.Allocate();
    const uint64_t number = ++moved;
    const std::string text = tests::PatternBytes(number, 4096);
    std::memcpy(arena.AddressOf(from), text.data(), text.size());
    io::IoRequest request = {.operation = io::IoOperation::kWrite,
                             .file = handle,
                             .region = from.region,
                             .data = arena.AddressOf(from),
                             .length_bytes = 4096,
                             .offset_bytes = number % 16 * 4096};
    const absl::Status written = Transfer(**engine, request);
    ASSERT_TRUE(written.ok()) << written;
    request.operation = io::IoOperation::kRead;
    request.region = to.region;
    request.data = arena.AddressOf(to);
    const absl::Status read = Transfer(**engine, request);
    ASSERT_TRUE(read.ok()) << read;
    ASSERT_EQ(std::memcmp(arena.AddressOf(to), text.data(), text.size()), 0) << number;
    ASSERT_TRUE(arena.Free(from).ok());
    ASSERT_TRUE(arena.Free(to).ok());
  }
}

TEST(PageArenaEngineTest, GrowsAndShrinksUnderTransfers) {
  for (const io::EngineLevel level :
       {io::EngineLevel::kUringFixed, io::EngineLevel::kUringPlain, io::EngineLevel::kThreads}) {
    SCOPED_TRACE(io::EngineLevelName(level));
    const auto registry = FixedBufferRegistry::Create({}).value();
    if (const auto engine = io::OpenEngine(registry.get(), {.require = level}); !engine.ok()) {
      GTEST_SKIP() << engine.status().message();
    }
    const auto arena = PageArena::Create(registry.get(), {.size_bytes = size_t{4} << 20,
                                                          .region_bytes = size_t{2} << 20})
                           .value();
    const tests::ScratchDirectory scratch;
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> moved[2] = {};
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        MovePages(*registry, *arena, level, scratch.File(std::to_string(t)), stop, moved[t]);
      });
    }
    // On a busy machine the rounds would else be over before a thread has begun.
    while (!HasFailure() && (moved[0] == 0 || moved[1] == 0)) std::this_thread::yield();
    size_t given_bytes = 0;
    for (int round = 0; round < 30; ++round) {
      EXPECT_TRUE(arena->Grow(size_t{2} << 20).ok());
      const auto given = arena->Shrink(
          size_t{2} << 20, registry->environment()->DeadlineAfter(absl::Seconds(30)));
      EXPECT_TRUE(given.ok()) << given.status();
      given_bytes += given.value_or(0);
    }
    stop.store(true);
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(given_bytes, size_t{60} << 20);
    EXPECT_GT(moved[0], 0u);
    EXPECT_GT(moved[1], 0u);
    EXPECT_EQ(arena->free_count(), arena->page_count());
    EXPECT_EQ(registry->region_count(), 2u);
  }
}

TEST(PageArenaEngineTest, AHandleOfAnArenaThatIsGoneNeverReachesTheKernel) {
  Stack stack;
  const tests::ScratchDirectory scratch;
  const auto file = io::File::Open(scratch.MakeFile("page", tests::PatternBytes(1, 4096)));
  ASSERT_TRUE(file.ok()) << file.status();
  const io::FileHandle handle = stack.engine->AddFile(*file).value();
  auto arena = PageArena::Create(stack.registry.get(), {.size_bytes = 4096}).value();
  const PageHandle page = *arena->Allocate();
  std::byte* const bytes = arena->AddressOf(page);
  arena.reset();
  const absl::Status status = Transfer(*stack.engine, {.operation = io::IoOperation::kRead,
                                                       .file = handle,
                                                       .region = page.region,
                                                       .data = bytes,
                                                       .length_bytes = 4096});
  EXPECT_EQ(io::ValidationErrorOf(status), io::ValidationError::kStaleGeneration) << status;
}

TEST(PageArenaEngineTest, GoesWithoutFixedBuffersWhereMemlockIsTooSmall) {
  FIXPOOL_IN_CHILD([] {
    if (std::string why = tests::DropPrivileges(size_t{1} << 20); !why.empty()) return why;
    Stack stack;
    if (!stack.uring()) return stack.engine->Report().ToString();

    const auto small = PageArena::Create(stack.registry.get(), {.size_bytes = 65536});
    EXPECT_TRUE(small.ok()) << small.status();
    if (!small.ok()) return std::string();
    EXPECT_TRUE((*small)->Report().regions[0].fixed);

    const auto large = PageArena::Create(stack.registry.get(), {.size_bytes = size_t{4} << 20});
    EXPECT_TRUE(large.ok()) << large.status();
    if (!large.ok()) return std::string();
    const ArenaReport report = (*large)->Report();
    EXPECT_FALSE(report.regions[0].fixed);
    EXPECT_EQ(report.regions[0].fixed_errno, ENOMEM);
    EXPECT_TRUE(report.regions[0].mapping.verified) << report.ToString();
    EXPECT_TRUE(absl::StrContains(report.ToString(), "no fixed buffer (ENOMEM)"))
        << report.ToString();

    const absl::Status required =
        PageArena::Create(
            stack.registry.get(),
            {.size_bytes = size_t{4} << 20, .fixed = FixedBufferRegistry::FixedPolicy::kRequire})
            .status();
    EXPECT_TRUE(absl::IsResourceExhausted(required)) << required;
    EXPECT_TRUE(absl::StrContains(required.message(), "RLIMIT_MEMLOCK")) << required;
    EXPECT_EQ(stack.registry->region_count(), 2u);
    return std::string();
  });
}

}  // namespace
}  // namespace fixpool::arena
