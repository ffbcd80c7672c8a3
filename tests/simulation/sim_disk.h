#ifndef FIXPOOL_TESTS_SIMULATION_SIM_DISK_H_
#define FIXPOOL_TESTS_SIMULATION_SIM_DISK_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "tests/simulation/page_pattern.h"
#include "tests/simulation/sim_counts.h"
#include "tests/simulation/sim_random.h"

namespace fixpool::simulation {

// One file of a SimDisk: what reads see now, and what there would be after a crash.
//
// Shape: sectors of 512 bytes, up to `most_pages` pages; sizes are whole sectors. A sector that was
// written and not synced may reach the durable image at any moment, or never, and each by itself,
// as with any disk. Source of what a failed sync does: fsync(2), and "Can Applications Recover from
// fsync Failures?" (Rebello et al., USENIX ATC 2020): the sectors are taken for clean, and the
// next sync says OK without writing them.
class SimFileImage {
 public:
  SimFileImage(uint32_t number, uint64_t most_pages, SimRandom* random, SimCounts* counts);

  uint32_t number() const { return number_; }
  // Whether its pages can tell what they are.
  bool sealed() const { return sealed_; }
  // Whether a failed sync has forgotten some of the page.
  bool forgot(uint64_t page) const { return forgot_[page]; }
  bool forgot_any() const {
    return std::find(forgot_.begin(), forgot_.end(), true) != forgot_.end();
  }
  void set_sealed(bool sealed) { sealed_ = sealed; }
  uint64_t size_bytes() const { return size_bytes_; }
  uint64_t durable_size_bytes() const { return durable_size_bytes_; }
  uint64_t most_bytes() const { return now_.size(); }
  // Sector number `sector` of page number `page`.
  const std::byte* Now(uint64_t page, size_t sector = 0) const;
  const std::byte* Durable(uint64_t page, size_t sector = 0) const;

  // As a process that writes and does not sync. Whole sectors, within most_bytes() (CHECKed).
  void Write(uint64_t offset_bytes, const std::byte* data, size_t length_bytes);
  void Resize(uint64_t size_bytes);
  // Everything is durable as it is.
  void Settle();

  // A sync has begun: what was written before, it is about.
  void BeginSync() { sync_mark_ = last_write_; }
  void EndSync(bool ok);

  // The machine stops and comes back.
  void Crash();

 private:
  void MakeDurable(size_t sector);
  bool torn(uint64_t page) const;

  const uint32_t number_;
  bool sealed_ = false;
  SimRandom* const random_;
  SimCounts* const counts_;
  std::vector<std::byte> now_;
  std::vector<std::byte> durable_;
  std::vector<uint64_t> unsynced_;  // by sector: the write that no sync has covered; 0: none
  std::vector<bool> forgot_;        // by page
  uint64_t size_bytes_ = 0;
  uint64_t durable_size_bytes_ = 0;
  uint64_t last_write_ = 0;
  uint64_t sync_mark_ = 0;  // of the sync that is in flight, or 0
};

// The disk of a simulated machine: what is left when its memory is gone.
class SimDisk {
 public:
  SimDisk(uint32_t files, uint64_t most_pages, SimRandom* random, SimCounts* counts) {
    for (uint32_t i = 0; i < files; ++i) files_.emplace_back(i, most_pages, random, counts);
  }
  // Of each file, one beside it.
  void AddAreas(uint64_t most_pages, SimRandom* random, SimCounts* counts) {
    const auto files = static_cast<uint32_t>(files_.size());
    for (uint32_t i = 0; i < files; ++i) {
      areas_.emplace_back(files + i, most_pages, random, counts);
    }
  }
  SimFileImage& area(size_t number) { return areas_[number]; }
  SimFileImage& file(size_t number) { return files_[number]; }
  size_t file_count() const { return files_.size(); }
  void Crash() {
    for (SimFileImage& file : files_) file.Crash();
    for (SimFileImage& area : areas_) area.Crash();
  }

 private:
  std::deque<SimFileImage> files_;
  std::deque<SimFileImage> areas_;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_SIM_DISK_H_
