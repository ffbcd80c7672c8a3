#include "fixpool/arena/mapping.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "fixpool/arena/huge_page_settings.h"
#include "fixpool/io/error.h"
#include "gtest/gtest.h"
#include "tests/support/address_space.h"
#include "tests/support/child_process.h"

namespace fixpool::arena {
namespace {

using tests::VmaAt;
using tests::VmaView;

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kGiB = size_t{1} << 30;

// Without hugetlb, of which other processes may leave any number free at any time.
constexpr Ladder kOrdinary{.one_gib = RungPolicy::kNever, .two_mib = RungPolicy::kNever};

bool AllZero(const Mapping& mapping) {
  return std::all_of(mapping.base(), mapping.base() + mapping.size_bytes(),
                     [](std::byte byte) { return byte == std::byte{0}; });
}

TEST(MappingTest, RejectsASizeThatIsNoWholeNumberOfPages) {
  for (const size_t size_bytes : {size_t{0}, size_t{1}, size_t{4097}, SIZE_MAX}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Mapping::Create(size_bytes).status())) << size_bytes;
  }
}

TEST(MappingTest, RejectsALadderWithoutRungs) {
  const Ladder none{.one_gib = RungPolicy::kNever,
                    .two_mib = RungPolicy::kNever,
                    .transparent = RungPolicy::kNever,
                    .four_kib = RungPolicy::kNever};
  EXPECT_TRUE(absl::IsInvalidArgument(Mapping::Create(kMiB, {.ladder = none}).status()));
}

TEST(MappingTest, IsZeroedAndResidentAndWritable) {
  for (const size_t size_bytes : {size_t{4096}, 5 * kMiB, 20 * kMiB}) {
    const auto mapping = Mapping::Create(size_bytes, {.ladder = kOrdinary});
    ASSERT_TRUE(mapping.ok()) << mapping.status();
    EXPECT_EQ((*mapping)->size_bytes(), size_bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*mapping)->base()) % (2 * kMiB), 0u);
    EXPECT_TRUE(tests::AllResident((*mapping)->base(), size_bytes));
    EXPECT_TRUE(AllZero(**mapping));
    std::fill_n((*mapping)->base(), size_bytes, std::byte{1});
  }
}

TEST(MappingTest, StandsOnSmallPagesAloneWhereTheyAreRequired) {
  const auto mapping = Mapping::Create(8 * kMiB, {.ladder = Ladder::Only(PageBacking::k4KiB)});
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  const MappingReport& report = (*mapping)->report();
  EXPECT_EQ((*mapping)->backing(), PageBacking::k4KiB);
  EXPECT_EQ(report.asked, Ladder::Only(PageBacking::k4KiB));
  EXPECT_EQ(report.got_bytes, 8 * kMiB);
  EXPECT_TRUE(report.verified);
  EXPECT_TRUE(report.refusals.empty());
  EXPECT_EQ(report.ToString(), "4 KiB pages");
  EXPECT_EQ(VmaAt((*mapping)->base())->transparent_kib, 0u);
}

TEST(MappingTest, StandsOnTransparentHugePagesAloneWhereTheyAreRequired) {
  if (const auto why = WhyNoTransparentHugePages()) GTEST_SKIP() << *why;
  const auto mapping =
      Mapping::Create(8 * kMiB, {.ladder = Ladder::Only(PageBacking::kTransparent)});
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  EXPECT_EQ((*mapping)->backing(), PageBacking::kTransparent);
  EXPECT_EQ((*mapping)->report().got_bytes, 8 * kMiB);
  EXPECT_TRUE((*mapping)->report().verified);
  EXPECT_EQ(VmaAt((*mapping)->base())->transparent_kib, 8 * kMiB / 1024);
}

TEST(MappingTest, ReadsBackItselfAloneAmongNeighboursOfEveryKind) {
  if (const auto why = WhyNoTransparentHugePages()) GTEST_SKIP() << *why;
  std::vector<std::shared_ptr<Mapping>> mappings;
  for (int i = 0; i < 6; ++i) {
    const PageBacking wanted = i % 3 == 0 ? PageBacking::k4KiB : PageBacking::kTransparent;
    const auto mapping = Mapping::Create(4 * kMiB, {.ladder = Ladder::Only(wanted)});
    ASSERT_TRUE(mapping.ok()) << mapping.status();
    EXPECT_TRUE((*mapping)->report().verified) << (*mapping)->report().unverified_reason;
    EXPECT_EQ((*mapping)->report().got_bytes, 4 * kMiB);
    mappings.push_back(*mapping);
  }
  mappings.erase(mappings.begin() + 2);
  const auto refilled = Mapping::Create(4 * kMiB, {.ladder = Ladder::Only(PageBacking::k4KiB)});
  ASSERT_TRUE(refilled.ok()) << refilled.status();
  EXPECT_TRUE((*refilled)->report().verified);
}

TEST(MappingTest, RefusesPagesThatDoNotDivideTheSize) {
  const absl::Status gib =
      Mapping::Create(2 * kMiB, {.ladder = Ladder::Only(PageBacking::k1GiB)}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(gib));
  EXPECT_TRUE(absl::StrContains(gib.message(), "2 MiB is no multiple of 1 GiB")) << gib;
  for (const PageBacking backing : {PageBacking::k2MiB, PageBacking::kTransparent}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        Mapping::Create(3 * kMiB, {.ladder = Ladder::Only(backing)}).status()));
  }
}

TEST(MappingTest, RemembersEveryRungThatDidNotFitAndTalksOfNone) {
  const auto mapping = Mapping::Create(4096);
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  EXPECT_EQ((*mapping)->backing(), PageBacking::k4KiB);
  const std::vector<RungRefusal>& refusals = (*mapping)->report().refusals;
  ASSERT_EQ(refusals.size(), 3u);
  for (size_t i = 0; i < refusals.size(); ++i) {
    EXPECT_EQ(refusals[i].rung, kPageBackings[i]);
    EXPECT_EQ(refusals[i].error_number, 0);
  }
  EXPECT_EQ((*mapping)->report().ToString(), "4 KiB pages");
}

TEST(MappingTest, FailsWithTheNumbersAndTheRemedyWhereHugePagesAreRequired) {
  // More than any machine has set aside: 1 PiB.
  const size_t size_bytes = size_t{1} << 50;
  const Ladder ladder{.one_gib = RungPolicy::kNever, .two_mib = RungPolicy::kRequire};
  const absl::Status status = Mapping::Create(size_bytes, {.ladder = ladder}).status();
  if (!ReadHugePagePool(2 * kMiB).has_value()) {
    EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
    return;
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(io::ErrnoOf(status), ENOMEM);
  EXPECT_TRUE(absl::StrContains(status.message(), "wanted 536870912, ")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), " free; raise vm.nr_hugepages by ")) << status;
  // Nothing below a required rung is tried.
  EXPECT_FALSE(absl::StrContains(status.message(), "4 KiB pages")) << status;
}

TEST(MappingTest, FailsWithASentenceForEveryRung) {
  const absl::Status status = Mapping::Create(size_t{1} << 60).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(io::ErrnoOf(status), ENOMEM);
  for (const PageBacking backing : kPageBackings) {
    EXPECT_TRUE(absl::StrContains(status.message(), PageBackingPhrase(backing))) << status;
  }
}

TEST(MappingTest, GoesARungDownAndSaysWhyWhereTransparentHugePagesAreOff) {
  FIXPOOL_IN_CHILD([] {
    if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0) return std::string("no PR_SET_THP_DISABLE");
    const auto mapping = Mapping::Create(4 * kMiB, {.ladder = kOrdinary});
    EXPECT_TRUE(mapping.ok()) << mapping.status();
    if (!mapping.ok()) return std::string();
    EXPECT_EQ((*mapping)->backing(), PageBacking::k4KiB);
    const std::string text = (*mapping)->report().ToString();
    EXPECT_TRUE(absl::StartsWith(text, "4 KiB pages; not transparent huge pages: ")) << text;
    EXPECT_TRUE(absl::StrContains(text, "PR_SET_THP_DISABLE")) << text;

    const absl::Status required =
        Mapping::Create(4 * kMiB, {.ladder = Ladder::Only(PageBacking::kTransparent)}).status();
    EXPECT_TRUE(absl::IsResourceExhausted(required)) << required;
    EXPECT_TRUE(absl::StrContains(required.message(), "PR_SET_THP_DISABLE")) << required;
    return std::string();
  });
}

TEST(MappingTest, SaysWhereTheKernelCannotBeAskedWhatItGave) {
  FIXPOOL_IN_CHILD([] {
    std::string why = tests::ForbidSystemCall(SYS_openat, ENOENT);
    if (!why.empty()) return why;
    const auto small = Mapping::Create(4 * kMiB, {.ladder = Ladder::Only(PageBacking::k4KiB)});
    EXPECT_TRUE(small.ok()) << small.status();
    if (!small.ok()) return std::string();
    EXPECT_FALSE((*small)->report().verified);
    EXPECT_TRUE(absl::StrContains((*small)->report().ToString(), "not verified"));

    const auto transparent = Mapping::Create(4 * kMiB, {.ladder = kOrdinary});
    EXPECT_TRUE(transparent.ok()) << transparent.status();
    if (!transparent.ok()) return std::string();
    EXPECT_FALSE((*transparent)->report().verified);
    const absl::Status required =
        Mapping::Create(4 * kMiB, {.ladder = Ladder::Only(PageBacking::kTransparent)}).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(required)) << required;
    return std::string();
  });
}

TEST(MappingTest, LeavesNothingBehindWhereItFailsAfterMapping) {
  FIXPOOL_IN_CHILD([] {
    std::ifstream maps("/proc/self/maps");  // cannot be opened later
    const auto count = [&maps] {
      maps.clear();
      maps.seekg(0);
      return std::count(std::istreambuf_iterator<char>(maps), {}, '\n');
    };
    std::string why = tests::ForbidSystemCall(SYS_openat, ENOENT);
    if (!why.empty()) return why;
    const MappingOptions unverifiable{.ladder = Ladder::Only(PageBacking::kTransparent)};
    EXPECT_FALSE(Mapping::Create(4 * kMiB, unverifiable).ok());
    const auto before = count();
    for (int i = 0; i < 50; ++i) EXPECT_FALSE(Mapping::Create(4 * kMiB, unverifiable).ok());
    EXPECT_GT(before, 0);
    EXPECT_LT(count(), before + 10);  // some for the allocators of sanitizers
    return std::string();
  });
}

TEST(MappingTest, IsReadBackInAProcessThatGaveUpItsPrivileges) {
  FIXPOOL_IN_CHILD([] {
    if (std::string why = tests::DropPrivileges(0); !why.empty()) return why;
    // As setuid(2) leaves it: the files of such a process in /proc are root's.
    EXPECT_EQ(prctl(PR_SET_DUMPABLE, 0), 0);
    const auto mapping = Mapping::Create(4 * kMiB, {.ladder = kOrdinary});
    EXPECT_TRUE(mapping.ok()) << mapping.status();
    if (!mapping.ok()) return std::string();
    EXPECT_TRUE((*mapping)->report().verified) << (*mapping)->report().unverified_reason;
    return std::string();
  });
}

TEST(MappingTest, ReportsThatAdviceWasRefused) {
  FIXPOOL_IN_CHILD([] {
    std::string why = tests::ForbidSystemCall(SYS_madvise, EACCES);
    if (!why.empty()) return why;
    const absl::Status status = Mapping::Create(4096, {.ladder = kOrdinary}).status();
    EXPECT_EQ(io::ErrnoOf(status), EACCES);
    EXPECT_TRUE(absl::StrContains(status.message(), "MADV_DONTFORK")) << status;
    return std::string();
  });
}

TEST(MappingTest, IsNotThereInAForkedChild) {
  for (const size_t size_bytes : {size_t{4096}, 4 * kMiB}) {
    auto mapping = Mapping::Create(size_bytes, {.ladder = kOrdinary}).value();
    EXPECT_TRUE(tests::IsKeptFromChildren(mapping->base()));
    FIXPOOL_IN_CHILD([&mapping] {
      EXPECT_FALSE(tests::IsKeptFromChildren(mapping->base()));
      EXPECT_FALSE(tests::IsKeptFromChildren(mapping->base() + mapping->size_bytes() - 1));
      mapping.reset();  // does no harm
      return std::string();
    });
    mapping->base()[0] = std::byte{1};
  }
}

TEST(MappingTest, IsLeftOutOfCoreDumpsOnRequest) {
  for (const bool dont_dump : {false, true}) {
    const auto mapping =
        Mapping::Create(4096, {.ladder = kOrdinary, .dont_dump = dont_dump}).value();
    EXPECT_EQ(VmaAt(mapping->base())->HasFlag("dd"), dont_dump);
  }
}

TEST(MappingTest, LivesAsLongAsItsLastReference) {
  auto mapping = Mapping::Create(4096, {.ladder = kOrdinary}).value();
  std::byte* const base = mapping->base();
  std::shared_ptr<const void> backing = mapping;
  mapping.reset();
  base[0] = std::byte{1};
  backing.reset();
  const std::optional<VmaView> vma = VmaAt(base);
  EXPECT_TRUE(!vma.has_value() || vma->begin != reinterpret_cast<uintptr_t>(base));
}

TEST(MappingTest, ThreadsMapAtTheSameTime) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 10; ++i) {
        const auto mapping = Mapping::Create(kMiB, {.ladder = kOrdinary, .prefault_threads = 2});
        EXPECT_TRUE(mapping.ok()) << mapping.status();
        EXPECT_TRUE((*mapping)->report().verified) << (*mapping)->report().unverified_reason;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(MappingReportTest, SaysHowMuchOfItIsHuge) {
  const MappingReport report{.size_bytes = kGiB,
                             .got = PageBacking::kTransparent,
                             .got_bytes = 768 * kMiB,
                             .verified = true};
  EXPECT_EQ(report.ToString(),
            "transparent huge pages for 768 MiB of 1 GiB, 4 KiB pages for the rest");
}

}  // namespace
}  // namespace fixpool::arena
