#ifndef FIXPOOL_TESTS_SIMULATION_RECOVERY_MODEL_H_
#define FIXPOOL_TESTS_SIMULATION_RECOVERY_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "fixpool/storage/lsn.h"
#include "tests/simulation/page_pattern.h"
#include "tests/simulation/sim_disk.h"
#include "tests/simulation/verdict.h"

namespace fixpool::simulation {

// What a database with a write-ahead log could bring back after a crash: each record says what a
// sector has held since.
//
//   recovery.Note(file, page, sector, log.Append(), tag);
//   recovery.CheckOldest(cache.OldestDirtyLsn());      // at any time
//   recovery.TakeCheckpoint(lsn);                      // redo would begin there
//   recovery.CheckRedo(log.durable());                 // after a crash
//   recovery.Restart();
//
// Redo is that of sectors, so a page that a crash has torn is no matter here. Thread-compatible.
class RecoveryModel {
 public:
  RecoveryModel(uint64_t most_pages, SimDisk* disk, Verdict* verdict)
      : most_pages_(most_pages),
        disk_(disk),
        verdict_(verdict),
        sectors_(disk->file_count() * most_pages * kSectors) {}

  void Note(size_t file, uint64_t page, size_t sector, storage::Lsn lsn, Tag tag);
  void NoteZeros(size_t file, uint64_t page, storage::Lsn lsn) {
    for (size_t sector = 0; sector < kSectors; ++sector) Note(file, page, sector, lsn, 0);
  }
  // Changes of the page were given up by who made them, or damaged by the disk: nobody wants them
  // back.
  void Forget(size_t file, uint64_t page);

  // No record from `oldest` on (none: no record at all) is wanted for what the disk has not for
  // ever.
  void CheckOldest(std::optional<storage::Lsn> oldest);
  // Redo begins there from now on.
  void TakeCheckpoint(storage::Lsn from) { redo_from_ = ToInt(from); }
  // Of the records up to `durable` those since the last checkpoint bring back what all of them
  // tell; and the disk has nothing that later ones tell.
  void CheckRedo(storage::Lsn durable);
  // What the disk holds is where the next log begins.
  void Restart();

 private:
  struct Sector {
    uint64_t lsn = 0;  // of the newest record; 0: none that anybody wants
    Tag tag = 0;       // what it says
    uint64_t forgotten = 0;
    bool pending = false;
  };
  struct Record {
    uint64_t lsn;
    size_t sector;
    Tag tag;
  };

  Tag DurableTag(size_t sector) const;

  const uint64_t most_pages_;
  SimDisk* const disk_;
  Verdict* const verdict_;
  std::vector<Sector> sectors_;
  std::vector<size_t> pending_;  // that the disk may not have
  std::vector<Record> log_;
  uint64_t last_lsn_ = 0;
  uint64_t redo_from_ = 0;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_RECOVERY_MODEL_H_
