#include "benchmarks/in_force.h"

#include <errno.h>

#include <cstddef>
#include <string>

#include "gtest/gtest.h"

namespace fixpool::benchmarks {
namespace {

using arena::PageBacking;
using io::EngineLevel;

arena::RegionReport Region(PageBacking backing, size_t size_bytes, size_t got_bytes) {
  arena::RegionReport region;
  region.mapping.size_bytes = size_bytes;
  region.mapping.got = backing;
  region.mapping.got_bytes = got_bytes;
  region.fixed = true;
  return region;
}

io::EngineReport Engine(int downgrade_errno = 0, const std::string& reason = "") {
  io::EngineReport report;
  report.downgrade_errno = downgrade_errno;
  report.downgrade_reason = reason;
  return report;
}

TEST(InForceTest, TheBestStaysTheBest) {
  InForce in_force;
  const arena::ArenaReport memory{.regions = {Region(PageBacking::k2MiB, 100, 100)}};
  LowerTo(Engine(), EngineLevel::kUringFixed, memory, in_force);
  EXPECT_EQ(in_force.engine, EngineLevel::kUringFixed);
  EXPECT_EQ(in_force.engine_errno, 0);
  EXPECT_EQ(in_force.backing, PageBacking::k2MiB);
}

TEST(InForceTest, TakesTheEnginesReason) {
  InForce in_force;
  LowerTo(Engine(EPERM, "no"), EngineLevel::kThreads, {}, in_force);
  EXPECT_EQ(in_force.engine, EngineLevel::kThreads);
  EXPECT_EQ(in_force.engine_errno, EPERM);
  EXPECT_EQ(in_force.engine_reason, "no");
}

TEST(InForceTest, TheLeastOfSeveralEnginesCounts) {
  InForce in_force;
  LowerTo(Engine(EPERM), EngineLevel::kThreads, {}, in_force);
  LowerTo(Engine(), EngineLevel::kUringFixed, {}, in_force);
  EXPECT_EQ(in_force.engine, EngineLevel::kThreads);
  EXPECT_EQ(in_force.engine_errno, EPERM);
}

TEST(InForceTest, MemoryThatIsNotRegisteredIsPlain) {
  InForce in_force;
  arena::ArenaReport memory{
      .regions = {Region(PageBacking::k4KiB, 100, 100), Region(PageBacking::k4KiB, 100, 100)}};
  memory.regions[1].fixed = false;
  memory.regions[1].fixed_errno = ENOMEM;
  LowerTo(Engine(), EngineLevel::kUringFixed, memory, in_force);
  EXPECT_EQ(in_force.engine, EngineLevel::kUringPlain);
  EXPECT_EQ(in_force.engine_errno, ENOMEM);
}

TEST(InForceTest, NamesThePagesOfMostOfTheMemory) {
  InForce in_force;
  arena::ArenaReport memory{.regions = {Region(PageBacking::k2MiB, 100, 100),
                                        Region(PageBacking::kTransparent, 300, 250)}};
  LowerTo(Engine(), EngineLevel::kThreads, memory, in_force);
  EXPECT_EQ(in_force.backing, PageBacking::kTransparent);
  // What transparent huge pages did not reach stands on ordinary ones.
  memory.regions[1].mapping.got_bytes = 50;
  LowerTo(Engine(), EngineLevel::kThreads, memory, in_force);
  EXPECT_EQ(in_force.backing, PageBacking::k4KiB);
}

TEST(CheckRequirementTest, AutoTakesAnything) {
  EXPECT_TRUE(CheckRequirement({}, {.engine = EngineLevel::kThreads}).ok());
}

TEST(CheckRequirementTest, WhatWasAskedForMustBeInForce) {
  PageIoOptions options;
  options.engine.required = EngineLevel::kUringFixed;
  EXPECT_TRUE(CheckRequirement(options, {.engine = EngineLevel::kUringFixed}).ok());
  const absl::Status status = CheckRequirement(
      options,
      {.engine = EngineLevel::kUringPlain, .engine_errno = ENOMEM, .engine_reason = "too little"});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(status.message(),
            "--engine=uring_fixed cannot be had here but uring_plain can: ENOMEM, too little");
}

}  // namespace
}  // namespace fixpool::benchmarks
