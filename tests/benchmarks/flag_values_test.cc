#include "benchmarks/flag_values.h"

#include <string>

#include "gtest/gtest.h"

namespace fixpool::benchmarks {
namespace {

template <typename T>
T Parsed(absl::string_view text) {
  T value{};
  std::string error;
  EXPECT_TRUE(AbslParseFlag(text, &value, &error)) << text << ": " << error;
  return value;
}

template <typename T>
std::string Refusal(absl::string_view text) {
  T value{};
  std::string error;
  EXPECT_FALSE(AbslParseFlag(text, &value, &error)) << text;
  return error;
}

TEST(ByteSizeTest, ReadsNumbersAndUnits) {
  EXPECT_EQ(Parsed<ByteSize>("1").bytes, 1u);
  EXPECT_EQ(Parsed<ByteSize>("4096").bytes, 4096u);
  EXPECT_EQ(Parsed<ByteSize>("4k").bytes, 4096u);
  EXPECT_EQ(Parsed<ByteSize>("4K").bytes, 4096u);
  EXPECT_EQ(Parsed<ByteSize>("4KiB").bytes, 4096u);
  EXPECT_EQ(Parsed<ByteSize>("3m").bytes, 3u << 20);
  EXPECT_EQ(Parsed<ByteSize>("8g").bytes, uint64_t{8} << 30);
  EXPECT_EQ(Parsed<ByteSize>("2TiB").bytes, uint64_t{2} << 40);
  EXPECT_EQ(Parsed<ByteSize>("18446744073709551615").bytes, ~uint64_t{0});
}

TEST(ByteSizeTest, RefusesWhatIsNoSize) {
  for (const char* text : {"", "k", "-1", "-1k", "+1", "1.5g", "1 k", " 1", "4kb", "4x", "0x10",
                           "1e9", "4kk", "4ki", "four"}) {
    EXPECT_EQ(Refusal<ByteSize>(text),
              "a size is a whole number, of bytes or with k, m, g or t behind it");
  }
}

TEST(ByteSizeTest, RefusesZeroAndOverflow) {
  EXPECT_EQ(Refusal<ByteSize>("0"), "a size is more than 0");
  EXPECT_EQ(Refusal<ByteSize>("0g"), "a size is more than 0");
  for (const char* text :
       {"18446744073709551616", "16777216t", "18014398509481984k", "99999999999999999999999999"}) {
    EXPECT_EQ(Refusal<ByteSize>(text), "that is more than 64 bits can count");
  }
}

TEST(ChoiceTest, ReadsAndPrintsTheSameWords) {
  for (const char* word : {"random", "sequential"}) {
    EXPECT_EQ(AbslUnparseFlag(Parsed<Pattern>(word)), word);
  }
  for (const char* word : {"read", "write", "mixed"}) {
    EXPECT_EQ(AbslUnparseFlag(Parsed<Operation>(word)), word);
  }
  for (const char* word : {"engine", "cache"}) {
    EXPECT_EQ(AbslUnparseFlag(Parsed<Layer>(word)), word);
  }
  for (const char* word : {"batches", "tasks"}) {
    EXPECT_EQ(AbslUnparseFlag(Parsed<Access>(word)), word);
  }
  for (const char* word : {"auto", "uring_fixed", "uring_plain", "threads"}) {
    EXPECT_EQ(AbslUnparseFlag(Parsed<EngineChoice>(word)), word);
  }
  for (const char* word : {"auto", "1g", "2m", "thp", "4k"}) {
    EXPECT_EQ(AbslUnparseFlag(Parsed<PagesChoice>(word)), word);
  }
}

TEST(ChoiceTest, AutoRequiresNothing) {
  EXPECT_EQ(Parsed<EngineChoice>("auto").required, std::nullopt);
  EXPECT_EQ(Parsed<PagesChoice>("auto").required, std::nullopt);
  EXPECT_EQ(Parsed<EngineChoice>("threads").required, io::EngineLevel::kThreads);
  EXPECT_EQ(Parsed<PagesChoice>("thp").required, arena::PageBacking::kTransparent);
}

TEST(ChoiceTest, RefusalListsTheWords) {
  EXPECT_EQ(Refusal<Pattern>("Random"), "it is one of random, sequential");
  EXPECT_EQ(Refusal<PagesChoice>("4K"), "it is one of auto, 1g, 2m, thp, 4k");
  EXPECT_EQ(Refusal<EngineChoice>(""), "it is one of auto, uring_fixed, uring_plain, threads");
}

}  // namespace
}  // namespace fixpool::benchmarks
