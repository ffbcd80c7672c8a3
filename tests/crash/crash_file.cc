#include "tests/crash/crash_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace fixpool::tests {
namespace {

void EndUnless(bool well, const char* what) {
  if (well) return;
  std::perror(what);
  std::abort();
}

}  // namespace

CrashFile::CrashFile(uint64_t inode, int descriptor) : inode_(inode), descriptor_(descriptor) {
  struct stat status {};
  EndUnless(fstat(descriptor, &status) == 0, "fstat of the durable image");
  volatile_.resize(static_cast<size_t>(status.st_size));
  durable_bytes_ = shrunk_to_ = volatile_.size();
  const ssize_t got = pread(descriptor, volatile_.data(), volatile_.size(), 0);
  EndUnless(got == static_cast<ssize_t>(volatile_.size()), "reading the durable image");
}

CrashFile::~CrashFile() { close(descriptor_); }

std::span<char> CrashFile::SectorAt(uint64_t sector) {
  const uint64_t begin = std::min<uint64_t>(sector * kSectorBytes, volatile_.size());
  const uint64_t end = std::min<uint64_t>(begin + kSectorBytes, volatile_.size());
  return std::span(volatile_).subspan(begin, end - begin);
}

size_t CrashFile::Read(uint64_t offset, std::span<char> bytes) const {
  if (offset >= volatile_.size()) return 0;
  const size_t length = std::min<uint64_t>(bytes.size(), volatile_.size() - offset);
  std::memcpy(bytes.data(), volatile_.data() + offset, length);
  return length;
}

void CrashFile::Write(uint64_t offset, std::span<const char> bytes) {
  if (bytes.empty()) return;
  const uint64_t end = offset + bytes.size();
  const uint64_t old_size = volatile_.size();
  if (end > old_size) volatile_.resize(end);
  for (uint64_t at = offset; at < end;) {
    const uint64_t sector = at / kSectorBytes;
    const uint64_t stop = std::min((sector + 1) * kSectorBytes, end);
    char* const here = volatile_.data() + at;
    const char* const from = bytes.data() + (at - offset);
    const bool dropped = dropped_.erase(sector) > 0;
    if (dropped || stop > old_size || std::memcmp(here, from, stop - at) != 0) {
      std::memcpy(here, from, stop - at);
      unsynced_.insert(sector);
    }
    at = stop;
  }
}

void CrashFile::Truncate(uint64_t size_bytes) {
  shrunk_to_ = std::min(shrunk_to_, size_bytes);
  volatile_.resize(size_bytes);
  const uint64_t sectors = (size_bytes + kSectorBytes - 1) / kSectorBytes;
  unsynced_.erase(unsynced_.lower_bound(sectors), unsynced_.end());
  dropped_.erase(dropped_.lower_bound(sectors), dropped_.end());
}

void CrashFile::Clear(uint64_t offset, uint64_t length) {
  if (offset >= volatile_.size()) return;
  Write(offset, std::vector<char>(std::min<uint64_t>(length, volatile_.size() - offset)));
}

void CrashFile::PersistShrinking() {
  if (shrunk_to_ < durable_bytes_) {
    EndUnless(ftruncate(descriptor_, static_cast<off_t>(shrunk_to_)) == 0, "ftruncate");
    durable_bytes_ = shrunk_to_;
  }
  shrunk_to_ = volatile_.size();
}

void CrashFile::PersistSector(uint64_t sector) {
  const std::span<char> bytes = SectorAt(sector);
  const uint64_t offset = sector * kSectorBytes;
  const ssize_t put = pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
  EndUnless(put == static_cast<ssize_t>(bytes.size()), "writing the durable image");
  durable_bytes_ = std::max(durable_bytes_, offset + bytes.size());
}

void CrashFile::Sync(Dice& dice) {
  ForgetSome(dice);
  PersistShrinking();
  for (const uint64_t sector : unsynced_) PersistSector(sector);
  unsynced_.clear();
  if (durable_bytes_ == volatile_.size()) return;
  durable_bytes_ = volatile_.size();
  EndUnless(ftruncate(descriptor_, static_cast<off_t>(durable_bytes_)) == 0, "ftruncate");
}

size_t CrashFile::PersistSome(Dice& dice) {
  PersistShrinking();
  size_t persisted = 0;
  for (auto it = unsynced_.begin(); it != unsynced_.end();) {
    if (!dice.Chance(0.4)) {
      ++it;
      continue;
    }
    PersistSector(*it);
    it = unsynced_.erase(it);
    ++persisted;
  }
  return persisted;
}

size_t CrashFile::FailSync(Dice& dice) {
  PersistSome(dice);
  const size_t forgotten = unsynced_.size();
  dropped_.merge(unsynced_);
  unsynced_.clear();
  return forgotten;
}

void CrashFile::ForgetSome(Dice& dice) {
  for (auto it = dropped_.begin(); it != dropped_.end();) {
    if (dice.Chance(0.5)) {
      ++it;
      continue;
    }
    const std::span<char> bytes = SectorAt(*it);
    std::memset(bytes.data(), 0, bytes.size());
    // What lies past the durable end stays zeros.
    EndUnless(
        pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(*it * kSectorBytes)) >= 0,
        "reading the durable image");
    it = dropped_.erase(it);
  }
}

}  // namespace fixpool::tests
