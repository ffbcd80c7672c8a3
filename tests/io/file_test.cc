#include "fixpool/io/file.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fixpool/io/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/child_process.h"
#include "tests/support/loop_device.h"
#include "tests/support/manual_environment.h"
#include "tests/support/scratch.h"

namespace fixpool::io {
namespace {

using ::fixpool::tests::LoopDevice;
using ::fixpool::tests::ManualEnvironment;
using ::fixpool::tests::PatternBytes;
using ::fixpool::tests::ReadWholeFile;
using ::fixpool::tests::ScratchDirectory;
using ::testing::HasSubstr;

class FileTest : public ::testing::Test {
 protected:
  ScratchDirectory scratch_;
};

// ---- Open ----

TEST_F(FileTest, OpensWhatIsThere) {
  const std::string path = scratch_.MakeFile("data", PatternBytes(1, 10000));
  const auto file = File::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->path(), path);
  EXPECT_FALSE((*file)->read_only());
  EXPECT_FALSE((*file)->block_device());
  EXPECT_TRUE((*file)->positional());
  EXPECT_EQ(*(*file)->SizeBytes(), 10000u);
  EXPECT_NE(fcntl((*file)->descriptor(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(FileTest, CreatesOnlyWhenAsked) {
  const std::string path = scratch_.File("new");
  const auto missing = File::Open(path);
  EXPECT_TRUE(absl::IsNotFound(missing.status())) << missing.status();
  EXPECT_EQ(ErrnoOf(missing.status()), ENOENT);
  EXPECT_THAT(missing.status().message(), HasSubstr(path));
  EXPECT_NE(access(path.c_str(), F_OK), 0);
  const mode_t before = umask(022);
  auto made = File::Open(path, {.create = true, .mode = 0666});
  umask(before);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(*(*made)->SizeBytes(), 0u);
  struct stat status;
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0644u);
}

TEST_F(FileTest, CreateLeavesWhatIsThereAlone) {
  const std::string bytes = PatternBytes(2, 5000);
  const std::string path = scratch_.MakeFile("data", bytes);
  ASSERT_TRUE(File::Open(path, {.create = true}).ok());
  EXPECT_EQ(ReadWholeFile(path), bytes);
}

TEST_F(FileTest, CreateInAMissingDirectoryIsNotFound) {
  EXPECT_TRUE(
      absl::IsNotFound(File::Open(scratch_.File("no/such/directory"), {.create = true}).status()));
}

TEST_F(FileTest, RejectsEmptyPath) {
  EXPECT_TRUE(absl::IsInvalidArgument(File::Open("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(File::Open("", {.create = true}).status()));
}

TEST_F(FileTest, RejectsCreateTogetherWithReadOnly) {
  const auto file = File::Open(scratch_.File("new"), {.create = true, .read_only = true});
  EXPECT_TRUE(absl::IsInvalidArgument(file.status()));
  EXPECT_NE(access(scratch_.File("new").c_str(), F_OK), 0);
}

TEST_F(FileTest, RejectsWhatIsNeitherAFileNorABlockDevice) {
  const auto directory = File::Open(scratch_.path());
  EXPECT_TRUE(absl::IsInvalidArgument(directory.status())) << directory.status();
  EXPECT_THAT(directory.status().message(), HasSubstr("directory"));
  EXPECT_TRUE(absl::IsInvalidArgument(File::Open(scratch_.path(), {.read_only = true}).status()));
  // A FIFO without a partner must not block the open.
  ASSERT_EQ(mkfifo(scratch_.File("fifo").c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(File::Open(scratch_.File("fifo")).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(File::Open(scratch_.File("fifo"), {.read_only = true}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(File::Open("/dev/null").status()));
}

TEST_F(FileTest, OpenWithoutPermissionIsPermissionDenied) {
  // Opened by a user who may not; the directory lets everybody pass.
  const std::string path = scratch_.MakeFile("secret", "x");
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  const int directory = open(scratch_.path().c_str(), O_PATH | O_CLOEXEC);
  ASSERT_GE(directory, 0);
  ASSERT_EQ(chmod(scratch_.path().c_str(), 0755), 0);
  FIXPOOL_IN_CHILD([&]() -> std::string {
    if (std::string why = tests::DropPrivileges(0); !why.empty()) return why;
    const std::string there = absl::StrCat("/proc/self/fd/", directory, "/secret");
    const auto file = File::Open(there);
    EXPECT_TRUE(absl::IsPermissionDenied(file.status())) << file.status();
    EXPECT_EQ(ErrnoOf(file.status()), EACCES);
    return "";
  });
  close(directory);
}

// ---- Locks ----

TEST_F(FileTest, SecondOpenForWritingIsRefusedInThisProcess) {
  const std::string path = scratch_.MakeFile("data", "x");
  auto first = File::Open(path);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = File::Open(path);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_THAT(second.status().message(), HasSubstr("Locking::kCaller"));
  EXPECT_THAT(second.status().message(), HasSubstr("after 500ms"));
  // The lock belongs to the open file, not to the process: a refused one did not break it.
  EXPECT_FALSE(File::Open(path).ok());
  EXPECT_TRUE(File::Open(path, {.read_only = true}).ok());
  EXPECT_FALSE(File::Open(path).ok());
}

TEST_F(FileTest, SecondOpenForWritingIsRefusedInAnotherProcess) {
  const std::string path = scratch_.MakeFile("data", "x");
  auto mine = File::Open(path);
  ASSERT_TRUE(mine.ok()) << mine.status();
  FIXPOOL_IN_CHILD([&]() -> std::string {
    EXPECT_TRUE(absl::IsFailedPrecondition(File::Open(path).status()));
    EXPECT_TRUE(File::Open(path, {.read_only = true}).ok());
    EXPECT_TRUE(File::Open(path, {.locking = File::Locking::kCaller}).ok());
    return "";
  });
  EXPECT_FALSE(File::Open(path).ok()) << "the child took the lock with it";
}

TEST_F(FileTest, AnotherNameOfTheSameFileIsTheSameFile) {
  const std::string path = scratch_.MakeFile("data", "x");
  ASSERT_EQ(link(path.c_str(), scratch_.File("hard").c_str()), 0);
  ASSERT_EQ(symlink(path.c_str(), scratch_.File("soft").c_str()), 0);
  const auto file = File::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  for (const char* name : {"hard", "soft"}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(File::Open(scratch_.File(name)).status())) << name;
    const auto reader = File::Open(scratch_.File(name), {.read_only = true});
    ASSERT_TRUE(reader.ok()) << reader.status();
    EXPECT_EQ((*reader)->device(), (*file)->device());
    EXPECT_EQ((*reader)->inode(), (*file)->inode());
  }
  const auto other = File::Open(scratch_.MakeFile("other", "x"));
  ASSERT_TRUE(other.ok());
  EXPECT_NE((*other)->inode(), (*file)->inode());
}

TEST_F(FileTest, LockIsWaitedForAsLongAsTheCallerSays) {
  const std::string path = scratch_.MakeFile("data", "x");
  const auto first = File::Open(path);
  ASSERT_TRUE(first.ok()) << first.status();
  for (const absl::Duration timeout : {absl::ZeroDuration(), absl::Milliseconds(3), absl::Minutes(10)}) {
    ManualEnvironment environment;
    const int64_t start_ns = environment.NowNs();
    const auto refused = File::Open(path, {.lock_timeout = timeout, .environment = &environment});
    EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
    EXPECT_EQ(environment.NowNs() - start_ns, absl::ToInt64Nanoseconds(timeout));
  }
}

TEST_F(FileTest, LockThatIsFreedMeanwhileIsTaken) {
  const std::string path = scratch_.MakeFile("data", "x");
  auto first = File::Open(path);
  ASSERT_TRUE(first.ok()) << first.status();
  std::thread closer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    first->reset();
  });
  const auto second = File::Open(path, {.lock_timeout = absl::Seconds(30)});
  closer.join();
  EXPECT_TRUE(second.ok()) << second.status();
}

TEST_F(FileTest, CallerWhoLocksByHimselfIsBelieved) {
  const std::string path = scratch_.MakeFile("data", "x");
  const File::OpenOptions own = {.locking = File::Locking::kCaller};
  const auto first = File::Open(path, own);
  const auto second = File::Open(path, own);
  const auto locking = File::Open(path);  // the only one that locks
  EXPECT_TRUE(first.ok() && second.ok() && locking.ok());
}

TEST_F(FileTest, LockGoesWithTheLastReference) {
  const std::string path = scratch_.MakeFile("data", "x");
  std::shared_ptr<File> first = *File::Open(path);
  std::shared_ptr<File> also_first = first;
  first.reset();
  EXPECT_FALSE(File::Open(path).ok());
  also_first.reset();
  EXPECT_TRUE(File::Open(path).ok());
}

TEST_F(FileTest, RefusedOpenLeavesNoDescriptorBehind) {
  const std::string path = scratch_.MakeFile("data", "x");
  std::shared_ptr<File> first = *File::Open(path);
  const int next = dup(first->descriptor());
  close(next);
  EXPECT_FALSE(File::Open(path).ok());
  EXPECT_FALSE(File::Open(scratch_.path()).ok());
  const int next_after = dup(first->descriptor());
  close(next_after);
  EXPECT_EQ(next_after, next);
}

// ---- Direct I/O ----

TEST_F(FileTest, DirectFileTellsAlignmentsThatWork) {
  const std::string bytes = PatternBytes(3, 3 * 4096);
  const auto file = File::Open(scratch_.MakeFile("data", bytes));
  ASSERT_TRUE(file.ok());
  if (!(*file)->direct()) GTEST_SKIP() << "no direct I/O in " << scratch_.path();
  EXPECT_NE(fcntl((*file)->descriptor(), F_GETFL) & O_DIRECT, 0);
  const File::Alignment alignment = (*file)->alignment();
  for (const uint32_t bytes_each : {alignment.memory_bytes, alignment.offset_bytes}) {
    EXPECT_GT(bytes_each, 0u);
    EXPECT_LE(bytes_each, 4096u);
    EXPECT_EQ(bytes_each & (bytes_each - 1), 0u) << bytes_each << " is no power of two";
  }
  tests::ScratchMemory memory(2 * 4096);
  EXPECT_EQ(pread((*file)->descriptor(), memory.at(alignment.memory_bytes), alignment.offset_bytes,
                  alignment.offset_bytes),
            static_cast<ssize_t>(alignment.offset_bytes));
  EXPECT_EQ(std::memcmp(memory.at(alignment.memory_bytes), bytes.data() + alignment.offset_bytes,
                        alignment.offset_bytes),
            0);
}

TEST_F(FileTest, BufferedFileHasNoAlignment) {
  const auto file = File::Open(scratch_.MakeFile("data", "x"), {.direct = File::DirectIo::kNever});
  ASSERT_TRUE(file.ok());
  EXPECT_FALSE((*file)->direct());
  EXPECT_EQ(fcntl((*file)->descriptor(), F_GETFL) & O_DIRECT, 0);
  EXPECT_EQ((*file)->alignment().memory_bytes, 1u);
  EXPECT_EQ((*file)->alignment().offset_bytes, 1u);
}

// procfs never has it.
TEST_F(FileTest, RequiredDirectIoThatIsNotThereIsUnimplemented) {
  const auto required =
      File::Open("/proc/self/status", {.read_only = true, .direct = File::DirectIo::kRequire});
  EXPECT_TRUE(absl::IsUnimplemented(required.status())) << required.status();
  EXPECT_THAT(required.status().message(), HasSubstr("no direct I/O"));
  const auto preferred = File::Open("/proc/self/status", {.read_only = true});
  ASSERT_TRUE(preferred.ok()) << preferred.status();
  EXPECT_FALSE((*preferred)->direct());
}

// A file system that makes the name before it refuses: ramfs.
TEST_F(FileTest, RequiredDirectIoThatIsNotThereLeavesNoFileBehind) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", scratch_.path().c_str(), "ramfs", 0, nullptr) != 0) {
      return std::string("cannot mount a ramfs: ") + std::strerror(errno);
    }
    const std::string path = scratch_.File("new");
    const auto required =
        File::Open(path, {.create = true, .direct = File::DirectIo::kRequire});
    if (required.ok()) return "this kernel's ramfs has direct I/O";
    EXPECT_TRUE(absl::IsUnimplemented(required.status())) << required.status();
    EXPECT_NE(access(path.c_str(), F_OK), 0) << "it was left behind";
    const auto preferred = File::Open(path, {.create = true});
    EXPECT_TRUE(preferred.ok()) << preferred.status();
    EXPECT_FALSE((*preferred)->direct());
    EXPECT_EQ(access(path.c_str(), F_OK), 0);
    return "";
  });
}

TEST_F(FileTest, CreateFollowsASymbolicLinkToNothing) {
  ASSERT_EQ(symlink(scratch_.File("target").c_str(), scratch_.File("link").c_str()), 0);
  const auto file = File::Open(scratch_.File("link"), {.create = true});
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(access(scratch_.File("target").c_str(), F_OK), 0);
}

// ---- Size and space ----

TEST_F(FileTest, PreallocateReservesSpaceAndGrowsTheFile) {
  const auto file = File::Open(scratch_.File("new"), {.create = true});
  ASSERT_TRUE(file.ok());
  const absl::Status status = (*file)->Preallocate(4096, 1 << 20);
  if (absl::IsUnimplemented(status)) GTEST_SKIP() << status;
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(*(*file)->SizeBytes(), (1u << 20) + 4096);
  struct stat details;
  ASSERT_EQ(fstat((*file)->descriptor(), &details), 0);
  EXPECT_GE(details.st_blocks * 512, 1 << 20);
  // Inside what there is it changes no size and no byte.
  EXPECT_TRUE((*file)->Preallocate(0, 8192).ok());
  EXPECT_EQ(*(*file)->SizeBytes(), (1u << 20) + 4096);
  EXPECT_EQ(ReadWholeFile(scratch_.File("new")), std::string((1 << 20) + 4096, '\0'));
}

TEST_F(FileTest, PreallocateRejectsRangesThatNoFileHas) {
  const auto file = File::Open(scratch_.File("new"), {.create = true});
  ASSERT_TRUE(file.ok());
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  for (const auto& [offset, length] :
       {std::pair<uint64_t, uint64_t>(0, 0), std::pair<uint64_t, uint64_t>(4096, 0),
        std::pair<uint64_t, uint64_t>(kMax, 1), std::pair<uint64_t, uint64_t>(1, kMax),
        std::pair<uint64_t, uint64_t>(0, kMax + 1), std::pair<uint64_t, uint64_t>(~0ull, ~0ull),
        std::pair<uint64_t, uint64_t>(~0ull, 4096)}) {
    EXPECT_TRUE(absl::IsInvalidArgument((*file)->Preallocate(offset, length)))
        << length << " at " << offset;
  }
  // One that the type has, and no file system.
  EXPECT_FALSE((*file)->Preallocate(0, kMax).ok());
  EXPECT_EQ(*(*file)->SizeBytes(), 0u);
}

TEST_F(FileTest, PreallocateAndTruncateNeedAFileThatIsWritable) {
  const auto file = File::Open(scratch_.MakeFile("data", "x"), {.read_only = true});
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE((*file)->read_only());
  EXPECT_EQ(ErrnoOf((*file)->Preallocate(0, 4096)), EBADF);
  EXPECT_NE(ErrnoOf((*file)->Truncate(4096)), 0);
  EXPECT_EQ(*(*file)->SizeBytes(), 1u);
}

uint64_t AllocatedBytes(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0);
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

TEST_F(FileTest, DiscardGivesSpaceBackAndLeavesZeros) {
  constexpr size_t kSize = 1 << 20;
  const std::string bytes = PatternBytes(8, kSize);
  const std::string path = scratch_.MakeFile("data", bytes);
  const auto file = File::Open(path);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->Sync().ok());
  const uint64_t before = AllocatedBytes(path);
  const absl::Status status = (*file)->Discard(kSize / 4, kSize / 2);
  if (absl::IsUnimplemented(status)) GTEST_SKIP() << status;
  ASSERT_TRUE(status.ok()) << status;
  std::string expected = bytes;
  expected.replace(kSize / 4, kSize / 2, kSize / 2, '\0');
  EXPECT_TRUE(ReadWholeFile(path) == expected);
  EXPECT_LT(AllocatedBytes(path), before);
  // What is not a whole block, or past the end, changes no size.
  EXPECT_TRUE((*file)->Discard(1, 1).ok());
  EXPECT_TRUE((*file)->Discard(kSize, kSize).ok());
  expected[1] = '\0';
  EXPECT_TRUE(ReadWholeFile(path) == expected);
}

TEST_F(FileTest, DiscardRejectsRangesThatNoFileHas) {
  const auto file = File::Open(scratch_.MakeFile("data", "x"));
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(absl::IsInvalidArgument((*file)->Discard(0, 0)));
  EXPECT_TRUE(absl::IsInvalidArgument((*file)->Discard(1, INT64_MAX)));
  EXPECT_TRUE(absl::IsInvalidArgument((*file)->Discard(UINT64_MAX, 1)));
  const auto reader = File::Open(scratch_.MakeFile("other", "x"), {.read_only = true});
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(ErrnoOf((*reader)->Discard(0, 1)), EBADF);
}

TEST_F(FileTest, TruncateCutsAndExtends) {
  const auto file = File::Open(scratch_.MakeFile("data", std::string(10000, 'a')));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->Truncate(5000).ok());
  EXPECT_EQ(*(*file)->SizeBytes(), 5000u);
  ASSERT_TRUE((*file)->Truncate(6000).ok());
  EXPECT_EQ(ReadWholeFile(scratch_.File("data")), std::string(5000, 'a') + std::string(1000, '\0'));
  ASSERT_TRUE((*file)->Truncate(0).ok());
  EXPECT_EQ(*(*file)->SizeBytes(), 0u);
}

TEST_F(FileTest, TruncateRejectsSizesThatNoFileHas) {
  const auto file = File::Open(scratch_.MakeFile("data", "x"));
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(absl::IsInvalidArgument((*file)->Truncate(uint64_t{1} << 63)));
  EXPECT_TRUE(absl::IsInvalidArgument((*file)->Truncate(~uint64_t{0})));
  EXPECT_EQ(ErrnoOf((*file)->Truncate(std::numeric_limits<int64_t>::max())), EFBIG);
  EXPECT_EQ(*(*file)->SizeBytes(), 1u);
}

TEST_F(FileTest, SyncSucceedsOnAFileAndFailsOnAPipe) {
  const auto file = File::Open(scratch_.MakeFile("data", "x"));
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE((*file)->Sync().ok());
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const auto pipe_file = File::Adopt(ends[0], "pipe");
  ASSERT_TRUE(pipe_file.ok());
  EXPECT_EQ(ErrnoOf((*pipe_file)->Sync()), EINVAL);
  close(ends[1]);
}

TEST_F(FileTest, FreedSpaceReadsAsZerosAndTheSizeStays) {
  const std::string path = scratch_.MakeFile("data", PatternBytes(1, 16384));
  const auto file = File::Open(path);
  ASSERT_TRUE(file.ok());
  const absl::Status status = (*file)->FreeSpace(4096, 8192);
  if (absl::IsUnimplemented(status)) GTEST_SKIP() << status;
  ASSERT_TRUE(status.ok()) << status;
  std::string expected = PatternBytes(1, 16384);
  expected.replace(4096, 8192, 8192, '\0');
  EXPECT_TRUE(ReadWholeFile(path) == expected);
  EXPECT_TRUE(absl::IsInvalidArgument((*file)->FreeSpace(0, 0)));
}

TEST_F(FileTest, FreedSpaceOfADeviceReadsAsZerosToo) {
  const std::string backing = scratch_.MakeFile("backing", PatternBytes(1, 1 << 20));
  const LoopDevice loop(backing);
  if (!loop.works()) GTEST_SKIP() << loop.why_not();
  const auto file = File::Open(loop.path());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(absl::IsOutOfRange((*file)->FreeSpace(1 << 20, 4096)));
  const absl::Status status = (*file)->FreeSpace(4096, 8192);
  if (absl::IsUnimplemented(status)) GTEST_SKIP() << status;
  ASSERT_TRUE(status.ok()) << status;
  std::string expected = PatternBytes(1, 1 << 20);
  expected.replace(4096, 8192, 8192, '\0');
  EXPECT_TRUE(ReadWholeFile(backing) == expected);
}

// A file system of our own with 1 MiB, in a mount namespace that ends with the child.
TEST_F(FileTest, PreallocateWithoutSpaceIsResourceExhausted) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", scratch_.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
      return std::string("cannot mount a small tmpfs: ") + std::strerror(errno);
    }
    const auto file = File::Open(scratch_.File("new"), {.create = true});
    EXPECT_TRUE(file.ok()) << file.status();
    if (!file.ok()) return "";
    const absl::Status status = (*file)->Preallocate(0, 4 << 20);
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_EQ(ErrnoOf(status), ENOSPC);
    EXPECT_THAT(status.message(), HasSubstr("4194304 bytes at offset 0"));
    EXPECT_TRUE((*file)->Preallocate(0, 4096).ok());
    return "";
  });
}

TEST_F(FileTest, DeviceQueueDepthIsThatOfARealDeviceOrUnknown) {
  const auto file = File::Open(scratch_.MakeFile("data", "x"));
  ASSERT_TRUE(file.ok());
  const std::optional<uint32_t> depth = (*file)->DeviceQueueDepth();
  if (depth.has_value()) {
    EXPECT_GE(*depth, 1u);
  }
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  close(ends[1]);
  EXPECT_EQ((*File::Adopt(ends[0], "pipe"))->DeviceQueueDepth(), std::nullopt);
  EXPECT_EQ((*File::Adopt(memfd_create("memory", MFD_CLOEXEC), "memory"))->DeviceQueueDepth(),
            std::nullopt);
}

// ---- Adopt ----

TEST_F(FileTest, AdoptRejectsADescriptorThatIsNotOpen) {
  const int descriptor = dup(0);
  ASSERT_GE(descriptor, 0);
  close(descriptor);
  for (const int bad : {-1, descriptor}) {
    const auto file = File::Adopt(bad, "bad");
    EXPECT_EQ(ErrnoOf(file.status()), EBADF) << file.status();
  }
}

TEST_F(FileTest, AdoptTakesOverWhateverItIs) {
  const int memory = memfd_create("memory", MFD_CLOEXEC);
  ASSERT_GE(memory, 0);
  {
    const auto file = File::Adopt(memory, "memory file");
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ((*file)->descriptor(), memory);
    EXPECT_EQ((*file)->path(), "memory file");
    EXPECT_TRUE((*file)->positional());
    EXPECT_FALSE((*file)->direct());
    EXPECT_FALSE((*file)->read_only());
    EXPECT_TRUE((*file)->Truncate(8192).ok());
    EXPECT_EQ(*(*file)->SizeBytes(), 8192u);
  }
  EXPECT_EQ(fcntl(memory, F_GETFD), -1) << "it is closed with the File";
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const auto reader = File::Adopt(ends[0], "reader");
  const auto writer = File::Adopt(ends[1], "writer");
  ASSERT_TRUE(reader.ok() && writer.ok());
  EXPECT_FALSE((*reader)->positional());
  EXPECT_TRUE((*reader)->read_only());
  EXPECT_FALSE((*writer)->read_only());
}

TEST_F(FileTest, AdoptedFileHasTheIdentityOfTheOpenedOne) {
  const std::string path = scratch_.MakeFile("data", PatternBytes(4, 4096));
  const auto opened = File::Open(path);
  ASSERT_TRUE(opened.ok());
  const auto adopted = File::Adopt(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT), path);
  ASSERT_TRUE(adopted.ok()) << adopted.status();  // and no lock is asked for
  EXPECT_EQ((*adopted)->device(), (*opened)->device());
  EXPECT_EQ((*adopted)->inode(), (*opened)->inode());
  EXPECT_TRUE((*adopted)->direct());
  EXPECT_GE((*adopted)->alignment().offset_bytes, (*opened)->alignment().offset_bytes);
}

// ---- Block devices ----

TEST_F(FileTest, BlockDeviceIsAFileOfItsCapacity) {
  constexpr size_t kCapacity = 1 << 20;
  LoopDevice loop(scratch_.MakeFile("backing", PatternBytes(5, kCapacity)));
  if (!loop.works()) GTEST_SKIP() << loop.why_not();
  const auto file = File::Open(loop.path());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->block_device());
  EXPECT_TRUE((*file)->positional());
  EXPECT_EQ(*(*file)->SizeBytes(), kCapacity);
  EXPECT_TRUE((*file)->Preallocate(0, kCapacity).ok());
  EXPECT_TRUE((*file)->Preallocate(kCapacity - 1, 1).ok());
  EXPECT_TRUE(absl::IsOutOfRange((*file)->Preallocate(0, kCapacity + 1)));
  EXPECT_TRUE(absl::IsOutOfRange((*file)->Preallocate(kCapacity, 1)));
  EXPECT_FALSE((*file)->Truncate(0).ok());
  EXPECT_TRUE((*file)->Sync().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(File::Open(loop.path()).status()));
  const auto adopted = File::Adopt(open(loop.path().c_str(), O_RDONLY | O_CLOEXEC), loop.path());
  ASSERT_TRUE(adopted.ok());
  EXPECT_TRUE((*adopted)->block_device());
  EXPECT_EQ((*adopted)->device(), (*file)->device());
  EXPECT_EQ((*adopted)->inode(), (*file)->inode());
}

TEST_F(FileTest, BlockDeviceIsOneWhateverNodeLeadsToIt) {
  LoopDevice loop(scratch_.MakeFile("backing", PatternBytes(9, 1 << 20)));
  if (!loop.works()) GTEST_SKIP() << loop.why_not();
  auto file = File::Open(loop.path());
  ASSERT_TRUE(file.ok()) << file.status();
  const std::string node = scratch_.File("node");
  if (mknod(node.c_str(), S_IFBLK | 0600, (*file)->device()) != 0 ||
      !File::Open(node, {.read_only = true}).ok()) {
    GTEST_SKIP() << "no device nodes in " << scratch_.path() << ": " << std::strerror(errno);
  }
  const File::OpenOptions at_once = {.lock_timeout = absl::ZeroDuration()};
  const auto refused = File::Open(node, at_once);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
  EXPECT_THAT(refused.status().message(), HasSubstr("mounted, or open for writing already"));
  EXPECT_TRUE(File::Open(node, {.locking = File::Locking::kCaller}).ok());
  file->reset();
  EXPECT_TRUE(File::Open(node, at_once).ok());
  // As a file system has it that is mounted.
  const int claim = open(loop.path().c_str(), O_RDWR | O_EXCL | O_CLOEXEC);
  ASSERT_GE(claim, 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(File::Open(node, at_once).status()));
  EXPECT_TRUE(File::Open(node, {.read_only = true}).ok());
  close(claim);
  EXPECT_TRUE(File::Open(node, {.create = true, .lock_timeout = absl::ZeroDuration()}).ok());
}

TEST_F(FileTest, BlockDeviceIsWaitedForAsLongAsTheCallerSays) {
  LoopDevice loop(scratch_.MakeFile("backing", PatternBytes(9, 1 << 20)));
  if (!loop.works()) GTEST_SKIP() << loop.why_not();
  ManualEnvironment environment;
  const auto first = File::Open(loop.path());
  ASSERT_TRUE(first.ok()) << first.status();
  const int64_t start_ns = environment.NowNs();
  const auto refused =
      File::Open(loop.path(), {.lock_timeout = absl::Minutes(1), .environment = &environment});
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
  EXPECT_EQ(environment.NowNs() - start_ns, absl::ToInt64Nanoseconds(absl::Minutes(1)));
}

TEST_F(FileTest, BlockDeviceTellsTheAlignmentOfItsBlocks) {
  for (const uint32_t block_bytes : {512u, 4096u}) {
    LoopDevice loop(scratch_.MakeFile("backing", PatternBytes(6, 1 << 20)), block_bytes);
    if (!loop.works()) GTEST_SKIP() << loop.why_not();
    const auto file = File::Open(loop.path(), {.direct = File::DirectIo::kRequire});
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE((*file)->direct());
    EXPECT_EQ((*file)->alignment().offset_bytes % block_bytes, 0u);
  }
}

TEST_F(FileTest, DiscardOfABlockDevice) {
  constexpr size_t kCapacity = 1 << 20;
  const std::string bytes = PatternBytes(7, kCapacity);
  const std::string backing = scratch_.MakeFile("backing", bytes);
  LoopDevice loop(backing);
  if (!loop.works()) GTEST_SKIP() << loop.why_not();
  const auto file = File::Open(loop.path());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(absl::IsOutOfRange((*file)->Discard(0, kCapacity + 512)));
  EXPECT_TRUE(absl::IsOutOfRange((*file)->Discard(kCapacity, 512)));
  EXPECT_TRUE(absl::IsInvalidArgument((*file)->Discard(0, 0)));
  const absl::Status status = (*file)->Discard(kCapacity / 4, kCapacity / 2);
  if (absl::IsUnimplemented(status)) GTEST_SKIP() << status;
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(absl::IsInvalidArgument((*file)->Discard(1, 512)));
  EXPECT_TRUE((*file)->Sync().ok());
  EXPECT_EQ(*(*file)->SizeBytes(), kCapacity);
  // This device gives the space back to the file below.
  std::string expected = bytes;
  expected.replace(kCapacity / 4, kCapacity / 2, kCapacity / 2, '\0');
  EXPECT_TRUE(ReadWholeFile(backing) == expected);
}

}  // namespace
}  // namespace fixpool::io
