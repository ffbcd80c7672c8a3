#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/open_engine.h"
#include "fixpool/storage/page_cache.h"
#include "gtest/gtest.h"
#include "tests/storage/cache_fixture.h"
#include "tests/storage/level_fixture.h"
#include "tests/support/recording_environment.h"
#include "tests/support/scratch.h"
#include "tests/support/slow_pipe.h"

// What a program may rely on that shares its process with the library; docs/process_rules.md.

namespace fixpool::tests {
namespace {

using storage::WriteGuard;

// What is written to a descriptor, from construction until Taken().
class Capture {
 public:
  explicit Capture(int descriptor)
      : descriptor_(descriptor),
        before_(fcntl(descriptor, F_DUPFD_CLOEXEC, 0)),
        memory_(memfd_create("captured", MFD_CLOEXEC)) {
    std::fflush(nullptr);
    EXPECT_GE(dup2(memory_, descriptor_), 0);
  }
  ~Capture() { Taken(); }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  std::string Taken() {
    if (before_ < 0) return "";
    std::fflush(nullptr);
    dup2(before_, descriptor_);
    close(std::exchange(before_, -1));
    std::string text(static_cast<size_t>(lseek(memory_, 0, SEEK_END)), '\0');
    EXPECT_EQ(pread(memory_, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    close(memory_);
    return text;
  }

 private:
  const int descriptor_;
  int before_;
  const int memory_;
};

// What happens on each signal, in this process.
std::vector<std::string> Dispositions() {
  std::vector<std::string> all;
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    struct sigaction action {};
    if (sigaction(signal, nullptr, &action) != 0) continue;  // the C library keeps it to itself
    all.push_back(absl::StrFormat("%d: %p, %x", signal, reinterpret_cast<void*>(action.sa_handler),
                                  action.sa_flags));
  }
  return all;
}

std::set<std::string> Threads() {
  std::set<std::string> threads;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    threads.insert(task.path().filename().string());
  }
  return threads;
}

// The signals that a thread blocks, as a bit mask; all of them for a thread of the kernel's,
// which no signal handler can run on, and for one that is gone.
uint64_t BlockedBy(const std::string& thread) {
  std::ifstream in("/proc/self/task/" + thread + "/status");
  std::string line;
  while (std::getline(in, line)) {
    if (line.starts_with("Name:\tiou-")) break;
    if (line.starts_with("SigBlk:\t")) return std::stoull(line.substr(8), nullptr, 16);
  }
  return ~uint64_t{0};
}

class ProcessRulesTest : public LevelTest {
 protected:
  // Opens, reads, writes, runs into every kind of error, closes, and loses something.
  void Session() {
    Start(8);
    if (IsSkipped()) return;
    const std::string path = scratch_.MakeFile("data.db", FileText(32));
    file_ = *cache().OpenFile(path);
    for (uint64_t page = 0; page < 32; ++page) EXPECT_TRUE(cache().Read(Page(page)).ok());
    { cache().Write(Page(3))->mutable_bytes()[0] = std::byte{1}; }
    EXPECT_TRUE(cache().Flush(file_).ok());
    EXPECT_FALSE(cache().OpenFile(path, {.lock_timeout = absl::ZeroDuration()}).ok());
    EXPECT_FALSE(cache().OpenFile(scratch_.File("none")).ok());
    EXPECT_FALSE(cache().Read(Page(99)).ok());
    EXPECT_FALSE(io::File::Open(path, {.lock_timeout = absl::ZeroDuration()}).ok());
    ExpectThatNewThreadsBlockAllSignals();
    { cache().Write(Page(4))->mutable_bytes()[0] = std::byte{1}; }
    Stop();  // with a changed page, of which the sink is told
    DieWithAReadInFlight();
  }

  void ExpectThatNewThreadsBlockAllSignals() {
    for (const std::string& thread : Threads()) {
      if (threads_before_.contains(thread)) continue;
      const uint64_t blocked = BlockedBy(thread);
      for (int signal = 1; signal <= SIGRTMAX; ++signal) {
        if (signal == SIGKILL || signal == SIGSTOP || (signal > 31 && signal < SIGRTMIN)) continue;
        EXPECT_NE(blocked >> (signal - 1) & 1, 0u) << "signal " << signal << " in " << thread;
      }
    }
  }

  void DieWithAReadInFlight() {
    auto registry = io::FixedBufferRegistry::Create(
        {.release_timeout = absl::ZeroDuration(), .environment = &environment_});
    ScratchMemory memory(kPageBytes);
    SlowPipe pipe = SlowPipe::ToReadFrom();
    auto engine = io::OpenEngine(registry->get(), {.require = GetParam()});
    ASSERT_TRUE(engine.ok()) << engine.status();
    {
      const auto registration =
          (*registry)->Register(*io::MemoryRegion::Create(memory.base(), kPageBytes));
      const io::IoRequest read{.file = *(*engine)->AddFile(pipe.file()),
                               .region = registration->id(),
                               .data = memory.base(),
                               .length_bytes = 512};
      EXPECT_EQ((*engine)->Submit({&read, 1}).accepted, 1u);
    }
    pipe.Feed(std::string(512, 'x'));
    io::IoCompletion done[1];
    while ((*engine)->Reap(absl::MakeSpan(done), io::Deadline::Infinite()) == 0) {
    }
  }

  const std::set<std::string> threads_before_ = [] {
    std::thread([] {}).join();  // with the first one ThreadSanitizer starts one of its own
    return Threads();
  }();
};

INSTANTIATE_TEST_SUITE_P(Levels, ProcessRulesTest, AllLevels(), LevelName);

TEST_P(ProcessRulesTest, SaysWhatItHasToSayToTheSinkAndPrintsNothing) {
  Capture out(STDOUT_FILENO);
  Capture err(STDERR_FILENO);
  Session();
  const std::string printed = out.Taken() + err.Taken();
  if (IsSkipped()) return;
  EXPECT_EQ(printed, "");
  EXPECT_TRUE(environment_.Heard(io::Severity::kWarning, "changed pages of"))
      << environment_.Transcript();
  EXPECT_TRUE(environment_.Heard(io::Severity::kError, "leaked on purpose"))
      << environment_.Transcript();
}

TEST_P(ProcessRulesTest, InstallsNoSignalHandlers) {
  const std::vector<std::string> before = Dispositions();
  Start(8);
  if (IsSkipped()) return;
  EXPECT_TRUE(Dispositions() == before);
  Stop();
  Session();
  EXPECT_TRUE(Dispositions() == before);
}

TEST_P(ProcessRulesTest, LeavesTheCallersSignalMaskAndNoThreads) {
  sigset_t before;
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &before), 0);
  Session();
  if (IsSkipped()) return;
  sigset_t after;
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &after), 0);
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    EXPECT_EQ(sigismember(&before, signal), sigismember(&after, signal)) << signal;
  }
  for (const std::string& thread : Threads()) {
    if (threads_before_.contains(thread)) continue;
    std::string name;
    std::getline(std::ifstream("/proc/self/task/" + thread + "/comm"), name);
    EXPECT_FALSE(name.starts_with("fixpool")) << name;
  }
}

}  // namespace
}  // namespace fixpool::tests
