#ifndef FIXPOOL_TESTS_SIMULATION_SIM_FILE_H_
#define FIXPOOL_TESTS_SIMULATION_SIM_FILE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fixpool/io/file.h"
#include "tests/simulation/sim_counts.h"
#include "tests/simulation/sim_disk.h"
#include "tests/simulation/sim_random.h"

namespace fixpool::simulation {

// One opening of a file of a SimDisk, for PageCache::OpenFile; SimEngine does its transfers.
// Outlived by the image.
class SimFile final : public io::File {
 public:
  struct Options {
    bool read_only = false;
    uint32_t error = 0;  // times in 1000 that a call fails
  };
  SimFile(SimFileImage* image, Options options, SimRandom* random, SimCounts* counts);

  SimFileImage* image() const { return image_; }

  absl::StatusOr<uint64_t> SizeBytes() const override;
  absl::Status Preallocate(uint64_t offset_bytes, uint64_t length_bytes) override;
  absl::Status Discard(uint64_t offset_bytes, uint64_t length_bytes) override;
  absl::Status Truncate(uint64_t size_bytes) override;
  absl::Status Sync() override;

 private:
  SimFileImage* const image_;
  const Options options_;
  SimRandom* const random_;
  SimCounts* const counts_;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_SIM_FILE_H_
