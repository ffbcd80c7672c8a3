#include "tests/crash/work_directory.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"

namespace fixpool::tests {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "fixpool-crash.";

// No harm if it may not: then the mount is taken away by name.
void EnterOwnMountNamespace() {
  static const bool entered = [] {
    if (unshare(CLONE_NEWNS) != 0) return false;
    return mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }();
  static_cast<void>(entered);
}

bool Umount(const std::string& mount_point, bool lazily) {
  if (umount2(mount_point.c_str(), lazily ? MNT_DETACH : 0) == 0) return true;
  if (errno != EPERM) return false;
  // Not root: the program that mounted it may.
  const pid_t pid = fork();
  if (pid == 0) {
    execlp("fusermount3", "fusermount3", lazily ? "-quz" : "-qu", mount_point.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Whether nothing is mounted in it: what is in a mounted file system is not ours to remove. One
// whose daemon is dead answers nothing but errors.
bool NothingMounted(const std::string& path) {
  struct stat above {};
  struct stat here {};
  if (stat((path + "/mount").c_str(), &here) != 0) return errno == ENOENT;
  return stat(path.c_str(), &above) == 0 && here.st_dev == above.st_dev;
}

void RemoveDirectory(const std::string& path) {
  while (!NothingMounted(path)) {
    if (!Umount(path + "/mount", /*lazily=*/true)) return;
  }
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

// The lock of the directory, or -1: somebody has it.
int Lock(const std::string& path) {
  const int lock = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) == 0) return lock;
  close(lock);
  return -1;
}

void RemoveLeftovers(const std::string& parent) {
  std::error_code error;
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(parent, error)) {
    if (entry.path().filename().string().rfind(kPrefix, 0) == 0) found.push_back(entry.path());
  }
  for (const std::string& path : found) {
    const int lock = Lock(path);
    if (lock < 0) continue;
    RemoveDirectory(path);
    close(lock);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<WorkDirectory>> WorkDirectory::Create(const std::string& parent) {
  EnterOwnMountNamespace();
  RemoveLeftovers(parent);
  std::string path = absl::StrCat(parent, "/", kPrefix, "XXXXXX");
  if (mkdtemp(path.data()) == nullptr) return io::ErrnoStatus(errno, path);
  const int lock = Lock(path);
  if (lock < 0) return absl::UnavailableError(absl::StrCat(path, " was taken away"));
  std::unique_ptr<WorkDirectory> directory(new WorkDirectory(path, lock));
  if (absl::StatusOr<std::string> made = directory->Empty("mount"); !made.ok()) {
    return made.status();
  }
  return directory;
}

WorkDirectory::~WorkDirectory() {
  RemoveDirectory(path_);
  close(lock_);
}

absl::StatusOr<std::string> WorkDirectory::Empty(const std::string& name) const {
  const std::string path = absl::StrCat(path_, "/", name);
  std::error_code error;
  fs::remove_all(path, error);
  if (!error) fs::create_directory(path, error);
  if (error) return absl::UnavailableError(absl::StrCat(path, ": ", error.message()));
  return path;
}

void WorkDirectory::Detach() const { Umount(mount_point(), /*lazily=*/true); }

bool WorkDirectory::Unmount() const { return Umount(mount_point(), /*lazily=*/false); }

}  // namespace fixpool::tests
