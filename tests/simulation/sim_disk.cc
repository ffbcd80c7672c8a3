#include "tests/simulation/sim_disk.h"

#include <algorithm>
#include <cstring>

#include "fixpool/io/check.h"

namespace fixpool::simulation {

SimFileImage::SimFileImage(uint32_t number, uint64_t most_pages, SimRandom* random,
                           SimCounts* counts)
    : number_(number),
      random_(random),
      counts_(counts),
      now_(most_pages * kPageBytes),
      durable_(most_pages * kPageBytes),
      unsynced_(most_pages * kSectors),
      forgot_(most_pages) {}

const std::byte* SimFileImage::Now(uint64_t page, size_t sector) const {
  return now_.data() + page * kPageBytes + sector * kSectorBytes;
}

const std::byte* SimFileImage::Durable(uint64_t page, size_t sector) const {
  return durable_.data() + page * kPageBytes + sector * kSectorBytes;
}

void SimFileImage::MakeDurable(size_t sector) {
  std::memcpy(durable_.data() + sector * kSectorBytes, now_.data() + sector * kSectorBytes,
              kSectorBytes);
}

void SimFileImage::Write(uint64_t offset_bytes, const std::byte* data, size_t length_bytes) {
  FIXPOOL_CHECK(offset_bytes % kSectorBytes == 0 && length_bytes % kSectorBytes == 0 &&
                    offset_bytes + length_bytes <= now_.size(),
                "a write that a SimFileImage cannot take");
  ++last_write_;
  const size_t first = offset_bytes / kSectorBytes;
  for (size_t i = 0; i < length_bytes / kSectorBytes; ++i) {
    const size_t sector = first + i;
    // What is about to be replaced may have reached the disk; and has, where a sync is under way
    // that is about it, since that is not about what comes now.
    const bool covered = sync_mark_ != 0 && unsynced_[sector] <= sync_mark_;
    if (unsynced_[sector] != 0 && (covered || random_->Chance(300))) MakeDurable(sector);
    unsynced_[sector] = last_write_;
    std::memcpy(now_.data() + sector * kSectorBytes, data + i * kSectorBytes, kSectorBytes);
  }
  size_bytes_ = std::max(size_bytes_, offset_bytes + length_bytes);
}

void SimFileImage::Resize(uint64_t size_bytes) {
  FIXPOOL_CHECK(size_bytes % kSectorBytes == 0 && size_bytes <= now_.size(),
                "a size that a SimFileImage cannot have");
  if (size_bytes < size_bytes_) {
    std::memset(now_.data() + size_bytes, 0, size_bytes_ - size_bytes);
    ++last_write_;
    for (uint64_t at = size_bytes; at < size_bytes_; at += kSectorBytes) {
      unsynced_[at / kSectorBytes] = last_write_;
    }
  }
  size_bytes_ = size_bytes;
}

void SimFileImage::Settle() {
  durable_ = now_;
  durable_size_bytes_ = size_bytes_;
  std::fill(unsynced_.begin(), unsynced_.end(), 0);
}

void SimFileImage::EndSync(bool ok) {
  for (size_t sector = 0; sector < unsynced_.size(); ++sector) {
    if (unsynced_[sector] == 0 || unsynced_[sector] > sync_mark_) continue;
    unsynced_[sector] = 0;
    if (ok || random_->Chance(500)) {
      MakeDurable(sector);
    } else {
      counts_->Add(Fault::kSyncForgot);
      forgot_[sector / kSectors] = true;
    }
  }
  if (ok) durable_size_bytes_ = size_bytes_;
  sync_mark_ = 0;
}

bool SimFileImage::torn(uint64_t page) const {
  size_t lost = 0;
  size_t unsynced = 0;
  for (size_t i = page * kSectors; i < (page + 1) * kSectors; ++i) {
    if (unsynced_[i] == 0) continue;
    ++unsynced;
    if (std::memcmp(now_.data() + i * kSectorBytes, durable_.data() + i * kSectorBytes,
                    kSectorBytes) != 0) {
      ++lost;
    }
  }
  return lost > 0 && lost < unsynced;
}

void SimFileImage::Crash() {
  // Some lose everything that was not synced, some nothing, and some this and that.
  constexpr uint32_t kSurvival[] = {0, 500, 500, 850, 1000};
  const uint32_t survival = kSurvival[random_->Below(std::size(kSurvival))];
  for (size_t sector = 0; sector < unsynced_.size(); ++sector) {
    if (unsynced_[sector] == 0) continue;
    const bool survives = random_->Chance(survival);
    if (survives) MakeDurable(sector);
    counts_->Add(survives ? Fault::kSectorSurvived : Fault::kSectorVanished);
  }
  for (uint64_t page = 0; page < now_.size() / kPageBytes; ++page) {
    if (torn(page)) counts_->Add(Fault::kPageTorn);
  }
  if (size_bytes_ > durable_size_bytes_) {
    const uint64_t sectors = (size_bytes_ - durable_size_bytes_) / kSectorBytes;
    const uint64_t kept = survival == 1000 ? sectors : random_->Below(sectors + 1);
    if (kept < sectors) counts_->Add(Fault::kSizeLost);
    durable_size_bytes_ += kept * kSectorBytes;
  } else {
    durable_size_bytes_ = size_bytes_;
  }
  std::memset(durable_.data() + durable_size_bytes_, 0, durable_.size() - durable_size_bytes_);
  now_ = durable_;
  size_bytes_ = durable_size_bytes_;
  std::fill(unsynced_.begin(), unsynced_.end(), 0);
  sync_mark_ = 0;
}

}  // namespace fixpool::simulation
