#include "benchmarks/policy_replay.h"

#include <cstdint>
#include <cstdio>
#include <string>

#include "benchmarks/generated_trace.h"
#include "benchmarks/page_sequence.h"
#include "gtest/gtest.h"

namespace fixpool::benchmarks {
namespace {

using storage::PolicyKind;

constexpr PolicyKind kPolicies[] = {PolicyKind::kS3Fifo, PolicyKind::kClock, PolicyKind::kLru};

// 10,000 pages and 1,000 frames. 200,000 references to a hot set of 2,000 pages, Zipf 0.99; in the
// middle half of the run each is followed by four of an endless scan over the other pages, of
// which the policy is told nothing. Returns the misses of the hot references.
uint64_t HotMisses(PolicyKind policy, bool with_scan) {
  constexpr uint32_t kPages = 10'000, kFrames = 1'000, kHotPages = 2'000, kReferences = 200'000;
  PolicyReplay replay({.policy = policy, .frames = kFrames, .pages = kPages});
  const ZipfDistribution zipf(kHotPages, 0.99);
  FastRandom random(1);
  PolicyReplay::Tally tally;
  uint64_t misses = 0;
  uint32_t scanned = 0;
  for (uint32_t i = 0; i < kReferences; ++i) {
    if (!replay.Reference(zipf.Next(random), tally)) ++misses;
    if (!with_scan || i < kReferences / 4 || i >= kReferences / 4 * 3) continue;
    for (int k = 0; k < 4; ++k) {
      (void)replay.Reference(kHotPages + scanned, tally);
      scanned = (scanned + 1) % (kPages - kHotPages);
    }
  }
  return misses;
}

TEST(PolicyReplayTest, DefaultPolicyIsIndifferentToScans) {
  const auto s3w = static_cast<double>(HotMisses(PolicyKind::kS3Fifo, true));
  const auto undisturbed = static_cast<double>(HotMisses(PolicyKind::kS3Fifo, false));
  const auto lru = static_cast<double>(HotMisses(PolicyKind::kLru, true));
  RecordProperty("of_undisturbed", std::to_string(s3w / undisturbed));
  RecordProperty("of_lru", std::to_string(s3w / lru));
  std::printf("hot misses: %.0f, without the scan %.0f, LRU %.0f: %.3f and %.3f\n", s3w,
              undisturbed, lru, s3w / undisturbed, s3w / lru);
  EXPECT_LE(s3w, 1.1 * undisturbed);
  EXPECT_LE(s3w, 0.45 * lru);
  // The scan is one: who cannot resist it suffers.
  EXPECT_GE(lru, 2 * undisturbed);
}

TEST(PolicyReplayTest, LoopIsAllMissesOnlyForThoseThatEvictInOrder) {
  const PageTrace trace = GenerateTrace(Workload::kLoop, 1);
  EXPECT_EQ(trace.distinct_pages(), 1100u);
  EXPECT_EQ(ReplayTrace(trace, PolicyKind::kLru, 1000, 1).result.misses, trace.references());
  EXPECT_EQ(ReplayTrace(trace, PolicyKind::kLru, 1100, 1).result.misses, 1100u);
  EXPECT_LT(ReplayTrace(trace, PolicyKind::kS3Fifo, 1000, 1).result.miss_ratio(), 0.5);
}

TEST(PolicyReplayTest, ThreadsMissAsMuchAsOne) {
  const PageTrace trace = GenerateTrace(Workload::kTpcc, 1);
  for (PolicyKind policy : kPolicies) {
    const double alone = ReplayTrace(trace, policy, 1000, 1).result.miss_ratio();
    const PolicyReplay::Result together = ReplayTrace(trace, policy, 1000, 2).result;
    EXPECT_EQ(together.references, trace.references());
    EXPECT_NEAR(together.miss_ratio(), alone, 0.02 * alone) << storage::PolicyKindName(policy);
  }
}

TEST(PolicyReplayTest, DirtyPagesAreWrittenBeforeTheyLeave) {
  for (PolicyKind policy : kPolicies) {
    PolicyReplay replay({.policy = policy, .frames = 50, .pages = 200});
    PolicyReplay::Tally tally;
    for (uint64_t page = 0; page < 200; ++page) {
      EXPECT_FALSE(replay.Reference(page, tally));
      replay.Write(page);
    }
    replay.Write(0);  // not there any more
    const PolicyReplay::Result result = replay.ResultOf(tally);
    EXPECT_EQ(result.misses, 200u);
    EXPECT_EQ(result.evictions, 150u);
    EXPECT_GE(result.page_writes, 150u);
    EXPECT_LE(result.page_writes, 200u);
  }
}

TEST(GeneratedTraceTest, SameSeedGivesTheSameTrace) {
  for (Workload workload : {Workload::kZipfScan, Workload::kLoop, Workload::kTpcc}) {
    const PageTrace trace = GenerateTrace(workload, 7);
    EXPECT_EQ(trace.records(), GenerateTrace(workload, 7).records());
    if (workload == Workload::kLoop) continue;
    EXPECT_NE(trace.records(), GenerateTrace(workload, 8).records());
  }
}

}  // namespace
}  // namespace fixpool::benchmarks
