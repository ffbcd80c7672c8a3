#ifndef FIXPOOL_TESTS_SUPPORT_XFS_H_
#define FIXPOOL_TESTS_SUPPORT_XFS_H_

#include <memory>
#include <string>

#include "tests/support/loop_device.h"

namespace fixpool::tests {

// An XFS of the test's own, which has atomic writes on any device (Linux 6.16), on a loop device
// over a file in `directory`. Mounted where nobody but this thread, and those that it starts
// afterwards, can see it; so it goes with them, however they end.
//
//   Xfs xfs(scratch.path());
//   if (!xfs.works()) GTEST_SKIP() << xfs.why_not();
//   io::File::Open(xfs.path() + "/data.db", {.create = true});
//
// Needs root and mkfs.xfs (xfsprogs). Thread-compatible.
class Xfs {
 public:
  explicit Xfs(const std::string& directory);
  ~Xfs();
  Xfs(const Xfs&) = delete;
  Xfs& operator=(const Xfs&) = delete;

  bool works() const { return why_not_.empty(); }
  const std::string& why_not() const { return why_not_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::string why_not_;
  std::unique_ptr<LoopDevice> device_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_XFS_H_
