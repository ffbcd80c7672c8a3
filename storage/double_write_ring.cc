#include "fixpool/storage/double_write_ring.h"

#include <algorithm>

#include "fixpool/io/check.h"

namespace fixpool::storage {

bool DoubleWriteRing::AnyFailed(absl::Span<const PageNumber> pages) const {
  for (const Batch& batch : batches_) {
    for (const PageNumber failed : batch.failed) {
      if (std::find(pages.begin(), pages.end(), failed) != pages.end()) return true;
    }
  }
  return false;
}

const DoubleWriteRing::Batch* DoubleWriteRing::Overlapping(uint64_t begin_pages,
                                                           uint64_t end_pages) const {
  for (const Batch& batch : batches_) {
    if (batch.taken && batch.begin_pages < end_pages && begin_pages < batch.end_pages) {
      return &batch;
    }
  }
  return nullptr;
}

std::optional<uint64_t> DoubleWriteRing::FindPlace(uint64_t length_pages) const {
  uint64_t begin = next_position_pages_;
  for (bool wrapped = false;;) {
    if (begin + length_pages > options_.capacity_pages) {
      if (wrapped) break;
      wrapped = true;
      begin = 0;
      continue;
    }
    const Batch* const in_the_way = Overlapping(begin, begin + length_pages);
    if (in_the_way == nullptr) return begin;
    begin = in_the_way->end_pages;
  }
  if (!options_.may_grow || FreedBySync() || awaits_writes()) return std::nullopt;
  uint64_t end = options_.capacity_pages;
  for (const Batch& batch : batches_) {
    if (batch.taken) end = std::max(end, batch.end_pages);
  }
  return end;
}

std::optional<DoubleWriteRing::Place> DoubleWriteRing::Reserve(absl::Span<const PageNumber> pages) {
  Batch* free = nullptr;
  uint32_t free_count = 0;
  for (Batch& batch : batches_) {
    if (batch.taken) continue;
    free = &batch;
    ++free_count;
  }
  if (free_count == 0 || (free_count == 1 && !AnyFailed(pages))) return std::nullopt;
  const uint64_t length_pages = 1 + pages.size();
  const std::optional<uint64_t> begin = FindPlace(length_pages);
  if (!begin.has_value()) return std::nullopt;
  *free = Batch();
  free->taken = true;
  free->sequence = next_sequence_++;
  free->begin_pages = *begin;
  free->end_pages = *begin + length_pages;
  next_position_pages_ = free->end_pages;
  return Place{.slot = static_cast<uint32_t>(free - batches_.data()),
               .sequence = free->sequence,
               .position_pages = *begin};
}

void DoubleWriteRing::Abandon(uint32_t slot) {
  FIXPOOL_CHECK(batches_[slot].taken && !batches_[slot].covered, "a batch in use is abandoned");
  batches_[slot] = Batch();
}

void DoubleWriteRing::Cover(uint32_t slot, absl::Span<const PageNumber> pages, uint32_t writes) {
  for (Batch& batch : batches_) {
    if (batch.failed.empty()) continue;
    batch.failed.erase(std::remove_if(batch.failed.begin(), batch.failed.end(),
                                      [pages](PageNumber failed) {
                                        return std::find(pages.begin(), pages.end(), failed) !=
                                               pages.end();
                                      }),
                       batch.failed.end());
    ReleaseIfDone(batch);
  }
  batches_[slot].covered = true;
  batches_[slot].writes = writes;
}

void DoubleWriteRing::EndWrite(uint32_t slot, PageNumber first, uint32_t count, bool ok) {
  Batch& batch = batches_[slot];
  FIXPOOL_CHECK(batch.covered && batch.writes > 0, "a write of a batch ends twice");
  --batch.writes;
  for (uint32_t i = 0; !ok && i < count; ++i) batch.failed.push_back(first + i);
}

void DoubleWriteRing::BeginSync() {
  for (Batch& batch : batches_) batch.in_sync = batch.taken && settled(batch);
}

void DoubleWriteRing::EndSync(bool ok) {
  for (Batch& batch : batches_) {
    if (!batch.in_sync) continue;
    batch.in_sync = false;
    batch.synced = batch.synced || ok;
    ReleaseIfDone(batch);
  }
}

void DoubleWriteRing::ReleaseIfDone(Batch& batch) {
  if (batch.taken && settled(batch) && batch.synced && batch.failed.empty()) batch = Batch();
}

bool DoubleWriteRing::FreedBySync() const {
  return std::any_of(batches_.begin(), batches_.end(), [this](const Batch& batch) {
    return batch.taken && settled(batch) && !batch.synced;
  });
}

bool DoubleWriteRing::awaits_writes() const {
  return std::any_of(batches_.begin(), batches_.end(),
                     [](const Batch& batch) { return batch.taken && batch.writes > 0; });
}

bool DoubleWriteRing::empty() const {
  return std::none_of(batches_.begin(), batches_.end(),
                      [](const Batch& batch) { return batch.taken; });
}

void DoubleWriteRing::NeededBeside(uint32_t slot, std::vector<uint64_t>& sequences) const {
  sequences.clear();
  for (const Batch& batch : batches_) {
    if (batch.taken && &batch != &batches_[slot]) sequences.push_back(batch.sequence);
  }
}

}  // namespace fixpool::storage
