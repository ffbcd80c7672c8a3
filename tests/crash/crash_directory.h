#ifndef FIXPOOL_TESTS_CRASH_CRASH_DIRECTORY_H_
#define FIXPOOL_TESTS_CRASH_CRASH_DIRECTORY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "tests/crash/crash_file.h"
#include "tests/crash/dice.h"

namespace fixpool::tests {

// A directory of CrashFiles, whose entries, too, are lost in a crash unless they were synced.
//
//   CrashDirectory directory("/tmp/backing");   // as the last crash left it
//   directory.Create("data.db");
//   directory.Sync();                           // now "data.db" exists for good
//
// Shape: no directories in it. Entries become durable all at once and in the state that they are
// in, as in one transaction of a journal: by Sync alone. A file's own sync keeps its bytes and not
// its name: POSIX promises no more, though most file systems keep both. The host's directory holds
// the durable images, "inode.N", and "entries". Ownership: a file lives as long as it has a name or
// somebody has it open. Thread-compatible. Errors: as CrashFile; a host that fails ends the
// process.
class CrashDirectory {
 public:
  using Entries = std::map<std::string, std::shared_ptr<CrashFile>>;

  // Images that no durable entry names any more are removed.
  explicit CrashDirectory(const std::string& host_path);
  CrashDirectory(const CrashDirectory&) = delete;
  CrashDirectory& operator=(const CrashDirectory&) = delete;

  const Entries& entries() const { return entries_; }
  // Null: no such file.
  std::shared_ptr<CrashFile> Find(const std::string& name) const;
  // An empty file; in place of one of that name.
  std::shared_ptr<CrashFile> Create(const std::string& name);
  // In place of `to`, if there is one. False: no such file.
  bool Rename(const std::string& from, const std::string& to);
  bool Remove(const std::string& name);

  void Sync();
  // Everything, as when it is unmounted in good order.
  void SyncAll(Dice& dice);

 private:
  std::string HostPath(uint64_t inode) const;
  void RemoveOrphans() const;

  const std::string host_path_;
  Entries entries_;
  uint64_t next_inode_ = 2;  // 1 is the directory
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_CRASH_DIRECTORY_H_
