#ifndef FIXPOOL_TESTS_CRASH_WORK_DIRECTORY_H_
#define FIXPOOL_TESTS_CRASH_WORK_DIRECTORY_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fixpool::tests {

// A directory with a place to mount a file system at, of which nothing stays.
//
//   auto directory = WorkDirectory::Create("/tmp");   // /tmp/fixpool-crash.XXXXXX
//   Mount((*directory)->mount_point());
//   (*directory)->Unmount();                          // at the latest, at the end
//
// Where the process may, it gets a mount namespace of its own: then the mount goes with the last of
// its processes, however they end, and nobody else sees it. A directory that was left behind, by a
// process that was killed, is removed by the next who makes one in the same place; a lock
// (flock(2)) tells it from one in use.
// Thread-compatible; Create before there are other threads.
class WorkDirectory {
 public:
  static absl::StatusOr<std::unique_ptr<WorkDirectory>> Create(const std::string& parent);
  ~WorkDirectory();
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string mount_point() const { return path_ + "/mount"; }
  // An empty directory of that name in it, whatever was there.
  absl::StatusOr<std::string> Empty(const std::string& name) const;
  // Takes the mount away from its place, also while it is in use (umount -l).
  void Detach() const;
  // The same in good order. False: somebody still uses it.
  bool Unmount() const;

 private:
  WorkDirectory(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  const std::string path_;
  const int lock_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_WORK_DIRECTORY_H_
