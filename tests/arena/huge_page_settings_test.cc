#include "fixpool/arena/huge_page_settings.h"

#include <sys/prctl.h>

#include "gtest/gtest.h"
#include "tests/support/child_process.h"

namespace fixpool::arena {
namespace {

TEST(HugePageSettingsTest, WhatIsPromisedIsNotAvailable) {
  const HugePagePool pool{.total = 10, .free = 8, .reserved = 5, .overcommit = 4, .surplus = 1};
  EXPECT_EQ(pool.available(), 3u + 3u);
  const HugePagePool over{.total = 10, .free = 1, .reserved = 5, .overcommit = 1, .surplus = 4};
  EXPECT_EQ(over.available(), 0u);
}

TEST(HugePageSettingsTest, HasNoPoolForASizeThatTheMachineHasNot) {
  EXPECT_EQ(ReadHugePagePool(12345 * 1024), std::nullopt);
}

TEST(HugePageSettingsTest, ReadsThePoolOfASizeThatTheMachineHas) {
  const auto pool = ReadHugePagePool(size_t{2} << 20);
  if (!pool.has_value()) GTEST_SKIP() << "this machine has no 2 MiB pages";
  EXPECT_LE(pool->free, pool->total + pool->overcommit);
}

TEST(HugePageSettingsTest, NamesTheSettingToRaise) {
  EXPECT_EQ(HugePagePoolSetting(size_t{2} << 20), "vm.nr_hugepages");
  EXPECT_EQ(HugePagePoolSetting(size_t{1} << 30),
            "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages");
}

TEST(HugePageSettingsTest, SaysThatTheProcessHasSwitchedThemOff) {
  FIXPOOL_IN_CHILD([] {
    if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0) return std::string("no PR_SET_THP_DISABLE");
    const std::optional<std::string> why = WhyNoTransparentHugePages();
    EXPECT_TRUE(why.has_value());
    EXPECT_NE(why.value_or("").find("PR_SET_THP_DISABLE"), std::string::npos);
    return std::string();
  });
}

}  // namespace
}  // namespace fixpool::arena
