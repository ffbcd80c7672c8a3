#ifndef FIXPOOL_TESTS_IO_ENGINE_FIXTURE_H_
#define FIXPOOL_TESTS_IO_ENGINE_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/open_engine.h"
#include "gtest/gtest.h"
#include "tests/support/recording_environment.h"
#include "tests/support/scratch.h"

namespace fixpool::tests {

// What the tests of the engines share: a registry, one engine, a directory, and the few
// steps that every one of them makes.
class EngineFixture : public ::testing::Test {
 protected:
  static constexpr size_t kPage = 4096;

  EngineFixture() { MakeRegistry({}); }

  // Also for a forked child, which cannot use the one that was made before.
  void MakeRegistry(io::FixedBufferRegistry::Options options) {
    options.environment = &environment_;
    registry_ = *io::FixedBufferRegistry::Create(options);
  }

  // Opens engine_ at exactly this level; false where the machine does not have it.
  bool OpenAt(io::EngineLevel level, io::EngineOptions options = {}) {
    options.require = level;
    absl::StatusOr<std::unique_ptr<io::IoEngine>> engine = io::OpenEngine(registry_.get(), options);
    if (!engine.ok()) {
      why_not_ = std::string(engine.status().message());
      return false;
    }
    engine_ = std::move(*engine);
    return true;
  }

  io::Deadline Soon() { return environment_.DeadlineAfter(absl::Milliseconds(20)); }
  // Far beyond anything that happens unless something hangs.
  io::Deadline Eventually() { return environment_.DeadlineAfter(absl::Seconds(60)); }

  io::Registration Register(const ScratchMemory& memory) {
    return *registry_->Register(*io::MemoryRegion::Create(memory.base(), memory.size_bytes()));
  }

  io::FileHandle Add(std::shared_ptr<io::File> file) {
    absl::StatusOr<io::FileHandle> handle = engine_->AddFile(std::move(file));
    EXPECT_TRUE(handle.ok()) << handle.status();
    return handle.ok() ? *handle : io::FileHandle();
  }

  // A new file with these contents, open for writing.
  std::shared_ptr<io::File> OpenNew(const std::string& name, const std::string& contents,
                                    io::File::DirectIo direct = io::File::DirectIo::kPrefer) {
    return *io::File::Open(scratch_.MakeFile(name, contents), {.direct = direct});
  }

  static io::IoRequest Read(io::FileHandle file, io::RegionId region, void* data,
                            uint32_t length_bytes, uint64_t offset_bytes, uint64_t user_data = 0) {
    return {.operation = io::IoOperation::kRead,
            .file = file,
            .region = region,
            .data = data,
            .length_bytes = length_bytes,
            .offset_bytes = offset_bytes,
            .user_data = user_data};
  }
  static io::IoRequest Write(io::FileHandle file, io::RegionId region, void* data,
                             uint32_t length_bytes, uint64_t offset_bytes, uint64_t user_data = 0) {
    return {.operation = io::IoOperation::kWrite,
            .file = file,
            .region = region,
            .data = data,
            .length_bytes = length_bytes,
            .offset_bytes = offset_bytes,
            .user_data = user_data};
  }
  static io::IoRequest Sync(io::FileHandle file, uint64_t user_data = 0) {
    return {.operation = io::IoOperation::kSync, .file = file, .user_data = user_data};
  }

  io::SubmitResult Submit(const io::IoRequest& request) { return engine_->Submit({&request, 1}); }

  // Expects all of them to be accepted.
  void SubmitAll(absl::Span<const io::IoRequest> requests) {
    const io::SubmitResult result = engine_->Submit(requests);
    ASSERT_TRUE(result.status.ok()) << result.status;
    ASSERT_EQ(result.accepted, requests.size());
  }

  // By user_data. Fewer than `count` come only after a failure.
  std::map<uint64_t, io::IoCompletion> ReapCount(size_t count) {
    std::map<uint64_t, io::IoCompletion> all;
    const io::Deadline deadline = Eventually();
    while (all.size() < count) {
      std::vector<io::IoCompletion> some(count - all.size());
      const size_t got = engine_->Reap(absl::MakeSpan(some), deadline);
      if (got == 0 && environment_.Expired(deadline)) {
        ADD_FAILURE() << all.size() << " of " << count << " completions came";
        break;
      }
      for (size_t i = 0; i < got; ++i) {
        EXPECT_TRUE(all.emplace(some[i].user_data, some[i]).second)
            << "request " << some[i].user_data << " completed twice";
      }
    }
    return all;
  }

  io::IoCompletion Do(const io::IoRequest& request) {
    const io::SubmitResult result = Submit(request);
    EXPECT_TRUE(result.status.ok()) << result.status;
    if (result.accepted == 0) return {.status = result.status};
    auto completions = ReapCount(1);
    return completions.empty() ? io::IoCompletion{.status = absl::UnknownError("no completion")}
                               : completions.begin()->second;
  }

  RecordingEnvironment environment_;
  ScratchDirectory scratch_;
  std::string why_not_;
  std::unique_ptr<io::FixedBufferRegistry> registry_;
  std::unique_ptr<io::IoEngine> engine_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_IO_ENGINE_FIXTURE_H_
