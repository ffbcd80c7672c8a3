#include "fixpool/io/open_engine.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fixpool/io/error.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/io/engine_fixture.h"
#include "tests/support/child_process.h"
#include "tests/support/scratch.h"

namespace fixpool::io {
namespace {

using ::fixpool::tests::DropPrivileges;
using ::fixpool::tests::ForbidSystemCall;
using ::fixpool::tests::kIoUringSetup;
using ::fixpool::tests::PatternBytes;
using ::fixpool::tests::ScratchMemory;
using ::testing::HasSubstr;

class OpenEngineTest : public tests::EngineFixture {
 protected:
  // A file that whoever this process becomes can read and write: it is open already.
  std::shared_ptr<File> OpenData(const std::string& bytes) { return OpenNew("data", bytes); }

  // One page through engine_, out of `region` and into it again.
  void ExpectThatPagesMove(std::shared_ptr<File> file, RegionId region, std::byte* memory) {
    const FileHandle handle = Add(std::move(file));
    const std::string bytes = PatternBytes(77, kPage);
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(memory));
    EXPECT_TRUE(Do(Write(handle, region, memory, kPage, kPage)).status.ok());
    std::fill_n(reinterpret_cast<char*>(memory), kPage, 'x');
    EXPECT_TRUE(Do(Read(handle, region, memory, kPage, kPage)).status.ok());
    EXPECT_EQ(std::string(reinterpret_cast<char*>(memory), kPage), bytes);
  }
};

// ---- Options ----

TEST_F(OpenEngineTest, RejectsNullRegistry) {
  EXPECT_TRUE(absl::IsInvalidArgument(OpenEngine(nullptr).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenEngine(nullptr, {.depth = 0}).status()));
}

TEST_F(OpenEngineTest, RejectsOptionsOutOfRange) {
  struct Case {
    EngineOptions options;
    const char* words;
  };
  const Case cases[] = {
      {{.depth = 0}, "depth 0 is not in 1..4096"},
      {{.depth = 4097}, "depth 4097"},
      {{.joined_depth = 4097}, "joined_depth 4097 is not in 0..4096"},
      {{.max_files = 0}, "max_files 0"},
      {{.max_files = 4097}, "max_files 4097"},
      {{.threads = 0}, "threads 0"},
      {{.threads = 257}, "threads 257 is not in 1..256"},
      {{.sqpoll_idle = absl::ZeroDuration()}, "sqpoll_idle 0 is not in 1ms..10s"},
      {{.sqpoll_idle = absl::Seconds(11)}, "sqpoll_idle 11s"},
  };
  for (const Case& c : cases) {
    const auto engine = OpenEngine(registry_.get(), c.options);
    EXPECT_TRUE(absl::IsInvalidArgument(engine.status()));
    EXPECT_THAT(engine.status().message(), HasSubstr(c.words));
  }
  for (const uint32_t depth : {1u, 3u, 4096u}) {
    const auto engine = OpenEngine(registry_.get(), {.depth = depth});
    ASSERT_TRUE(engine.ok()) << engine.status();
    EXPECT_EQ((*engine)->depth(), depth);
  }
}

TEST_F(OpenEngineTest, OpensSomethingThatWorks) {
  auto engine = OpenEngine(registry_.get());
  ASSERT_TRUE(engine.ok()) << engine.status();
  engine_ = std::move(*engine);
  EXPECT_EQ(engine_->Report().depth, 128u);
  // Whatever it is not, it says why.
  EXPECT_EQ(engine_->Report().level == EngineLevel::kUringFixed,
            engine_->Report().downgrade_reason.empty());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  ExpectThatPagesMove(OpenData(PatternBytes(1, 2 * kPage)), registration.id(), memory.base());
}

TEST_F(OpenEngineTest, EngineGoesByTheLevelThatIsRequired) {
  for (const EngineLevel level :
       {EngineLevel::kUringFixed, EngineLevel::kUringPlain, EngineLevel::kThreads}) {
    if (!OpenAt(level)) continue;
    EXPECT_EQ(engine_->Report().level, level);
    EXPECT_EQ(engine_->Report().downgrade_errno, 0);
    engine_.reset();
  }
}

TEST_F(OpenEngineTest, ProbeFileThatCannotBeReadIsAReasonToGoDown) {
  const std::string path = scratch_.MakeFile("write_only", PatternBytes(2, kPage));
  const int descriptor = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(descriptor, 0);
  const std::shared_ptr<File> file = *File::Adopt(descriptor, path);
  const auto engine = OpenEngine(registry_.get(), {.probe_file = file});
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ((*engine)->Report().level, EngineLevel::kThreads);
  EXPECT_NE((*engine)->Report().downgrade_errno, 0);
  EXPECT_FALSE((*engine)->Report().downgrade_reason.empty());
  const auto required =
      OpenEngine(registry_.get(), {.require = EngineLevel::kUringPlain, .probe_file = file});
  EXPECT_FALSE(required.ok());
  EXPECT_THAT(required.status().message(), HasSubstr("is required and does not work here"));
}

TEST_F(OpenEngineTest, ProbeFileOfTheCallersIsRead) {
  const auto engine = OpenEngine(registry_.get(), {.probe_file = OpenData(PatternBytes(3, kPage))});
  ASSERT_TRUE(engine.ok()) << engine.status();
}

// ---- Extras of a ring ----

struct ExtraCase {
  const char* name;
  RingExtra EngineOptions::*wish;
  RingExtraReport EngineReport::*report;
};

class ExtraTest : public OpenEngineTest, public ::testing::WithParamInterface<ExtraCase> {
 protected:
  static EngineOptions Wishing(RingExtra wish, EngineOptions options = {}) {
    options.*GetParam().wish = wish;
    return options;
  }
  RingExtraReport Report() const { return engine_->Report().*GetParam().report; }
  std::string NoSuchExtra() const { return absl::StrCat("(no ", GetParam().name, ": "); }
};

INSTANTIATE_TEST_SUITE_P(
    All, ExtraTest,
    ::testing::Values(ExtraCase{"sqpoll", &EngineOptions::sqpoll, &EngineReport::sqpoll},
                      ExtraCase{"iopoll", &EngineOptions::iopoll, &EngineReport::iopoll},
                      ExtraCase{"registered_ring", &EngineOptions::registered_ring,
                                &EngineReport::registered_ring}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_P(ExtraTest, IsOffUnlessAskedFor) {
  engine_ = *OpenEngine(registry_.get());
  EXPECT_FALSE(Report().asked);
  EXPECT_FALSE(Report().in_force);
  EXPECT_EQ(Report().reason, "");
  EXPECT_THAT(engine_->Report().ToString(), ::testing::Not(HasSubstr(GetParam().name)));
}

// Whether this machine has it or not, the engine works and tells.
TEST_P(ExtraTest, IsInForceOrSaysWhyNot) {
  std::shared_ptr<File> file = OpenData(PatternBytes(8, 2 * kPage));
  engine_ = *OpenEngine(registry_.get(), Wishing(RingExtra::kPrefer, {.probe_file = file}));
  EXPECT_TRUE(Report().asked);
  const std::string text = engine_->Report().ToString();
  if (Report().in_force) {
    EXPECT_EQ(Report().error_number, 0);
    EXPECT_EQ(Report().reason, "");
    EXPECT_THAT(text, HasSubstr(GetParam().name));
    EXPECT_EQ(environment_.message_count(), 0u) << environment_.Transcript();
  } else {
    EXPECT_NE(Report().error_number, 0);
    EXPECT_THAT(Report().reason, HasSubstr(ErrnoName(Report().error_number)));
    EXPECT_THAT(text, HasSubstr(NoSuchExtra() + Report().reason));
    EXPECT_TRUE(environment_.Heard(Severity::kWarning,
                                   absl::StrCat("engine option ", GetParam().name, ": ")));
  }
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  ExpectThatPagesMove(file, registration.id(), memory.base());
}

TEST_P(ExtraTest, RequiredIsInForceOrAnError) {
  std::shared_ptr<File> file = OpenData(PatternBytes(9, 2 * kPage));
  const auto preferred =
      OpenEngine(registry_.get(), Wishing(RingExtra::kPrefer, {.probe_file = file}));
  const RingExtraReport report = (*preferred)->Report().*GetParam().report;
  auto required = OpenEngine(registry_.get(), Wishing(RingExtra::kRequire, {.probe_file = file}));
  ASSERT_EQ(required.ok(), report.in_force) << required.status();
  if (required.ok()) {
    engine_ = *std::move(required);
    EXPECT_TRUE(Report().in_force);
  } else {
    EXPECT_EQ(ErrnoOf(required.status()), report.error_number);
    EXPECT_THAT(required.status().message(),
                HasSubstr(absl::StrCat("engine option ", GetParam().name,
                                       " is required and does not work here: ", report.reason)));
  }
}

TEST_P(ExtraTest, ThreadsHaveNone) {
  engine_ =
      *OpenEngine(registry_.get(), Wishing(RingExtra::kPrefer, {.require = EngineLevel::kThreads}));
  EXPECT_TRUE(Report().asked);
  EXPECT_FALSE(Report().in_force);
  EXPECT_EQ(Report().error_number, EOPNOTSUPP);
  EXPECT_THAT(engine_->Report().ToString(), HasSubstr(NoSuchExtra()));
  const auto required =
      OpenEngine(registry_.get(), Wishing(RingExtra::kRequire, {.require = EngineLevel::kThreads}));
  EXPECT_TRUE(absl::IsUnimplemented(required.status())) << required.status();
}

TEST_P(ExtraTest, WhereIoUringIsForbiddenItIsNotInForceForThatReason) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    MakeRegistry({});
    if (std::string why = ForbidSystemCall(kIoUringSetup, EPERM); !why.empty()) return why;
    engine_ = *OpenEngine(registry_.get(), Wishing(RingExtra::kPrefer));
    EXPECT_EQ(engine_->Report().level, EngineLevel::kThreads);
    EXPECT_FALSE(Report().in_force);
    EXPECT_EQ(Report().error_number, EPERM);
    engine_.reset();
    const auto required = OpenEngine(registry_.get(), Wishing(RingExtra::kRequire));
    EXPECT_TRUE(absl::IsUnimplemented(required.status())) << required.status();
    EXPECT_EQ(ErrnoOf(required.status()), EPERM);
    return "";
  });
}

// A ring with IOPOLL can be had nearly everywhere, and reading nothing through it works.
TEST_F(OpenEngineTest, EmptyFileIsNoProofThatItsDeviceIsPolled) {
  engine_ =
      *OpenEngine(registry_.get(), {.probe_file = OpenData(""), .iopoll = RingExtra::kPrefer});
  if (engine_->Report().level == EngineLevel::kThreads) GTEST_SKIP() << "no io_uring here";
  EXPECT_FALSE(engine_->Report().iopoll.in_force);
  EXPECT_EQ(engine_->Report().iopoll.error_number, ENODATA);
  EXPECT_THAT(engine_->Report().iopoll.reason, HasSubstr("is empty"));
}

TEST_F(OpenEngineTest, AllExtrasTogetherAreEachInForceOrNot) {
  std::shared_ptr<File> file = OpenData(PatternBytes(10, 2 * kPage));
  engine_ = *OpenEngine(registry_.get(), {.probe_file = file,
                                          .sqpoll = RingExtra::kPrefer,
                                          .iopoll = RingExtra::kPrefer,
                                          .registered_ring = RingExtra::kPrefer});
  const EngineReport report = engine_->Report();
  for (const RingExtraReport* extra : {&report.sqpoll, &report.iopoll, &report.registered_ring}) {
    EXPECT_TRUE(extra->asked);
    EXPECT_EQ(extra->in_force, extra->reason.empty());
  }
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  ExpectThatPagesMove(file, registration.id(), memory.base());
}

// ---- io_uring forbidden ----

class ForbiddenUringTest : public OpenEngineTest, public ::testing::WithParamInterface<int> {};

INSTANTIATE_TEST_SUITE_P(Errnos, ForbiddenUringTest, ::testing::Values(EPERM, ENOSYS),
                         [](const auto& info) { return ErrnoName(info.param); });

TEST_P(ForbiddenUringTest, GoesDownToThreadsAndSaysWhy) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    MakeRegistry({});
    std::shared_ptr<File> file = OpenData(PatternBytes(4, 2 * kPage));
    if (std::string why = ForbidSystemCall(kIoUringSetup, GetParam()); !why.empty()) return why;
    auto engine = OpenEngine(registry_.get());
    EXPECT_TRUE(engine.ok()) << engine.status();
    if (!engine.ok()) return "";
    engine_ = std::move(*engine);
    const EngineReport report = engine_->Report();
    EXPECT_EQ(report.level, EngineLevel::kThreads);
    EXPECT_EQ(report.downgrade_errno, GetParam());
    EXPECT_THAT(report.ToString(), HasSubstr(ErrnoName(GetParam())));
    EXPECT_TRUE(environment_.Heard(Severity::kWarning, ErrnoName(GetParam())))
        << environment_.Transcript();
    ScratchMemory memory(kPage);
    Registration registration = Register(memory);
    ExpectThatPagesMove(file, registration.id(), memory.base());
    engine_.reset();
    return "";
  });
}

TEST_P(ForbiddenUringTest, RequiredLevelIsUnimplementedWithErrnoAndRemedy) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    MakeRegistry({});
    if (std::string why = ForbidSystemCall(kIoUringSetup, GetParam()); !why.empty()) return why;
    for (const EngineLevel level : {EngineLevel::kUringFixed, EngineLevel::kUringPlain}) {
      const auto engine = OpenEngine(registry_.get(), {.require = level});
      EXPECT_TRUE(absl::IsUnimplemented(engine.status())) << engine.status();
      EXPECT_EQ(ErrnoOf(engine.status()), GetParam());
      EXPECT_THAT(engine.status().message(), HasSubstr(EngineLevelName(level)));
      EXPECT_THAT(engine.status().message(),
                  HasSubstr(GetParam() == EPERM ? "seccomp profile" : "hidden by a sandbox"));
    }
    EXPECT_TRUE(OpenAt(EngineLevel::kThreads)) << why_not_;
    engine_.reset();
    return "";
  });
}

// ---- RLIMIT_MEMLOCK ----

bool UringWorksHere() {
  auto registry = *FixedBufferRegistry::Create({.capacity = 1});
  return OpenEngine(registry.get(), {.require = EngineLevel::kUringFixed}).ok();
}

class MemlockTest : public OpenEngineTest {
 protected:
  void SetUp() override {
    if (!UringWorksHere()) GTEST_SKIP() << "no io_uring with fixed buffers here";
  }
};

// Kernels that charge a ring itself refuse it; older ones refuse only the buffer.
TEST_F(MemlockTest, WithoutAnyLockedMemoryTheEngineGoesDownAndSaysWhy) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    MakeRegistry({});
    std::shared_ptr<File> file = OpenData(PatternBytes(5, 2 * kPage));
    if (std::string why = DropPrivileges(0); !why.empty()) return why;
    auto engine = OpenEngine(registry_.get());
    EXPECT_TRUE(engine.ok()) << engine.status();
    if (!engine.ok()) return "";
    engine_ = std::move(*engine);
    EXPECT_NE(engine_->Report().level, EngineLevel::kUringFixed);
    EXPECT_EQ(engine_->Report().downgrade_errno, ENOMEM) << engine_->Report().ToString();
    EXPECT_THAT(engine_->Report().downgrade_reason, HasSubstr("RLIMIT_MEMLOCK is 0"));
    ScratchMemory memory(kPage);
    Registration registration = Register(memory);
    ExpectThatPagesMove(file, registration.id(), memory.base());
    engine_.reset();
    const auto required = OpenEngine(registry_.get(), {.require = EngineLevel::kUringFixed});
    EXPECT_TRUE(absl::IsResourceExhausted(required.status())) << required.status();
    EXPECT_EQ(ErrnoOf(required.status()), ENOMEM);
    EXPECT_THAT(required.status().message(), HasSubstr("RLIMIT_MEMLOCK"));
    return "";
  });
}

constexpr size_t kLimit = size_t{8} << 20;
constexpr size_t kRegion = size_t{2} << 20;

TEST_F(MemlockTest, RequiredRegionsAreRefusedHalfwayWithoutTrace) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    MakeRegistry({});
    ScratchMemory memory(8 * kRegion);
    if (std::string why = DropPrivileges(kLimit); !why.empty()) return why;
    if (!OpenAt(EngineLevel::kUringFixed, {.depth = 16})) return why_not_;
    const FixedBufferRegistry::RegisterOptions require = {
        .fixed = FixedBufferRegistry::FixedPolicy::kRequire};
    std::vector<Registration> registrations;
    absl::Status refused;
    for (int i = 0; i < 8; ++i) {
      auto registration =
          registry_->Register(*MemoryRegion::Create(memory.at(i * kRegion), kRegion), require);
      if (!registration.ok()) {
        refused = registration.status();
        break;
      }
      registrations.push_back(std::move(*registration));
    }
    EXPECT_GE(registrations.size(), 1u);
    EXPECT_LE(registrations.size(), 4u);
    EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
    EXPECT_EQ(ErrnoOf(refused), ENOMEM);
    for (const char* part :
         {"2097152 bytes", "RLIMIT_MEMLOCK is 8388608", "ulimit -l", "CAP_IPC_LOCK"}) {
      EXPECT_THAT(refused.message(), HasSubstr(part));
    }
    EXPECT_EQ(registry_->region_count(), registrations.size());
    // All at once: the refusal takes back what came before it.
    const size_t first_try = registrations.size();
    registrations.clear();
    std::vector<MemoryRegion> regions;
    for (int i = 0; i < 8; ++i) {
      regions.push_back(*MemoryRegion::Create(memory.at(i * kRegion), kRegion));
    }
    EXPECT_EQ(ErrnoOf(registry_->RegisterAll(regions, require).status()), ENOMEM);
    EXPECT_EQ(registry_->region_count(), 0u);
    // Nothing stayed charged: as many fit as before.
    regions.resize(first_try, regions[0]);
    const auto again = registry_->RegisterAll(regions, require);
    EXPECT_TRUE(again.ok()) << again.status();
    engine_.reset();
    return "";
  });
}

TEST_F(MemlockTest, PreferredRegionsBeyondTheLimitWorkPlainly) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    MakeRegistry({});
    std::shared_ptr<File> file = OpenData(PatternBytes(6, 2 * kPage));
    ScratchMemory memory(8 * kRegion);
    if (std::string why = DropPrivileges(kLimit); !why.empty()) return why;
    if (!OpenAt(EngineLevel::kUringFixed, {.depth = 16})) return why_not_;
    std::vector<MemoryRegion> regions;
    for (int i = 0; i < 8; ++i) {
      regions.push_back(*MemoryRegion::Create(memory.at(i * kRegion), kRegion));
    }
    auto registrations = registry_->RegisterAll(regions, {});
    EXPECT_TRUE(registrations.ok()) << registrations.status();
    if (!registrations.ok()) return "";
    const auto first = registry_->InfoOf(registrations->front().id());
    const auto last = registry_->InfoOf(registrations->back().id());
    EXPECT_TRUE(first->fixed);
    EXPECT_FALSE(last->fixed);
    EXPECT_EQ(last->fixed_errno, ENOMEM);
    EXPECT_TRUE(environment_.Heard(Severity::kWarning, "RLIMIT_MEMLOCK is 8388608"))
        << environment_.Transcript();
    ExpectThatPagesMove(file, registrations->front().id(), memory.base());
    EXPECT_EQ(engine_->Report().counters.fixed_transfers, 2u);
    EXPECT_EQ(engine_->Report().counters.plain_transfers, 0u);
    ExpectThatPagesMove(file, registrations->back().id(), memory.at(7 * kRegion));
    EXPECT_EQ(engine_->Report().counters.fixed_transfers, 2u);
    EXPECT_EQ(engine_->Report().counters.plain_transfers, 2u);
    registrations->clear();
    EXPECT_EQ(registry_->region_count(), 0u);
    engine_.reset();
    return "";
  });
}

// A second ring takes locked memory of its own: on newer kernels for its queues, on older
// ones for every region again. Where it does not fit, it says so; the first does not notice.
TEST_F(MemlockTest, SecondEngineThatDoesNotFitGoesDownAndTheFirstWorksOn) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    MakeRegistry({});
    std::shared_ptr<File> file = OpenData(PatternBytes(7, 2 * kPage));
    ScratchMemory memory(3 * kRegion);
    if (std::string why = DropPrivileges(3 * kRegion + (size_t{300} << 10)); !why.empty()) {
      return why;
    }
    if (!OpenAt(EngineLevel::kUringFixed, {.depth = 16})) return why_not_;
    std::vector<Registration> registrations;
    for (int i = 0; i < 3; ++i) {
      auto registration =
          registry_->Register(*MemoryRegion::Create(memory.at(i * kRegion), kRegion),
                              {.fixed = FixedBufferRegistry::FixedPolicy::kRequire});
      EXPECT_TRUE(registration.ok()) << registration.status();
      if (!registration.ok()) return "";
      registrations.push_back(std::move(*registration));
    }
    std::string skipped;
    {
      auto second = OpenEngine(registry_.get(), {.depth = 4096});
      EXPECT_TRUE(second.ok()) << second.status();
      if (!second.ok()) return "";
      if ((*second)->Report().level == EngineLevel::kUringFixed) {
        skipped = "this kernel charges neither rings nor shared buffers";
      } else {
        EXPECT_EQ((*second)->Report().downgrade_errno, ENOMEM);
        EXPECT_THAT((*second)->Report().downgrade_reason, HasSubstr("RLIMIT_MEMLOCK is"));
      }
      std::swap(engine_, *second);
      ExpectThatPagesMove(file, registrations[2].id(), memory.at(2 * kRegion));
      std::swap(engine_, *second);
    }
    ExpectThatPagesMove(file, registrations[2].id(), memory.at(2 * kRegion));
    EXPECT_EQ(engine_->Report().counters.fixed_transfers, 2u);
    registrations.clear();
    engine_.reset();
    return skipped;
  });
}

// ---- A process that dies ----

// The ring of a killed process holds its files until the kernel has taken the ring apart, which
// may be well after the process was reaped, and each holds its lock until then.
TEST_F(OpenEngineTest, FileOfAKilledProcessCanBeOpenedAtOnce) {
  const std::string path = scratch_.MakeFile("locked", std::string(kPage, 'x'));
  for (int round = 0; round < 5; ++round) {
    int ready[2];
    ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      MakeRegistry({});
      const auto mine = File::Open(path);
      const auto engine = OpenEngine(registry_.get(), {});
      if (!mine.ok() || !engine.ok() || !(*engine)->AddFile(*mine).ok()) _exit(1);
      if (write(ready[1], "r", 1) != 1) _exit(1);
      while (true) pause();
    }
    close(ready[1]);
    char byte = 0;
    const ssize_t count = read(ready[0], &byte, 1);
    close(ready[0]);
    EXPECT_EQ(kill(child, SIGKILL), 0);
    EXPECT_EQ(waitpid(child, nullptr, 0), child);
    ASSERT_EQ(count, 1) << "the child could not open the file";
    const auto file = File::Open(path);
    ASSERT_TRUE(file.ok()) << "round " << round << ": " << file.status();
  }
}

}  // namespace
}  // namespace fixpool::io
