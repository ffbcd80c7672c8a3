#ifndef FIXPOOL_TESTS_IO_ENGINE_KINDS_H_
#define FIXPOOL_TESTS_IO_ENGINE_KINDS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "fixpool/io/engine_options.h"
#include "fixpool/io/io_engine.h"
#include "gtest/gtest.h"
#include "tests/io/engine_fixture.h"
#include "tests/support/scratch.h"

namespace fixpool::tests {

// What every engine promises is tested on each of the three that the library has, and on io_uring
// with the extras that a machine may have. What is particular to one of them is in
// uring_engine_test.cc and thread_pool_engine_test.cc.
//
//   class IoEngineFilesTest : public EngineKindTest {};
//   INSTANTIATE_TEST_SUITE_P(AllKinds, IoEngineFilesTest, AllEngineKinds(), EngineKindName);
struct EngineKind {
  const char* name;
  io::EngineLevel level;
  io::RingExtra sqpoll = io::RingExtra::kOff;
  io::RingExtra registered_ring = io::RingExtra::kOff;
};

// Has engine_ open at its kind, or is skipped with the reason.
class EngineKindTest : public EngineFixture, public ::testing::WithParamInterface<EngineKind> {
 protected:
  void SetUp() override {
    if (!OpenKind()) GTEST_SKIP() << why_not_;
  }
  bool OpenKind(io::EngineOptions options = {}) {
    options.sqpoll = GetParam().sqpoll;
    options.registered_ring = GetParam().registered_ring;
    return OpenAt(level(), options);
  }
  void Reopen(io::EngineOptions options) {
    engine_.reset();
    ASSERT_TRUE(OpenKind(options)) << why_not_;
  }
  static io::EngineLevel level() { return GetParam().level; }
  // Requires that the file system of the tests has direct I/O, and so has fixed buffers.
  uint64_t ExpectedFixed(uint64_t transfers) const {
    return level() == io::EngineLevel::kUringFixed ? transfers : 0;
  }
};

inline auto AllEngineKinds() {
  return ::testing::Values(EngineKind{"uring_fixed", io::EngineLevel::kUringFixed},
                           EngineKind{"uring_plain", io::EngineLevel::kUringPlain},
                           EngineKind{"threads", io::EngineLevel::kThreads},
                           EngineKind{.name = "sqpoll",
                                      .level = io::EngineLevel::kUringFixed,
                                      .sqpoll = io::RingExtra::kRequire},
                           EngineKind{.name = "registered_ring",
                                      .level = io::EngineLevel::kUringFixed,
                                      .registered_ring = io::RingExtra::kRequire});
}

inline std::string EngineKindName(const ::testing::TestParamInfo<EngineKind>& info) {
  return info.param.name;
}

inline std::string BytesAt(const ScratchMemory& memory, size_t offset_bytes,
                           size_t length_bytes) {
  return std::string(memory.chars(offset_bytes), length_bytes);
}

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_IO_ENGINE_KINDS_H_
