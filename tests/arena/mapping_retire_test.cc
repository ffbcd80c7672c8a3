// Memory that goes while its addresses stay, and comes back there.

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "fixpool/arena/huge_page_settings.h"
#include "fixpool/arena/mapping.h"
#include "fixpool/arena/prefault.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/open_engine.h"
#include "gtest/gtest.h"
#include "tests/support/address_space.h"
#include "tests/support/child_process.h"
#include "tests/support/process_memory.h"

namespace fixpool::arena {
namespace {

using tests::VmaAt;
using tests::VmaView;

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kSize = 64 * kMiB;
constexpr Ladder kSmallPages = {.one_gib = RungPolicy::kNever,
                                .two_mib = RungPolicy::kNever,
                                .transparent = RungPolicy::kNever};
constexpr Ladder kOrdinary = {.one_gib = RungPolicy::kNever, .two_mib = RungPolicy::kNever};

bool AllAre(std::byte value, const std::byte* base, size_t size_bytes) {
  return std::all_of(base, base + size_bytes, [value](std::byte byte) { return byte == value; });
}

size_t VmaCount() {
  std::ifstream maps("/proc/self/maps");
  return static_cast<size_t>(std::count(std::istreambuf_iterator<char>(maps), {}, '\n'));
}

std::shared_ptr<Mapping> Filled(size_t size_bytes, const Ladder& ladder) {
  std::shared_ptr<Mapping> mapping = Mapping::Create(size_bytes, {.ladder = ladder}).value();
  std::fill_n(mapping->base(), size_bytes, std::byte{7});
  return mapping;
}

void ExpectRetiredAt(const std::byte* base) {
  const std::optional<VmaView> vma = VmaAt(base);
  ASSERT_TRUE(vma.has_value());
  EXPECT_EQ(vma->permissions, "r--p");
  EXPECT_EQ(vma->resident_kib, 0u);
  EXPECT_TRUE(vma->HasFlag("dc")) << vma->flags;
  EXPECT_FALSE(vma->HasFlag("ac")) << "counted against vm.overcommit_ratio: " << vma->flags;
}

void ExpectGuardedAt(const std::byte* base, size_t size_bytes) {
  for (const std::byte* guard : {base - 1, base + size_bytes}) {
    const std::optional<VmaView> vma = VmaAt(guard);
    ASSERT_TRUE(vma.has_value());
    EXPECT_EQ(vma->permissions, "---p");
  }
}

TEST(MappingRetireTest, GivesTheMemoryBackAndKeepsTheAddresses) {
  for (const Ladder& ladder : {kSmallPages, kOrdinary}) {
    std::shared_ptr<Mapping> mapping = Filled(kSize, ladder);
    std::byte* const base = mapping->base();
    const size_t resident_before = tests::StatusKib("VmRSS");
    const auto retired = Mapping::Retire(mapping);
    ASSERT_TRUE(retired.ok()) << retired.status();
    // Others in this process may come and go; not by 64 MiB.
    EXPECT_LT(tests::StatusKib("VmRSS") + kSize / 2048, resident_before);
    EXPECT_EQ(mapping, nullptr);
    EXPECT_TRUE(retired->is_retired());
    EXPECT_EQ(retired->base(), base);
    EXPECT_EQ(retired->size_bytes(), kSize);
    ExpectRetiredAt(base);
    ExpectGuardedAt(base, kSize);
  }
}

TEST(MappingRetireTest, ReadsAsZeros) {
  std::shared_ptr<Mapping> mapping = Filled(4 * kMiB, kOrdinary);
  const AddressRange retired = Mapping::Retire(mapping).value();
  EXPECT_TRUE(AllAre(std::byte{0}, retired.base(), 4 * kMiB));
}

TEST(MappingRetireTest, CannotBeWrittenByTheKernel) {
  std::shared_ptr<Mapping> mapping = Filled(4 * kMiB, kOrdinary);
  const AddressRange retired = Mapping::Retire(mapping).value();
  EXPECT_EQ(TouchThroughKernel(retired.base(), 4 * kMiB, 4096), EFAULT);
}

TEST(MappingRetireDeathTest, CannotBeWritten) {
  // Made by the child: it would not have the parent's.
  EXPECT_DEATH(
      {
        std::shared_ptr<Mapping> mapping = Filled(4096, kSmallPages);
        const AddressRange retired = Mapping::Retire(mapping).value();
        *const_cast<volatile std::byte*>(retired.base()) = std::byte{1};
      },
      "");
}

TEST(MappingRetireDeathTest, WantsTheLastReference) {
  std::shared_ptr<Mapping> mapping = Filled(4096, kSmallPages);
  const std::shared_ptr<const void> another = mapping;
  EXPECT_DEATH((void)Mapping::Retire(mapping), "last reference");
}

TEST(MappingRetireTest, AddressesGoWithTheRange) {
  std::shared_ptr<Mapping> mapping = Filled(kMiB, kSmallPages);
  std::byte* const base = mapping->base();
  { const AddressRange retired = Mapping::Retire(mapping).value(); }
  const std::optional<VmaView> vma = VmaAt(base);
  EXPECT_TRUE(!vma.has_value() || vma->begin != reinterpret_cast<uintptr_t>(base));
}

TEST(MappingRetireTest, AddressesAreUsedAgain) {
  std::shared_ptr<Mapping> mapping = Filled(4 * kMiB, kOrdinary);
  std::byte* const base = mapping->base();
  for (const Ladder& ladder : {kSmallPages, kOrdinary, kSmallPages}) {
    AddressRange retired = Mapping::Retire(mapping).value();
    mapping = Mapping::Create(4 * kMiB, {.ladder = ladder, .reuse = &retired}).value();
    ASSERT_EQ(mapping->base(), base) << mapping->report().ToString();
    EXPECT_EQ(retired.base(), nullptr);
    EXPECT_FALSE(retired.is_retired());
    EXPECT_EQ(mapping->report().not_reused_reason, "");
    EXPECT_TRUE(mapping->report().verified);
    EXPECT_EQ(VmaAt(base)->resident_kib, 4 * kMiB / 1024);
    EXPECT_TRUE(VmaAt(base)->HasFlag("dc"));
    ExpectGuardedAt(base, 4 * kMiB);
    EXPECT_TRUE(AllAre(std::byte{0}, base, 4 * kMiB));
    std::fill_n(base, 4 * kMiB, std::byte{9});
  }
}

TEST(MappingRetireTest, KeepsHugePagesOnTheWay) {
  if (const auto why = WhyNoTransparentHugePages()) GTEST_SKIP() << *why;
  std::shared_ptr<Mapping> mapping = Filled(8 * kMiB, kSmallPages);
  AddressRange retired = Mapping::Retire(mapping).value();
  const auto again = Mapping::Create(
      8 * kMiB, {.ladder = Ladder::Only(PageBacking::kTransparent), .reuse = &retired});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(VmaAt((*again)->base())->transparent_kib, 8 * kMiB / 1024);
}

TEST(MappingRetireTest, IsElsewhereAndSaysWhyWhereTheSizeDiffers) {
  std::shared_ptr<Mapping> mapping = Filled(4 * kMiB, kSmallPages);
  AddressRange retired = Mapping::Retire(mapping).value();
  std::byte* const base = retired.base();
  const auto other = Mapping::Create(2 * kMiB, {.ladder = kSmallPages, .reuse = &retired});
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_NE((*other)->base(), base);
  EXPECT_EQ((*other)->report().not_reused_reason, "those addresses are 4 MiB, not 2 MiB");
  EXPECT_TRUE(absl::StrContains((*other)->report().ToString(), "those addresses are 4 MiB"));
  EXPECT_EQ(retired.base(), base);
  ExpectRetiredAt(base);
}

TEST(MappingRetireTest, ARangeThatHoldsNothingIsNoWish) {
  AddressRange nothing;
  const auto mapping = Mapping::Create(kMiB, {.ladder = kSmallPages, .reuse = &nothing});
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  EXPECT_EQ((*mapping)->report().ToString(), "4 KiB pages");
}

TEST(MappingRetireTest, IsElsewhereWhereTheKernelDoesNotMoveIt) {
  FIXPOOL_IN_CHILD([] {
    std::string why = tests::ForbidSystemCall(SYS_mremap, ENOMEM);
    if (!why.empty()) return why;
    std::shared_ptr<Mapping> mapping = Filled(kMiB, kSmallPages);
    AddressRange retired = Mapping::Retire(mapping).value();
    std::byte* const base = retired.base();
    mapping = Mapping::Create(kMiB, {.ladder = kSmallPages, .reuse = &retired}).value();
    EXPECT_NE(mapping->base(), base);
    EXPECT_TRUE(absl::StrContains(mapping->report().not_reused_reason, "mremap"));
    EXPECT_EQ(retired.base(), base);
    ExpectRetiredAt(base);
    mapping->base()[0] = std::byte{1};
    return std::string();
  });
}

TEST(MappingRetireTest, KeepsTheMappingWhereTheKernelRefuses) {
  FIXPOOL_IN_CHILD([] {
    // A process that locks all it will map may map no more than it may lock.
    if (std::string why = tests::DropPrivileges(8 * kMiB); !why.empty()) return why;
    std::shared_ptr<Mapping> mapping = Filled(16 * kMiB, kSmallPages);
    // The bare call: to the sanitizers, locking is nothing to be done.
    EXPECT_EQ(syscall(SYS_mlockall, MCL_FUTURE), 0);
    const absl::Status status = Mapping::Retire(mapping).status();
    EXPECT_EQ(io::ErrnoOf(status), EAGAIN) << status;
    if (mapping == nullptr) {
      ADD_FAILURE() << "retired all the same";
      return std::string();
    }
    EXPECT_TRUE(AllAre(std::byte{7}, mapping->base(), 16 * kMiB));
    mapping->base()[0] = std::byte{1};
    return std::string();
  });
}

TEST(MappingRetireTest, IsNotThereInAForkedChild) {
  std::shared_ptr<Mapping> alive = Filled(kMiB, kSmallPages);
  std::shared_ptr<Mapping> mapping = Filled(kMiB, kSmallPages);
  AddressRange retired = Mapping::Retire(mapping).value();
  FIXPOOL_IN_CHILD([&] {
    EXPECT_FALSE(tests::IsKeptFromChildren(retired.base()));
    EXPECT_TRUE(absl::IsFailedPrecondition(Mapping::Retire(alive).status()));
    EXPECT_NE(alive, nullptr);
    std::byte* const base = retired.base();
    const auto own = Mapping::Create(kMiB, {.ladder = kSmallPages, .reuse = &retired});
    EXPECT_TRUE(own.ok()) << own.status();
    if (!own.ok()) return std::string();
    EXPECT_TRUE(absl::StrContains((*own)->report().not_reused_reason, "parent"));
    EXPECT_EQ(retired.base(), base);
    retired = AddressRange();  // does no harm
    return std::string();
  });
  EXPECT_TRUE(AllAre(std::byte{0}, retired.base(), kMiB));
  EXPECT_TRUE(AllAre(std::byte{7}, alive->base(), kMiB));
}

TEST(MappingRetireTest, ReleasedBuffersAreNotPinnedAnyMore) {
  auto registry = io::FixedBufferRegistry::Create({}).value();
  const auto engine = io::OpenEngine(registry.get()).value();
  if (engine->Report().level != io::EngineLevel::kUringFixed) {
    GTEST_SKIP() << engine->Report().ToString();
  }
  std::shared_ptr<Mapping> mapping = Filled(kSize, kOrdinary);
  auto registration = registry->Register(
      io::MemoryRegion::Create(mapping->base(), kSize).value(),
      {.backing = mapping, .fixed = io::FixedBufferRegistry::FixedPolicy::kRequire});
  ASSERT_TRUE(registration.ok()) << registration.status();
  // Not to the page: rings that went before are taken apart by the kernel in its own time,
  // with the few pages that they had registered.
  EXPECT_GE(tests::StatusKib("VmPin"), kSize / 1024);
  ASSERT_TRUE(registration->Release(absl::InfiniteDuration()).ok());
  const size_t resident_before = tests::StatusKib("VmRSS");
  const AddressRange retired = Mapping::Retire(mapping).value();
  EXPECT_LT(tests::StatusKib("VmPin"), kSize / 2048);
  EXPECT_LT(tests::StatusKib("VmRSS") + kSize / 2048, resident_before);
}

TEST(MappingRetireTest, CyclesLeaveNoMappingsBehind) {
  std::shared_ptr<Mapping> mapping = Filled(64 * 1024, kSmallPages);
  std::byte* const base = mapping->base();
  size_t before = 0;
  for (int i = 0; i < 1010; ++i) {
    if (i == 10) before = VmaCount();
    AddressRange retired = Mapping::Retire(mapping).value();
    mapping = Mapping::Create(64 * 1024, {.ladder = kSmallPages, .reuse = &retired}).value();
    ASSERT_EQ(mapping->base(), base);
  }
  // The allocators of sanitizers make a few of their own.
  EXPECT_LT(VmaCount(), before + 50);
}

// The optimistic reader: it may look at any time, at whatever is there.
TEST(MappingRetireTest, ThreadsReadWhileItGoesAndComesBack) {
  std::shared_ptr<Mapping> mapping = Mapping::Create(kMiB, {.ladder = kOrdinary}).value();
  std::byte* const base = mapping->base();
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> sum{0};
  std::thread reader([&] {
    uint64_t seen = 0;
    do {
      for (size_t i = 0; i < kMiB; i += 4096) {
        auto& word = *reinterpret_cast<uint64_t*>(base + i);
        seen |= std::atomic_ref<uint64_t>(word).load(std::memory_order_relaxed);
      }
    } while (!stop.load());
    sum = seen;
  });
  for (int i = 0; i < 100; ++i) {
    AddressRange retired = Mapping::Retire(mapping).value();
    mapping = Mapping::Create(kMiB, {.ladder = kOrdinary, .reuse = &retired}).value();
    ASSERT_EQ(mapping->base(), base);
    for (size_t at = 0; at < kMiB; at += 4096) {
      auto& word = *reinterpret_cast<uint64_t*>(base + at);
      std::atomic_ref<uint64_t>(word).store(5, std::memory_order_relaxed);
    }
  }
  stop = true;
  reader.join();
  EXPECT_EQ(sum.load() & ~uint64_t{5}, 0u);
}

}  // namespace
}  // namespace fixpool::arena
