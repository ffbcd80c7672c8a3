#include "tests/simulation/sim_file.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"

namespace fixpool::simulation {

SimFile::SimFile(SimFileImage* image, Options options, SimRandom* random, SimCounts* counts)
    : io::File({.path = absl::StrCat("simulated-", image->number()),
                .device = 1,
                .inode = image->number() + 1,
                .alignment = {.memory_bytes = kSectorBytes, .offset_bytes = kSectorBytes},
                .read_only = options.read_only}),
      image_(image),
      options_(options),
      random_(random),
      counts_(counts) {}

absl::StatusOr<uint64_t> SimFile::SizeBytes() const {
  if (random_->Chance(options_.error)) {
    counts_->Add(Fault::kSizeUnknown);
    return io::ErrnoStatus(EIO, "simulated fstat");
  }
  return image_->size_bytes();
}

absl::Status SimFile::Preallocate(uint64_t offset_bytes, uint64_t length_bytes) {
  const uint64_t end_bytes = offset_bytes + length_bytes;
  if (random_->Chance(options_.error) || end_bytes > image_->most_bytes()) {
    counts_->Add(Fault::kPreallocateError);
    return io::ErrnoStatus(ENOSPC, "simulated fallocate");
  }
  image_->Resize(std::max(image_->size_bytes(), end_bytes));
  return absl::OkStatus();
}

absl::Status SimFile::Discard(uint64_t offset_bytes, uint64_t length_bytes) {
  const uint64_t end_bytes = std::min(offset_bytes + length_bytes, image_->size_bytes());
  if (offset_bytes >= end_bytes) return absl::OkStatus();
  const std::vector<std::byte> zeros(end_bytes - offset_bytes);
  image_->Write(offset_bytes, zeros.data(), zeros.size());
  return absl::OkStatus();
}

absl::Status SimFile::Truncate(uint64_t size_bytes) {
  image_->Resize(size_bytes);
  return absl::OkStatus();
}

absl::Status SimFile::Sync() {
  image_->BeginSync();
  image_->EndSync(/*ok=*/true);
  return absl::OkStatus();
}

}  // namespace fixpool::simulation
