#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/open_engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/io/engine_fixture.h"
#include "tests/support/scratch.h"

// A machine whose administrator has switched io_uring off.

namespace fixpool::io {
namespace {

using ::fixpool::tests::PatternBytes;
using ::fixpool::tests::ScratchMemory;
using ::testing::HasSubstr;

constexpr char kSetting[] = "/proc/sys/kernel/io_uring_disabled";

std::string ReadSetting() {
  std::string value;
  std::ifstream(kSetting) >> value;
  return value;
}

bool WriteSetting(const std::string& value) {
  std::ofstream out(kSetting);
  out << value << std::flush;
  return out.good();
}

// The setting at `value`, and at what it was when destroyed. Another process sees to that, so
// that it happens also if this one is killed.
class ScopedSetting {
 public:
  explicit ScopedSetting(const std::string& value) {
    const std::string before = ReadSetting();
    int ends[2];
    if (before.empty() || pipe(ends) != 0) return;
    keeper_ = fork();
    if (keeper_ == 0) {
      setsid();  // out of the reach of whoever kills the test and its group
      close(ends[1]);
      char nothing;
      while (read(ends[0], &nothing, 1) < 0 && errno == EINTR) {
      }
      _exit(WriteSetting(before) ? 0 : 1);
    }
    close(ends[0]);
    life_ = ends[1];
    holds_ = keeper_ > 0 && WriteSetting(value);
  }
  ~ScopedSetting() {
    if (life_ < 0) return;
    close(life_);
    int status = 0;
    EXPECT_EQ(waitpid(keeper_, &status, 0), keeper_);
    EXPECT_EQ(status, 0) << kSetting << " was not put back";
  }
  ScopedSetting(const ScopedSetting&) = delete;
  ScopedSetting& operator=(const ScopedSetting&) = delete;

  bool holds() const { return holds_; }

 private:
  pid_t keeper_ = -1;
  int life_ = -1;
  bool holds_ = false;
};

class IoUringDisabledTest : public tests::EngineFixture {
 protected:
  void SetUp() override {
    if (ReadSetting().empty()) GTEST_SKIP() << "no " << kSetting << " (Linux 6.6)";
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to set " << kSetting;
    setting_.emplace("2");
    if (!setting_->holds()) GTEST_SKIP() << kSetting << " cannot be set here";
  }

  std::optional<ScopedSetting> setting_;
};

TEST_F(IoUringDisabledTest, GoesDownToThreadsAndSaysWhatToSet) {
  auto engine = OpenEngine(registry_.get());
  ASSERT_TRUE(engine.ok()) << engine.status();
  engine_ = std::move(*engine);
  const EngineReport report = engine_->Report();
  EXPECT_EQ(report.level, EngineLevel::kThreads);
  EXPECT_EQ(report.downgrade_errno, EPERM);
  EXPECT_THAT(report.downgrade_reason, HasSubstr("kernel.io_uring_disabled"));
  EXPECT_TRUE(environment_.Heard(Severity::kWarning, "kernel.io_uring_disabled"))
      << environment_.Transcript();
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  const std::string bytes = PatternBytes(1, kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  EXPECT_TRUE(Do(Read(file, registration.id(), memory.base(), kPage, 0)).status.ok());
  EXPECT_EQ(std::string(memory.chars(), kPage), bytes);
}

TEST_F(IoUringDisabledTest, RequiredLevelIsUnimplementedWithErrnoAndRemedy) {
  for (const EngineLevel level : {EngineLevel::kUringFixed, EngineLevel::kUringPlain}) {
    const absl::Status refused = OpenEngine(registry_.get(), {.require = level}).status();
    EXPECT_TRUE(absl::IsUnimplemented(refused)) << refused;
    EXPECT_EQ(ErrnoOf(refused), EPERM);
    EXPECT_THAT(refused.message(), HasSubstr("kernel.io_uring_disabled to 0"));
  }
}

TEST(IoUringDisabledSettingTest, IsPutBack) {
  const std::string before = ReadSetting();
  if (before.empty() || geteuid() != 0) GTEST_SKIP() << "nothing to put back";
  { const ScopedSetting setting("2"); }
  EXPECT_EQ(ReadSetting(), before);
}

}  // namespace
}  // namespace fixpool::io
