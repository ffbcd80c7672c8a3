// Mappings on NUMA nodes: what was asked, beside what /proc/self/numa_maps says.

#include <sys/syscall.h>

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "fixpool/arena/address_range.h"
#include "fixpool/arena/huge_page_settings.h"
#include "fixpool/arena/mapping.h"
#include "fixpool/arena/numa_memory.h"
#include "fixpool/arena/numa_placement.h"
#include "gtest/gtest.h"
#include "tests/support/child_process.h"

namespace fixpool::arena {
namespace {

constexpr size_t kSize = size_t{8} << 20;
constexpr uint32_t kNoSuchNode = 1023;

// The nodes of this machine, or why its NUMA calls cannot be tested.
absl::StatusOr<std::vector<uint32_t>> Nodes() {
  const auto plan = PlanNuma({.policy = NumaPolicy::kBind});
  if (!plan.ok()) return plan.status();
  return plan->asked.nodes;
}

// The line of /proc/self/numa_maps for the mapping that begins at `base`: "bind:0 anon=2 ...".
std::string NumaLine(const std::byte* base) {
  std::ifstream maps("/proc/self/numa_maps");
  const std::string prefix =
      absl::StrCat(absl::Hex(reinterpret_cast<uintptr_t>(base), absl::kZeroPad12), " ");
  std::string line;
  while (std::getline(maps, line)) {
    if (absl::StartsWith(line, prefix)) return line.substr(prefix.size()) + " ";
  }
  return "";
}

size_t TotalBytes(const NumaReport& report) {
  return std::accumulate(report.got.begin(), report.got.end(), size_t{0},
                         [](size_t sum, const NumaShare& share) { return sum + share.bytes; });
}

TEST(MappingNumaTest, AsksForNothingByDefault) {
  FIXPOOL_IN_CHILD([] {
    for (const int call : {SYS_mbind, SYS_get_mempolicy, SYS_move_pages}) {
      std::string why = tests::ForbidSystemCall(call, EPERM);
      if (!why.empty()) return why;
    }
    const auto mapping = Mapping::Create(4096, {.ladder = Ladder::Only(PageBacking::k4KiB)});
    EXPECT_TRUE(mapping.ok()) << mapping.status();
    if (!mapping.ok()) return std::string();
    EXPECT_FALSE((*mapping)->report().numa.applied);
    EXPECT_EQ((*mapping)->report().ToString(), "4 KiB pages");
    return std::string();
  });
}

TEST(MappingNumaTest, BindsToANodeAndReadsItBack) {
  const auto nodes = Nodes();
  if (!nodes.ok()) GTEST_SKIP() << nodes.status().message();
  for (const uint32_t node : *nodes) {
    for (const PageBacking backing : {PageBacking::k4KiB, PageBacking::kTransparent}) {
      if (backing == PageBacking::kTransparent && WhyNoTransparentHugePages()) continue;
      const auto mapping =
          Mapping::Create(kSize, {.ladder = Ladder::Only(backing),
                                  .numa = {.policy = NumaPolicy::kBind, .nodes = {node, node}}});
      ASSERT_TRUE(mapping.ok()) << mapping.status();
      const NumaReport& report = (*mapping)->report().numa;
      EXPECT_TRUE(report.applied);
      EXPECT_EQ(report.asked.nodes, std::vector<uint32_t>{node});
      ASSERT_EQ(report.got, (std::vector<NumaShare>{{.node = node, .bytes = kSize}}))
          << report.ToString();
      EXPECT_TRUE(absl::EndsWith((*mapping)->report().ToString(),
                                 absl::StrCat("; bind to node ", node, ": 8 MiB on node ", node)))
          << (*mapping)->report().ToString();
      const std::string line = NumaLine((*mapping)->base());
      if (line.empty()) GTEST_SKIP() << "no /proc/self/numa_maps to compare with";
      EXPECT_TRUE(absl::StartsWith(line, absl::StrCat("bind:", node, " "))) << line;
      EXPECT_TRUE(absl::StrContains(line, absl::StrCat(" N", node, "="))) << line;
    }
  }
}

TEST(MappingNumaTest, InterleavesOverAllNodesWhereNoneAreNamed) {
  const auto nodes = Nodes();
  if (!nodes.ok()) GTEST_SKIP() << nodes.status().message();
  const auto mapping = Mapping::Create(kSize, {.ladder = Ladder::Only(PageBacking::k4KiB),
                                               .numa = {.policy = NumaPolicy::kInterleave}});
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  const NumaReport& report = (*mapping)->report().numa;
  EXPECT_TRUE(report.applied);
  EXPECT_EQ(report.asked.nodes, *nodes);
  EXPECT_EQ(TotalBytes(report), kSize) << report.ToString();
  const std::string line = NumaLine((*mapping)->base());
  if (line.empty()) GTEST_SKIP() << "no /proc/self/numa_maps to compare with";
  EXPECT_TRUE(absl::StartsWith(line, "interleave:")) << line;
}

TEST(MappingNumaTest, InterleavingSharesEvenly) {
  const auto nodes = Nodes();
  if (!nodes.ok()) GTEST_SKIP() << nodes.status().message();
  if (nodes->size() < 2) GTEST_SKIP() << "this machine has one NUMA node";
  const auto mapping = Mapping::Create(
      kSize, {.ladder = Ladder::Only(PageBacking::k4KiB),
              .numa = {.policy = NumaPolicy::kInterleave, .nodes = {(*nodes)[0], (*nodes)[1]}}});
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  EXPECT_EQ((*mapping)->report().numa.got,
            (std::vector<NumaShare>{{.node = (*nodes)[0], .bytes = kSize / 2},
                                    {.node = (*nodes)[1], .bytes = kSize / 2}}));
}

TEST(MappingNumaTest, RejectsANodeThatIsNotThereAndNamesThoseThatAre) {
  const auto nodes = Nodes();
  if (!nodes.ok()) GTEST_SKIP() << nodes.status().message();
  for (const uint32_t node : {kNoSuchNode, kNoSuchNode + 1, UINT32_MAX}) {
    for (const NumaPolicy policy : {NumaPolicy::kBind, NumaPolicy::kInterleave}) {
      const absl::Status status =
          Mapping::Create(4096, {.numa = {.policy = policy, .nodes = {nodes->front(), node}}})
              .status();
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
      EXPECT_TRUE(absl::StrContains(
          status.message(), absl::StrCat("NUMA node ", node, " has no memory for this process; ",
                                         "those that have: ", nodes->front())))
          << status;
    }
  }
}

TEST(MappingNumaTest, RejectsNodesWithoutAPolicy) {
  const absl::Status status = Mapping::Create(4096, {.numa = {.nodes = {0}}}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
}

struct Refused {
  int error_number;
  absl::StatusCode code;
  const char* words;
};

TEST(MappingNumaTest, BindingFailsAndInterleavingTellsWhereTheKernelHasOrAllowsNoNuma) {
  for (const Refused& refused :
       {Refused{ENOSYS, absl::StatusCode::kUnimplemented, "this kernel has no NUMA"},
        Refused{EPERM, absl::StatusCode::kPermissionDenied, "CAP_SYS_NICE"}}) {
    FIXPOOL_IN_CHILD([&refused] {
      for (const int call : {SYS_mbind, SYS_get_mempolicy}) {
        std::string why = tests::ForbidSystemCall(call, refused.error_number);
        if (!why.empty()) return why;
      }
      const absl::Status bound =
          Mapping::Create(4096, {.numa = {.policy = NumaPolicy::kBind, .nodes = {0}}}).status();
      EXPECT_EQ(bound.code(), refused.code) << bound;
      EXPECT_TRUE(absl::StrContains(bound.message(), refused.words)) << bound;

      const auto spread = Mapping::Create(4096, {.ladder = Ladder::Only(PageBacking::k4KiB),
                                                 .numa = {.policy = NumaPolicy::kInterleave}});
      EXPECT_TRUE(spread.ok()) << spread.status();
      if (!spread.ok()) return std::string();
      EXPECT_FALSE((*spread)->report().numa.applied);
      const std::string text = (*spread)->report().ToString();
      EXPECT_TRUE(absl::StrContains(text, "; not interleaved over all nodes: ")) << text;
      EXPECT_TRUE(absl::StrContains(text, refused.words)) << text;
      return std::string();
    });
  }
}

TEST(MappingNumaTest, PassesOnThatThePolicyWasRefused) {
  if (const auto nodes = Nodes(); !nodes.ok()) GTEST_SKIP() << nodes.status().message();
  FIXPOOL_IN_CHILD([] {
    std::string why = tests::ForbidSystemCall(SYS_mbind, ENOMEM);
    if (!why.empty()) return why;
    const absl::Status status =
        Mapping::Create(4096, {.numa = {.policy = NumaPolicy::kInterleave}}).status();
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "mbind failed with ENOMEM")) << status;
    return std::string();
  });
}

TEST(MappingNumaTest, SaysWhereTheKernelWouldNotTell) {
  if (const auto nodes = Nodes(); !nodes.ok()) GTEST_SKIP() << nodes.status().message();
  FIXPOOL_IN_CHILD([] {
    std::string why = tests::ForbidSystemCall(SYS_move_pages, EPERM);
    if (!why.empty()) return why;
    const auto mapping = Mapping::Create(
        4096, {.ladder = Ladder::Only(PageBacking::k4KiB), .numa = {.policy = NumaPolicy::kBind}});
    EXPECT_TRUE(mapping.ok()) << mapping.status();
    if (!mapping.ok()) return std::string();
    const NumaReport& report = (*mapping)->report().numa;
    EXPECT_TRUE(report.applied);
    EXPECT_TRUE(report.got.empty());
    EXPECT_TRUE(absl::StrContains(report.ToString(), " (not verified: move_pages"))
        << report.why_not;
    return std::string();
  });
}

TEST(MappingNumaTest, PolicyMovesToAddressesThatAreUsedAgain) {
  const auto nodes = Nodes();
  if (!nodes.ok()) GTEST_SKIP() << nodes.status().message();
  const Ladder ladder = Ladder::Only(PageBacking::k4KiB);
  auto mapping = Mapping::Create(kSize, {.ladder = ladder}).value();
  std::byte* const base = mapping->base();
  AddressRange retired = Mapping::Retire(mapping).value();
  mapping = Mapping::Create(
                kSize, {.ladder = ladder, .reuse = &retired, .numa = {.policy = NumaPolicy::kBind}})
                .value();
  ASSERT_EQ(mapping->base(), base);
  EXPECT_EQ(TotalBytes(mapping->report().numa), kSize);
  const std::string line = NumaLine(base);
  if (line.empty()) GTEST_SKIP() << "no /proc/self/numa_maps to compare with";
  EXPECT_TRUE(absl::StartsWith(line, "bind:")) << line;
}

TEST(NumaReportTest, TellsWhatIsWhere) {
  const NumaReport report{.asked = {.policy = NumaPolicy::kInterleave, .nodes = {0, 1}},
                          .applied = true,
                          .got = {{.node = 0, .bytes = 4096}, {.node = 1, .bytes = 8192}}};
  EXPECT_EQ(report.ToString(), "interleaved over nodes 0, 1: 4 KiB on node 0, 8 KiB on node 1");
  EXPECT_EQ(NumaReport().ToString(), "");
  EXPECT_EQ(NumaPlacement().ToString(), "default");
}

}  // namespace
}  // namespace fixpool::arena
