#include "tests/support/xfs.h"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

extern char** environ;

namespace fixpool::tests {
namespace {

// The least that mkfs.xfs makes. The file is sparse.
constexpr off_t kImageBytes = off_t{320} << 20;

std::string Why(const std::string& what) {
  return "no XFS to be had: " + what + ": " + std::strerror(errno);
}

// Empty: it went well.
std::string Format(const std::string& image) {
  std::string program = "mkfs.xfs";
  std::string quiet = "-q", feature = "-m", reflink = "reflink=1", path = image;
  char* arguments[] = {program.data(), quiet.data(), feature.data(),
                       reflink.data(), path.data(),  nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  const std::string before = std::string(getenv("PATH") != nullptr ? getenv("PATH") : "");
  setenv("PATH", (before + ":/usr/sbin:/sbin").c_str(), 1);
  pid_t child = 0;
  errno = posix_spawnp(&child, program.c_str(), &actions, nullptr, arguments, environ);
  setenv("PATH", before.c_str(), 1);
  posix_spawn_file_actions_destroy(&actions);
  if (errno != 0) return Why("mkfs.xfs (package xfsprogs)");
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0)
    return "no XFS to be had: mkfs.xfs failed";
  return "";
}

}  // namespace

Xfs::Xfs(const std::string& directory) : path_(directory + "/xfs") {
  const std::string image = directory + "/xfs.image";
  const int file = open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, kImageBytes) != 0) why_not_ = Why("its image");
  if (file >= 0) close(file);
  if (!works()) return;
  why_not_ = Format(image);
  if (!works()) return;
  device_ = std::make_unique<LoopDevice>(image);
  if (!device_->works()) {
    why_not_ = device_->why_not();
  } else if (unshare(CLONE_NEWNS) != 0 ||
             mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    why_not_ = Why("a mount namespace");
  } else if (mkdir(path_.c_str(), 0700) != 0 ||
             mount(device_->path().c_str(), path_.c_str(), "xfs", 0, nullptr) != 0) {
    why_not_ = Why("mount");
  }
}

Xfs::~Xfs() {
  if (works()) umount2(path_.c_str(), MNT_DETACH);
  rmdir(path_.c_str());
}

}  // namespace fixpool::tests
