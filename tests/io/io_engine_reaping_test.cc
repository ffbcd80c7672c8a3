#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/region_id.h"
#include "gtest/gtest.h"
#include "tests/io/engine_kinds.h"
#include "tests/io/kernel_threads.h"
#include "tests/support/scratch.h"
#include "tests/support/seed.h"
#include "tests/support/sleeping_thread.h"
#include "tests/support/slow_pipe.h"

// Who waits for completions, and a model under many threads. On all kinds of engines.

namespace fixpool::io {
namespace {

using ::fixpool::tests::BytesAt;
using ::fixpool::tests::PatternBytes;
using ::fixpool::tests::ReadWholeFile;
using ::fixpool::tests::ScratchMemory;
using ::fixpool::tests::SlowPipe;
using ::fixpool::tests::WaitUntilAsleep;

class IoEngineReapingTest : public tests::EngineKindTest {};
INSTANTIATE_TEST_SUITE_P(AllKinds, IoEngineReapingTest, tests::AllEngineKinds(), tests::EngineKindName);

// ---- Reaping ----

TEST_P(IoEngineReapingTest, ReapReturnsAtOnceWhereThereIsNothingToWaitFor) {
  std::vector<IoCompletion> some(4);
  EXPECT_EQ(engine_->Reap(absl::MakeSpan(some), Deadline::Infinite()), 0u);  // nothing in flight
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(file, registration.id(), memory.base(), 512, 0)});
  EXPECT_EQ(engine_->Reap({}, Deadline::Infinite()), 0u);                // no place for any
  EXPECT_EQ(engine_->Reap(absl::MakeSpan(some), Deadline::Past()), 0u);  // a poll
  EXPECT_EQ(engine_->Reap(absl::MakeSpan(some), Soon()), 0u);            // time is up
  EXPECT_EQ(engine_->in_flight(), 1u);
  pipe.Feed(std::string(512, 'f'));
  EXPECT_EQ(ReapCount(1).at(0).transferred_bytes, 512u);
  EXPECT_EQ(engine_->Reap(absl::MakeSpan(some), Deadline::Infinite()), 0u);
}

TEST_P(IoEngineReapingTest, ReapsInPortionsOfTheCallersSize) {
  const FileHandle file = Add(OpenNew("data", PatternBytes(13, 8 * kPage)));
  ScratchMemory memory(8 * kPage);
  Registration registration = Register(memory);
  std::vector<IoRequest> reads;
  for (int i = 0; i < 8; ++i) {
    reads.push_back(Read(file, registration.id(), memory.at(i * kPage), kPage, i * kPage, i));
  }
  SubmitAll(reads);
  uint64_t seen = 0;
  while (seen != 0xff) {
    IoCompletion one[1];
    if (engine_->Reap(absl::MakeSpan(one), Eventually()) == 1) {
      EXPECT_TRUE(one[0].status.ok());
      EXPECT_EQ(seen & (1u << one[0].user_data), 0u);
      seen |= 1u << one[0].user_data;
    }
  }
  EXPECT_EQ(engine_->in_flight(), 0u);
}

TEST_P(IoEngineReapingTest, WaiterFinishesThoughTheSubmitterNeverComesBack) {
  const std::string bytes = PatternBytes(14, 16 * kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  ScratchMemory memory(16 * kPage);
  Registration registration = Register(memory);
  std::vector<IoRequest> reads;
  for (int i = 0; i < 8; ++i) {
    reads.push_back(Read(file, registration.id(), memory.at(i * kPage), kPage, i * kPage, i));
  }
  // One submitter that is gone...
  std::thread([&] { SubmitAll(reads); }).join();
  EXPECT_EQ(ReapCount(8).size(), 8u);
  // ... and one that sleeps in a system call of its own.
  int sleep_pipe[2];
  ASSERT_EQ(pipe(sleep_pipe), 0);
  for (int i = 0; i < 8; ++i) {
    reads[i].data = memory.at((8 + i) * kPage);
    reads[i].offset_bytes = (8 + i) * kPage;
  }
  std::atomic<bool> submitted{false};
  std::thread sleeper([&] {
    SubmitAll(reads);
    submitted.store(true);
    char byte;
    EXPECT_EQ(read(sleep_pipe[0], &byte, 1), 1);
  });
  while (!submitted.load()) std::this_thread::yield();
  EXPECT_EQ(ReapCount(8).size(), 8u);
  EXPECT_EQ(write(sleep_pipe[1], "w", 1), 1);
  sleeper.join();
  EXPECT_EQ(BytesAt(memory, 0, bytes.size()), bytes);
  close(sleep_pipe[0]);
  close(sleep_pipe[1]);
}

// What the kernel has still to do in the name of a thread, it gives up when that thread exits: the
// read of a pipe that has nothing yet (ECANCELED), and a buffered read whose page comes later
// (EFAULT).
TEST_P(IoEngineReapingTest, SubmitterThatExitsTakesNoRequestWithIt) {
  const std::string bytes = PatternBytes(24, 64 * kPage);
  ScratchMemory memory(33 * kPage);
  Registration registration = Register(memory);
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle pipe_file = Add(pipe.file());
  std::shared_ptr<File> cold = OpenNew("data", bytes, File::DirectIo::kNever);
  ASSERT_TRUE(cold->Sync().ok());
  const FileHandle file = Add(cold);
  std::vector<IoRequest> requests;
  for (int i = 0; i < 32; ++i) {  // every other page: nothing reads ahead of them
    requests.push_back(
        Read(file, registration.id(), memory.at(i * kPage), kPage, 2 * i * kPage, i));
  }
  requests.push_back(Read(pipe_file, registration.id(), memory.at(32 * kPage), 512, 0, 32));
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(posix_fadvise(cold->descriptor(), 0, 0, POSIX_FADV_DONTNEED), 0);
    std::memset(memory.chars(), 0, memory.size_bytes());
    std::thread([&] { SubmitAll(requests); }).join();
    pipe.Feed(std::string(512, 'p'));
    for (const auto& [user_data, completion] : ReapCount(requests.size())) {
      EXPECT_TRUE(completion.status.ok()) << user_data << ": " << completion.status;
    }
    for (int i = 0; i < 32; ++i) {
      EXPECT_TRUE(BytesAt(memory, i * kPage, kPage) == bytes.substr(2 * i * kPage, kPage)) << i;
    }
    EXPECT_EQ(BytesAt(memory, 32 * kPage, 512), std::string(512, 'p'));
  }
  EXPECT_EQ(engine_->Report().counters.failed, 0u);
}

TEST_P(IoEngineReapingTest, WaiterWhoseCompletionAnotherTookReturnsToLook) {
  SlowPipe first = SlowPipe::ToReadFrom();
  SlowPipe second = SlowPipe::ToReadFrom();
  const FileHandle first_file = Add(first.file());
  const FileHandle second_file = Add(second.file());
  ScratchMemory memory(2 * kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(first_file, registration.id(), memory.base(), 512, 0, 1),
             Read(second_file, registration.id(), memory.at(kPage), 512, 0, 2)});
  std::atomic<pid_t> tids[3] = {0, 0, 0};
  std::atomic<int> taken{0};
  std::vector<std::thread> waiters;
  for (auto& tid : tids) {
    waiters.emplace_back([&] {
      tid.store(gettid());
      IoCompletion one[1];
      taken.fetch_add(static_cast<int>(engine_->Reap(absl::MakeSpan(one), Deadline::Infinite())));
    });
  }
  for (auto& tid : tids) WaitUntilAsleep(tid);
  // One completion for three; the other request stays in flight, so nothing else ends their
  // waiting.
  first.Feed(std::string(512, 'f'));
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(taken.load(), 1);
  EXPECT_EQ(engine_->in_flight(), 1u);
  second.Feed(std::string(512, 's'));
  ReapCount(1);
}

TEST_P(IoEngineReapingTest, SignalsDisturbNobody) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) {};  // and no SA_RESTART
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  const std::string bytes = PatternBytes(15, 64 * kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle pipe_file = Add(pipe.file());
  ScratchMemory memory(65 * kPage);
  Registration registration = Register(memory);
  const pthread_t victim = pthread_self();
  std::atomic<bool> stop{false};
  std::thread tormentor([&] {
    while (!stop.load()) {
      pthread_kill(victim, SIGUSR1);
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < 20; ++round) {
    std::vector<IoRequest> requests;
    for (int i = 0; i < 64; ++i) {
      requests.push_back(Read(file, registration.id(), memory.at(i * kPage), kPage, i * kPage, i));
    }
    requests.push_back(Read(pipe_file, registration.id(), memory.at(64 * kPage), 512, 0, 64));
    SubmitAll(requests);
    pipe.Feed(std::string(512, 'p'));
    for (const auto& [user_data, completion] : ReapCount(65)) {
      EXPECT_TRUE(completion.status.ok()) << user_data << ": " << completion.status;
    }
  }
  stop.store(true);
  tormentor.join();
  sigaction(SIGUSR1, &before, nullptr);
  EXPECT_EQ(BytesAt(memory, 0, bytes.size()), bytes);
}

// Nothing of ours runs while nothing happens: not the thread that waits, and not, once its idle
// time is over, the kernel's that looks at the queue.
TEST_P(IoEngineReapingTest, WaitingForWhatDoesNotComeTakesNoProcessor) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(file, registration.id(), memory.base(), 512, 0)});
  tests::WaitUntilKernelThreadsSleep();
  const auto switches = [] {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
  };
  const int ticks_before = tests::KernelThreadTicks();
  const uint64_t enters_before = engine_->Report().counters.kernel_enters;
  const auto switches_before = switches();
  IoCompletion one[1];
  const Deadline deadline = environment_.DeadlineAfter(absl::Milliseconds(600));
  while (!environment_.Expired(deadline)) {
    EXPECT_EQ(engine_->Reap(absl::MakeSpan(one), deadline), 0u);
  }
  // A few of each are what it takes; a loop makes thousands, and some sixty ticks.
  EXPECT_LE(engine_->Report().counters.kernel_enters - enters_before, 100u);
  EXPECT_LE(switches() - switches_before, 100);
  EXPECT_LE(tests::KernelThreadTicks() - ticks_before, 15);
  pipe.Feed(std::string(512, 'f'));
  ReapCount(1);
}

TEST_P(IoEngineReapingTest, ReapSeveralWaitsForNoMoreThanAreInFlight) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(file, registration.id(), memory.base(), 512, 0)});
  std::thread feeder([&] { pipe.Feed(std::string(512, 'f')); });
  std::vector<IoCompletion> some(4);
  size_t count = 0;
  while (count == 0) count = engine_->ReapSeveral(absl::MakeSpan(some), Deadline::Infinite(), 4);
  EXPECT_EQ(count, 1u);
  feeder.join();
}

TEST_P(IoEngineReapingTest, ReapSeveralReturnsFewerAtTheDeadline) {
  SlowPipe fed = SlowPipe::ToReadFrom();
  SlowPipe silent = SlowPipe::ToReadFrom();
  const FileHandle first = Add(fed.file());
  const FileHandle second = Add(silent.file());
  ScratchMemory memory(2 * kPage);
  Registration registration = Register(memory);
  SubmitAll({Read(first, registration.id(), memory.base(), 512, 0),
             Read(second, registration.id(), memory.base() + kPage, 512, 0)});
  std::thread feeder([&] { fed.Feed(std::string(512, 'f')); });
  std::vector<IoCompletion> some(4);
  size_t count = 0;
  while (count == 0) {
    const Deadline deadline = environment_.DeadlineAfter(absl::Milliseconds(20));
    count = engine_->ReapSeveral(absl::MakeSpan(some), deadline, 2);
  }
  EXPECT_EQ(count, 1u);
  feeder.join();
  silent.Feed(std::string(512, 's'));
  ReapCount(1);
}

// ---- Many threads, against a model ----

// Threads submit reads, writes and syncs of random pages and reap whatever comes, whoever
// submitted it. The model knows which version each page of the file has.
class EngineModel {
 public:
  EngineModel(IoEngine& engine, FileHandle file, RegionId region, ScratchMemory& memory,
              uint32_t pages, uint32_t operations)
      : engine_(engine),
        file_(file),
        region_(region),
        memory_(memory),
        pages_(pages),
        page_busy_(pages),
        page_version_(pages),
        operations_(operations) {
    for (uint32_t i = 0; i < memory.size_bytes() / kPage; ++i) free_frames_.push_back(i);
  }

  void Work(uint64_t seed) {
    std::mt19937_64 random(seed);
    while (true) {
      std::vector<IoRequest> batch = MakeBatch(random, 1 + random() % 8);
      if (batch.empty() && next_.load() >= operations_.size() &&
          completed_.load() == operations_.size()) {
        return;
      }
      size_t done = 0;
      while (done < batch.size()) {
        const SubmitResult result = engine_.Submit(absl::MakeSpan(batch).subspan(done));
        ASSERT_TRUE(result.status.ok()) << result.status;
        done += result.accepted;
        if (done < batch.size()) ReapSome(random);
      }
      ReapSome(random);
    }
  }

  uint64_t completed() const { return completed_.load(); }
  uint64_t version(uint32_t page) const { return page_version_[page]; }
  static std::string Contents(uint32_t page, uint64_t version) {
    return PatternBytes(version << 32 | page, kPage);
  }

 private:
  static constexpr size_t kPage = 4096;
  struct Planned {
    IoOperation operation;
    uint32_t page;
    uint32_t frame;
    std::atomic<int> completions{0};
  };

  std::vector<IoRequest> MakeBatch(std::mt19937_64& random, size_t want) {
    std::vector<IoRequest> batch;
    std::lock_guard lock(mutex_);
    while (batch.size() < want && !free_frames_.empty() && next_.load() < operations_.size()) {
      const uint32_t page = random() % pages_;
      const uint64_t index = next_.load();
      Planned& planned = operations_[index];
      planned.operation = random() % 16 == 0  ? IoOperation::kSync
                          : random() % 2 == 0 ? IoOperation::kWrite
                                              : IoOperation::kRead;
      if (planned.operation != IoOperation::kSync) {
        if (page_busy_[page]) continue;
        page_busy_[page] = true;
        planned.page = page;
        planned.frame = free_frames_.back();
        free_frames_.pop_back();
      }
      IoRequest request{.operation = planned.operation, .file = file_, .user_data = index};
      if (planned.operation != IoOperation::kSync) {
        request.region = random() % 8 == 0 ? RegionId::kUnregistered : region_;
        request.data = memory_.at(planned.frame * kPage);
        request.length_bytes = kPage;
        request.offset_bytes = uint64_t{page} * kPage;
      }
      if (planned.operation == IoOperation::kWrite) {
        const std::string contents = Contents(page, page_version_[page] + 1);
        std::memcpy(request.data, contents.data(), kPage);
      }
      batch.push_back(request);
      next_.fetch_add(1);
    }
    return batch;
  }

  void ReapSome(std::mt19937_64& random) {
    std::vector<IoCompletion> some(1 + random() % 16);
    Environment* const clock = Environment::Default();
    const Deadline deadline =
        random() % 2 == 0 ? Deadline::Past() : clock->DeadlineAfter(absl::Milliseconds(2));
    const size_t count = engine_.Reap(absl::MakeSpan(some), deadline);
    for (size_t i = 0; i < count; ++i) Finish(some[i]);
  }

  void Finish(const IoCompletion& completion) {
    ASSERT_LT(completion.user_data, operations_.size());
    Planned& planned = operations_[completion.user_data];
    EXPECT_EQ(planned.completions.fetch_add(1), 0) << "completed twice";
    EXPECT_TRUE(completion.status.ok()) << completion.status;
    if (planned.operation != IoOperation::kSync) {
      EXPECT_EQ(completion.transferred_bytes, kPage);
      const uint64_t version =
          page_version_[planned.page] + (planned.operation == IoOperation::kWrite ? 1 : 0);
      EXPECT_TRUE(std::string(memory_.chars(planned.frame * kPage), kPage) ==
                  Contents(planned.page, version))
          << "page " << planned.page << " version " << version;
      std::lock_guard lock(mutex_);
      page_version_[planned.page] = version;
      page_busy_[planned.page] = false;
      free_frames_.push_back(planned.frame);
    }
    completed_.fetch_add(1);
  }

  IoEngine& engine_;
  const FileHandle file_;
  const RegionId region_;
  ScratchMemory& memory_;
  const uint32_t pages_;
  std::mutex mutex_;
  std::vector<char> page_busy_;         // guarded by mutex_
  std::vector<uint64_t> page_version_;  // of a busy page: its request's
  std::vector<uint32_t> free_frames_;   // guarded by mutex_
  std::vector<Planned> operations_;
  std::atomic<uint64_t> next_{0};
  std::atomic<uint64_t> completed_{0};
};

TEST_P(IoEngineReapingTest, EveryRequestCompletesOnceWithTheRightBytesUnderLoad) {
  constexpr uint32_t kPages = 256;
  constexpr uint32_t kOperations = 6000;
  const uint64_t seed = tests::Seed();
  Reopen({.depth = 48, .threads = 4});
  std::string initial;
  for (uint32_t page = 0; page < kPages; ++page) initial += EngineModel::Contents(page, 0);
  const FileHandle file = Add(OpenNew("data", initial));
  ScratchMemory memory(64 * kPage);
  Registration registration = Register(memory);
  EngineModel model(*engine_, file, registration.id(), memory, kPages, kOperations);
  // Meanwhile regions come and go in the same rings.
  std::atomic<bool> stop{false};
  std::thread registrar([&] {
    ScratchMemory more(16 * kPage);
    while (!stop.load()) {
      Registration passing = Register(more);
      EXPECT_TRUE(passing.Release(absl::InfiniteDuration()).ok());
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i) workers.emplace_back([&, i] { model.Work(seed + i); });
  for (auto& worker : workers) worker.join();
  stop.store(true);
  registrar.join();
  EXPECT_EQ(model.completed(), kOperations);
  EXPECT_EQ(engine_->in_flight(), 0u);
  EXPECT_EQ(registry_->InfoOf(registration.id())->in_flight, 0u);
  const EngineCounters counters = engine_->Report().counters;
  EXPECT_EQ(counters.fixed_transfers + counters.plain_transfers + counters.syncs, kOperations);
  EXPECT_LE(counters.peak_in_flight, 48u);
  EXPECT_EQ(counters.failed, 0u);
  engine_.reset();
  const std::string final_bytes = ReadWholeFile(scratch_.File("data"));
  ASSERT_EQ(final_bytes.size(), kPages * kPage);
  for (uint32_t page = 0; page < kPages; ++page) {
    ASSERT_TRUE(final_bytes.substr(page * kPage, kPage) ==
                EngineModel::Contents(page, model.version(page)))
        << "page " << page;
  }
}

}  // namespace
}  // namespace fixpool::io
