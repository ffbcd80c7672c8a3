#include "fixpool/arena/prefault.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "fixpool/arena/address_range.h"
#include "gtest/gtest.h"
#include "tests/support/address_space.h"

namespace fixpool::arena {
namespace {

// Several chunks, so that several threads have something to do.
constexpr size_t kSize = (size_t{20} << 20) + 4096;

AddressRange SmallPages() {
  AddressRange range = AddressRange::MapOrdinary(kSize).value();
  EXPECT_EQ(range.Advise(MADV_NOHUGEPAGE), 0);
  return range;
}

// How many threads this process has that Prefault started.
size_t HelperCount() {
  size_t count = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream comm(task.path() / "comm");
    std::string name;
    if (std::getline(comm, name) && name == "fixpool-fault") ++count;
  }
  return count;
}

// A thread that was joined is listed for some moments more; one that was not, for ever.
void WaitUntilNoHelperIsLeft() {
  while (HelperCount() > 0) sched_yield();
}

// Stops every thread that touches memory without a page behind it, until it is destroyed: then
// they go on (userfaultfd(2)).
class FaultStop {
 public:
  explicit FaultStop(const AddressRange& range)
      : fd_(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC))),
        range_{.start = reinterpret_cast<uintptr_t>(range.base()), .len = range.size_bytes()} {
    uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_THREAD_ID, .ioctls = 0};
    uffdio_register missing = {.range = range_, .mode = UFFDIO_REGISTER_MODE_MISSING, .ioctls = 0};
    works_ =
        fd_ >= 0 && ioctl(fd_, UFFDIO_API, &api) == 0 && ioctl(fd_, UFFDIO_REGISTER, &missing) == 0;
    why_ = works_ ? "" : std::strerror(errno);
  }
  ~FaultStop() {
    if (works_) ioctl(fd_, UFFDIO_UNREGISTER, &range_);
    if (fd_ >= 0) close(fd_);
  }
  FaultStop(const FaultStop&) = delete;
  FaultStop& operator=(const FaultStop&) = delete;

  bool works() const { return works_; }
  const std::string& why() const { return why_; }

  // Waits for the next one and returns its number. 0: there was none.
  uint32_t NextThread() {
    pollfd ready = {.fd = fd_, .events = POLLIN, .revents = 0};
    uffd_msg message;
    if (poll(&ready, 1, 30'000) != 1 || read(fd_, &message, sizeof(message)) != sizeof(message)) {
      return 0;
    }
    return message.arg.pagefault.feat.ptid;
  }

 private:
  int fd_;
  uffdio_range range_;
  bool works_;
  std::string why_;
};

// The signals that a thread of this process blocks: bit 0 is signal 1.
uint64_t BlockedSignals(uint32_t thread) {
  std::ifstream status(absl::StrCat("/proc/self/task/", thread, "/status"));
  std::string word;
  uint64_t mask = 0;
  while (status >> word) {
    if (word == "SigBlk:" && status >> std::hex >> mask) return mask;
  }
  return 0;
}

TEST(PrefaultTest, SeveralThreadsWorkAtTheSameTimeAndTakeNoSignals) {
  const AddressRange range = SmallPages();  // three chunks
  int error = -1;
  std::atomic<uint32_t> caller_id{0};
  std::thread caller;
  {
    FaultStop stop(range);
    if (!stop.works()) GTEST_SKIP() << "no userfaultfd: " << stop.why();
    caller = std::thread([&] {
      caller_id = static_cast<uint32_t>(syscall(SYS_gettid));
      error = Prefault({.base = range.base(), .size_bytes = kSize, .threads = 3});
    });
    std::set<uint32_t> stopped;
    for (int i = 0; i < 3; ++i) {
      const uint32_t thread = stop.NextThread();
      stopped.insert(thread);
      if (thread == caller_id) continue;
      for (int number = 1; number < SIGSYS; ++number) {
        if (number == SIGKILL || number == SIGSTOP) continue;
        EXPECT_NE(BlockedSignals(thread) >> (number - 1) & 1, 0u) << "signal " << number;
      }
    }
    // Each waits in its own fault, so they are all there at once.
    EXPECT_EQ(stopped.size(), 3u);
    EXPECT_EQ(stopped.count(0), 0u);
    EXPECT_EQ(stopped.count(caller_id), 1u);
  }
  caller.join();
  EXPECT_EQ(error, 0);
  EXPECT_TRUE(tests::AllResident(range.base(), kSize));
  WaitUntilNoHelperIsLeft();
}

TEST(PrefaultTest, OneThreadsFailureIsTheErrorAndAllThreadsAreGone) {
  for (const size_t chunk : {0u, 1u, 2u}) {
    const AddressRange range = SmallPages();
    ASSERT_EQ(munmap(range.base() + chunk * (size_t{8} << 20), 4096), 0);
    EXPECT_EQ(Prefault({.base = range.base(), .size_bytes = kSize, .threads = 3}), ENOMEM);
    WaitUntilNoHelperIsLeft();
  }
}

TEST(PrefaultTest, PutsZeroedPagesBehindAllOfIt) {
  for (const uint32_t threads : {0u, 1u, 4u, 1000u}) {
    const AddressRange range = SmallPages();
    EXPECT_FALSE(tests::AllResident(range.base(), kSize));
    ASSERT_EQ(Prefault({.base = range.base(), .size_bytes = kSize, .threads = threads}), 0);
    EXPECT_TRUE(tests::AllResident(range.base(), kSize));
    for (size_t i = 0; i < kSize; i += 4096) ASSERT_EQ(range.base()[i], std::byte{0});
  }
}

TEST(PrefaultTest, ChangesNothingThatIsThereAlready) {
  const AddressRange range = SmallPages();
  range.base()[1] = std::byte{7};
  ASSERT_EQ(Prefault({.base = range.base(), .size_bytes = kSize}), 0);
  EXPECT_EQ(range.base()[1], std::byte{7});
}

TEST(PrefaultTest, AnswersWithAnErrnoWhereAccessWouldKill) {
  const AddressRange range = SmallPages();
  ASSERT_EQ(mprotect(range.base(), 4096, PROT_READ), 0);
  EXPECT_NE(Prefault({.base = range.base(), .size_bytes = kSize}), 0);
  EXPECT_EQ(TouchThroughKernel(range.base(), kSize, 4096), EFAULT);
}

TEST(PrefaultTest, AnswersWithAnErrnoWhereNothingIsMapped) {
  const AddressRange range = SmallPages();
  std::byte* const hole = range.base() + (size_t{8} << 20);
  ASSERT_EQ(munmap(hole, 4096), 0);
  EXPECT_EQ(Prefault({.base = range.base(), .size_bytes = kSize, .threads = 2}), ENOMEM);
  EXPECT_EQ(TouchThroughKernel(range.base(), kSize, 4096), EFAULT);
}

TEST(PrefaultTest, SaysThatTheHugePagePoolIsEmptyInsteadOfDyingOfIt) {
  // Without a promise (MAP_NORESERVE) touching is what finds out.
  void* const base =
      mmap(nullptr, size_t{2} << 20, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_HUGETLB | (21 << 26), -1, 0);
  if (base == MAP_FAILED) GTEST_SKIP() << "no hugetlb: " << std::strerror(errno);
  std::byte* const bytes = static_cast<std::byte*>(base);
  const size_t page_bytes = size_t{2} << 20;
  const int error = Prefault({.base = bytes, .size_bytes = page_bytes, .page_bytes = page_bytes});
  const int touch_error = TouchThroughKernel(bytes, page_bytes, page_bytes);
  munmap(base, page_bytes);
  if (error == 0) GTEST_SKIP() << "this machine has free huge pages";
  EXPECT_EQ(error, EFAULT);
  EXPECT_EQ(touch_error, EFAULT);
}

TEST(PrefaultTest, TouchingThroughTheKernelReachesEveryPage) {
  const AddressRange range = SmallPages();
  ASSERT_EQ(TouchThroughKernel(range.base(), kSize, 4096), 0);
  EXPECT_TRUE(tests::AllResident(range.base(), kSize));
}

}  // namespace
}  // namespace fixpool::arena
