#ifndef FIXPOOL_TESTS_IO_REGISTRY_FIXTURE_H_
#define FIXPOOL_TESTS_IO_REGISTRY_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/time/time.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/memory_region.h"
#include "gtest/gtest.h"
#include "tests/support/fake_buffer_table.h"
#include "tests/support/recording_environment.h"

namespace fixpool::tests {

// What the tests of FixedBufferRegistry share.

// Fake rings never look at the memory, so the tests make regions at made-up addresses.
inline io::MemoryRegion RegionAt(uintptr_t base, size_t size_bytes) {
  return *io::MemoryRegion::Create(reinterpret_cast<void*>(base), size_bytes);
}
inline const void* At(uintptr_t address) { return reinterpret_cast<const void*>(address); }

inline constexpr uintptr_t kBase = 0x10'0000'0000;
inline constexpr size_t kSize = size_t{1} << 20;

class RegistryFixture : public ::testing::Test {
 protected:
  std::unique_ptr<io::FixedBufferRegistry> MakeRegistry(uint32_t capacity = 16) {
    return *io::FixedBufferRegistry::Create({.capacity = capacity,
                                         .release_timeout = absl::Milliseconds(20),
                                         .environment = &environment_});
  }

  RecordingEnvironment environment_;
};

// Detaches what it attached, so that a failed assertion does not end in a CHECK.
class Attachment {
 public:
  Attachment(io::FixedBufferRegistry& registry, FakeBufferTable& table)
      : registry_(registry), table_(table) {
    EXPECT_TRUE(registry_.Attach(&table_).ok());
  }
  ~Attachment() { registry_.Abandon(&table_); }

 private:
  io::FixedBufferRegistry& registry_;
  FakeBufferTable& table_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_IO_REGISTRY_FIXTURE_H_
