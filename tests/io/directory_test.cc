#include "fixpool/io/directory.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "fixpool/io/error.h"
#include "fixpool/io/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/child_process.h"
#include "tests/support/scratch.h"

namespace fixpool::io {
namespace {

using ::fixpool::tests::DropPrivileges;
using ::fixpool::tests::ForbidSystemCall;
using ::fixpool::tests::ReadWholeFile;
using ::fixpool::tests::ScratchDirectory;
using ::testing::HasSubstr;

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

class DirectoryTest : public ::testing::Test {
 protected:
  // A directory in the scratch one that everybody may do with what `mode` says.
  std::string MakeDirectory(const std::string& name, mode_t mode = 0777) const {
    const std::string path = scratch_.File(name);
    EXPECT_EQ(mkdir(path.c_str(), 0777), 0) << std::strerror(errno);
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    return path;
  }

  ScratchDirectory scratch_;
};

// ---- Renaming ----

TEST_F(DirectoryTest, RenamedFileHasTheNewNameAlone) {
  const std::string from = scratch_.MakeFile("from", "contents");
  const std::string to = scratch_.File("to");
  ASSERT_TRUE(RenameFile(from, to).ok());
  EXPECT_FALSE(Exists(from));
  EXPECT_EQ(ReadWholeFile(to), "contents");
}

TEST_F(DirectoryTest, RenamedFileTakesThePlaceOfAnother) {
  const std::string to = scratch_.MakeFile("to", "old");
  ASSERT_TRUE(RenameFile(scratch_.MakeFile("from", "new"), to).ok());
  EXPECT_EQ(ReadWholeFile(to), "new");
}

TEST_F(DirectoryTest, RenamesFromDirectoryToDirectory) {
  const std::string to = MakeDirectory("there") + "/to";
  ASSERT_TRUE(RenameFile(scratch_.MakeFile("from", "contents"), to).ok());
  EXPECT_EQ(ReadWholeFile(to), "contents");
}

TEST_F(DirectoryTest, OpenFileStaysTheSameUnderAnotherName) {
  const auto file = File::Open(scratch_.MakeFile("from", "contents"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(RenameFile(scratch_.File("from"), scratch_.File("to")).ok());
  EXPECT_EQ(*(*file)->SizeBytes(), 8u);
  // Its old path does not lead to it any more, which is nothing to sync.
  EXPECT_TRUE((*file)->SyncName().ok());
}

TEST_F(DirectoryTest, RenameErrorsNameThePathsAndTheRemedy) {
  const absl::Status missing = RenameFile(scratch_.File("none"), scratch_.File("to"));
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_EQ(ErrnoOf(missing), ENOENT);
  EXPECT_THAT(missing.message(), HasSubstr(scratch_.File("none")));
  EXPECT_THAT(missing.message(), HasSubstr(scratch_.File("to")));
  EXPECT_THAT(missing.message(), HasSubstr("there is no such file"));
  const absl::Status directory =
      RenameFile(scratch_.MakeFile("from", "x"), MakeDirectory("a_directory"));
  EXPECT_TRUE(absl::IsFailedPrecondition(directory)) << directory;
  EXPECT_EQ(ErrnoOf(directory), EISDIR);
  EXPECT_TRUE(Exists(scratch_.File("from")));
}

TEST_F(DirectoryTest, RenameToAnotherFileSystemIsFailedPrecondition) {
  FIXPOOL_IN_CHILD([&]() -> std::string {
    const std::string there = MakeDirectory("there");
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", there.c_str(), "tmpfs", 0, "size=1m") != 0) {
      return std::string("cannot mount a tmpfs: ") + std::strerror(errno);
    }
    const absl::Status status = RenameFile(scratch_.MakeFile("from", "x"), there + "/to");
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_EQ(ErrnoOf(status), EXDEV);
    EXPECT_THAT(status.message(), HasSubstr("copy the file"));
    return "";
  });
}

// ---- Removing ----

TEST_F(DirectoryTest, RemovedFileIsGoneAndWhoHasItOpenKeepsIt) {
  const auto file = File::Open(scratch_.MakeFile("data", "contents"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(RemoveFile(scratch_.File("data")).ok());
  EXPECT_FALSE(Exists(scratch_.File("data")));
  EXPECT_EQ(*(*file)->SizeBytes(), 8u);
  EXPECT_TRUE((*file)->SyncName().ok());
}

TEST_F(DirectoryTest, RemoveErrorsNameThePath) {
  const absl::Status missing = RemoveFile(scratch_.File("none"));
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_THAT(missing.message(), HasSubstr(scratch_.File("none")));
  const absl::Status directory = RemoveFile(MakeDirectory("a_directory"));
  EXPECT_TRUE(absl::IsInvalidArgument(directory)) << directory;
  EXPECT_TRUE(Exists(scratch_.File("a_directory")));
}

TEST_F(DirectoryTest, WhoMayNotWriteToTheDirectoryIsDenied) {
  scratch_.MakeFile("data", "x");
  FIXPOOL_IN_CHILD([&]() -> std::string {
    if (chmod(scratch_.path().c_str(), 0755) != 0) return "chmod";
    if (chdir(scratch_.path().c_str()) != 0) return "chdir";
    if (std::string why = DropPrivileges(0); !why.empty()) return why;
    const absl::Status removed = RemoveFile("data");
    EXPECT_TRUE(absl::IsPermissionDenied(removed)) << removed;
    EXPECT_THAT(removed.message(), HasSubstr("may write to it"));
    EXPECT_TRUE(absl::IsPermissionDenied(RenameFile("data", "other")));
    return "";
  });
}

// ---- That directories are synced, and which ----

TEST_F(DirectoryTest, SyncDirectoryTellsWhatIsNone) {
  EXPECT_TRUE(SyncDirectory(scratch_.path()).ok());
  EXPECT_TRUE(SyncDirectoryOf(scratch_.path()).ok());
  EXPECT_TRUE(SyncDirectoryOf(scratch_.path() + "/").ok());
  EXPECT_TRUE(SyncDirectoryOf("/").ok());
  EXPECT_TRUE(SyncDirectoryOf("a_name").ok());  // in the working directory
  EXPECT_TRUE(absl::IsNotFound(SyncDirectory(scratch_.File("none"))));
  EXPECT_EQ(ErrnoOf(SyncDirectory(scratch_.MakeFile("data", "x"))), ENOTDIR);
}

// File::Sync is fdatasync(2), so what is refused here are syncs of directories.
TEST_F(DirectoryTest, EveryChangeOfANameSyncsItsDirectory) {
  const std::string old = scratch_.MakeFile("old", "x");
  ASSERT_EQ(symlink(scratch_.File("target").c_str(), scratch_.File("link").c_str()), 0);
  FIXPOOL_IN_CHILD([&]() -> std::string {
    if (std::string why = ForbidSystemCall(SYS_fsync, EIO); !why.empty()) return why;
    const absl::Status made = File::Open(scratch_.File("made"), {.create = true}).status();
    EXPECT_EQ(ErrnoOf(made), EIO) << made;
    EXPECT_THAT(made.message(), HasSubstr("fsync of directory " + scratch_.path()));
    EXPECT_EQ(ErrnoOf(File::Open(scratch_.File("link"), {.create = true}).status()), EIO);
    const absl::Status renamed = RenameFile(old, scratch_.File("new"));
    EXPECT_EQ(ErrnoOf(renamed), EIO) << renamed;
    EXPECT_THAT(renamed.message(), HasSubstr("was done"));
    EXPECT_TRUE(Exists(scratch_.File("new")));
    const absl::Status removed = RemoveFile(scratch_.File("new"));
    EXPECT_EQ(ErrnoOf(removed), EIO) << removed;
    EXPECT_FALSE(Exists(scratch_.File("new")));
    // What was there before has a name that was synced when it was made.
    const auto there = File::Open(scratch_.File("made"), {.create = true});
    EXPECT_TRUE(there.ok()) << there.status();
    if (there.ok()) {
      EXPECT_EQ(ErrnoOf((*there)->SyncName()), EIO);
    }
    return "";
  });
}

// The directory that cannot be opened for reading cannot be synced, and the error names it.
TEST_F(DirectoryTest, RenameSyncsBothDirectoriesAndALinkIsFollowed) {
  const std::string readable = MakeDirectory("readable"), other = MakeDirectory("other", 0333);
  for (const std::string& file : {readable + "/1", other + "/2"}) {
    close(open(file.c_str(), O_CREAT | O_WRONLY, 0666));
  }
  ASSERT_EQ(symlink((other + "/target").c_str(), (readable + "/link").c_str()), 0);
  ASSERT_EQ(chmod(scratch_.path().c_str(), 0711), 0);
  FIXPOOL_IN_CHILD([&]() -> std::string {
    if (chdir(scratch_.path().c_str()) != 0) return "chdir";
    if (std::string why = DropPrivileges(0); !why.empty()) return why;
    for (const absl::Status& status :
         {RenameFile("readable/1", "other/1"), RenameFile("other/2", "readable/2"),
          RemoveFile("other/1")}) {
      EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
      EXPECT_THAT(status.message(), HasSubstr("open of directory other"));
    }
    const absl::Status linked = File::Open("readable/link", {.create = true}).status();
    EXPECT_EQ(ErrnoOf(linked), EACCES) << linked;
    return "";
  });
}

}  // namespace
}  // namespace fixpool::io
