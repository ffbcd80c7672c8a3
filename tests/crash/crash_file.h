#ifndef FIXPOOL_TESTS_CRASH_CRASH_FILE_H_
#define FIXPOOL_TESTS_CRASH_CRASH_FILE_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "tests/crash/dice.h"

namespace fixpool::tests {

// A file of which there are two images: what is read, in memory, and what a crash leaves, in a
// file of the host's.
//
//   CrashFile file(7, descriptor);         // begins as the host's file is
//   file.Write(0, bytes);                  // in memory
//   file.Sync(dice);                       // and now in the host's file
//   file.PersistSome(dice);                // or some sectors of it, unasked, as disks do
//   file.FailSync(dice);                   // or some, and the rest is forgotten
//
// Shape: a sector of 512 bytes becomes durable as a whole or not at all; sectors do so in any
// order. A sector that is written as it was before stays as durable as it was. The size becomes
// durable with the sectors, a shortening before all that was written after it.
// Ownership: closes the descriptor. Thread-compatible.
// Errors: a host that does not take the bytes ends the process: the test would prove nothing.
// Source: what Linux does after a failed fsync: Rebello et al., "Can Applications Recover from
// fsync Failures?", USENIX ATC 2020.
class CrashFile {
 public:
  static constexpr size_t kSectorBytes = 512;

  // Takes over `descriptor`. `inode` is not 0.
  CrashFile(uint64_t inode, int descriptor);
  ~CrashFile();
  CrashFile(const CrashFile&) = delete;
  CrashFile& operator=(const CrashFile&) = delete;

  uint64_t inode() const { return inode_; }
  uint64_t size_bytes() const { return volatile_.size(); }
  size_t unsynced_sectors() const { return unsynced_.size(); }

  // As many bytes as there are before the end.
  size_t Read(uint64_t offset, std::span<char> bytes) const;
  void Write(uint64_t offset, std::span<const char> bytes);
  void Truncate(uint64_t size_bytes);
  // Zeros in place of what is there, as far as the file goes.
  void Clear(uint64_t offset, uint64_t length);

  void Sync(Dice& dice);
  // Makes a random choice of what is unsynced durable. Returns how many sectors.
  size_t PersistSome(Dice& dice);
  // A sync that fails: a random choice becomes durable, the rest counts as clean and never will be,
  // unless it is written again. It reads as it was written up to the next sync, which succeeds, and
  // some of it as on disk from then on: the kernel has dropped the pages. (Not before: who reads
  // while the error is on its way to him could do nothing about it.) Returns how many sectors were
  // forgotten.
  size_t FailSync(Dice& dice);

 private:
  std::span<char> SectorAt(uint64_t sector);
  void PersistShrinking();
  void ForgetSome(Dice& dice);
  void PersistSector(uint64_t sector);

  const uint64_t inode_;
  const int descriptor_;
  std::vector<char> volatile_;
  std::set<uint64_t> unsynced_;  // sectors in which the images may differ ...
  std::set<uint64_t> dropped_;   // ... and those that a failed sync has left so
  uint64_t durable_bytes_;       // of the host's file
  uint64_t shrunk_to_;           // the smallest size since the last sync
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_CRASH_FILE_H_
