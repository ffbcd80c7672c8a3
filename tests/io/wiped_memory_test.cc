#include "fixpool/io/wiped_memory.h"

#include <sys/syscall.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/child_process.h"

namespace fixpool::io {
namespace {

// What the memory holds in a child, at both ends, after the parent wrote there.
std::string ExpectZerosInChild(WipedMemory& memory) {
  memory.data()[0] = std::byte{1};
  memory.data()[memory.size_bytes() - 1] = std::byte{2};
  const tests::ChildResult result = tests::RunInChild([&memory]() -> std::string {
    EXPECT_EQ(memory.data()[0], std::byte{0});
    EXPECT_EQ(memory.data()[memory.size_bytes() - 1], std::byte{0});
    memory.data()[0] = std::byte{3};  // it is memory like any other
    EXPECT_EQ(memory.data()[0], std::byte{3});
    return std::string();
  });
  EXPECT_EQ(result.outcome, tests::ChildResult::Outcome::kPassed) << result.reason;
  EXPECT_EQ(memory.data()[0], std::byte{1}) << "the parent's is untouched";
  EXPECT_EQ(memory.data()[memory.size_bytes() - 1], std::byte{2});
  return std::string();
}

TEST(WipedMemoryTest, ReadsAsZerosInAChild) {
  absl::StatusOr<WipedMemory> memory = WipedMemory::Reserve(100'000);
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_GE(memory->size_bytes(), 100'000u);
  EXPECT_EQ(memory->size_bytes() % 4096, 0u);
  for (size_t i = 0; i < memory->size_bytes(); i += 997) {
    ASSERT_EQ(memory->data()[i], std::byte{0});
  }
  EXPECT_EQ(ExpectZerosInChild(*memory), "");
}

TEST(WipedMemoryTest, WipesByHandWhereTheKernelDoesNot) {
  FIXPOOL_IN_CHILD([] {
    if (std::string why = tests::ForbidSystemCall(SYS_madvise, EINVAL); !why.empty()) return why;
    std::optional<absl::StatusOr<WipedMemory>> gone(WipedMemory::Reserve(4096));
    absl::StatusOr<WipedMemory> memory = WipedMemory::Reserve(100'000);
    EXPECT_TRUE(gone->ok() && memory.ok());
    gone.reset();  // nobody writes to what is not mapped any more
    EXPECT_EQ(ExpectZerosInChild(*memory), "");
    absl::StatusOr<WipedMemory> next = WipedMemory::Reserve(8192);
    EXPECT_TRUE(next.ok());
    return ExpectZerosInChild(*next);
  });
}

TEST(WipedMemoryTest, NoAddressSpaceIsAnError) {
  const absl::StatusOr<WipedMemory> memory = WipedMemory::Reserve(size_t{1} << 60);
  EXPECT_EQ(memory.status().code(), absl::StatusCode::kResourceExhausted) << memory.status();
  EXPECT_NE(memory.status().message().find("RLIMIT_AS"), std::string::npos) << memory.status();
}

}  // namespace
}  // namespace fixpool::io
