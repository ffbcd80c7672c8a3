#ifndef FIXPOOL_TESTS_SUPPORT_FAKE_BUFFER_TABLE_H_
#define FIXPOOL_TESTS_SUPPORT_FAKE_BUFFER_TABLE_H_

#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "fixpool/io/buffer_table.h"
#include "fixpool/io/error.h"
#include "fixpool/io/memory_region.h"
#include "gtest/gtest.h"

namespace fixpool::tests {

// A ring's table in memory, which fails when told to and notices what a kernel would
// refuse: a slot set twice, or emptied twice.
//
// Called under the registry's lock alone, as BufferTable promises; a test looks while
// nobody calls.
class FakeBufferTable final : public io::BufferTable {
 public:
  absl::Status Set(uint16_t slot, const io::MemoryRegion& region) override {
    ++set_calls_;
    if (set_hook_) {
      if (absl::Status status = set_hook_(slot, region); !status.ok()) return status;
    }
    EXPECT_TRUE(regions_.emplace(slot, region).second) << "slot " << slot << " was not empty";
    return absl::OkStatus();
  }

  absl::Status Clear(uint16_t slot) override {
    ++clear_calls_;
    if (clear_hook_) {
      if (absl::Status status = clear_hook_(slot); !status.ok()) return status;
    }
    EXPECT_EQ(regions_.erase(slot), 1u) << "slot " << slot << " was empty";
    return absl::OkStatus();
  }

  int sharing_descriptor() const override { return descriptor_; }

  absl::Status Share(int descriptor, uint16_t first, uint32_t count) override {
    ++share_calls_;
    const auto source = peers_ == nullptr ? decltype(peers_->end()){} : peers_->find(descriptor);
    if (peers_ == nullptr || source == peers_->end()) {
      return absl::UnimplementedError("fake ring: cannot share");
    }
    const auto& theirs = source->second->regions_;
    for (uint32_t slot = first; slot < first + count; ++slot) {
      regions_.erase(static_cast<uint16_t>(slot));
      const auto region = theirs.find(static_cast<uint16_t>(slot));
      if (region != theirs.end()) regions_.insert(*region);
    }
    // As kernels do that have IORING_REGISTER_DST_REPLACE without its later fix.
    regions_.erase(regions_.lower_bound(static_cast<uint16_t>(first + count)), regions_.end());
    return absl::OkStatus();
  }

  void MakeProgress(io::Deadline deadline) override {
    ++progress_calls_;
    if (progress_hook_) progress_hook_(deadline);
  }

  // Every Set fails so from now on, or once `after` more have succeeded; 0: none does.
  void RefuseWith(int error_number, int after = 0) {
    refused_ = 0;
    set_hook_ = nullptr;
    if (error_number == 0) return;
    set_hook_ = [this, error_number, last = set_calls_ + after](uint16_t, const io::MemoryRegion&) {
      if (set_calls_ <= last) return absl::OkStatus();
      ++refused_;
      return io::ErrnoStatus(error_number, "fake ring");
    };
  }
  void RefuseToClear(bool refuse) {
    clear_hook_ = nullptr;
    if (!refuse) return;
    clear_hook_ = [](uint16_t) { return io::ErrnoStatus(EBUSY, "fake ring, clearing"); };
  }
  void set_set_hook(std::function<absl::Status(uint16_t, const io::MemoryRegion&)> hook) {
    set_hook_ = std::move(hook);
  }
  void set_progress_hook(std::function<void(io::Deadline)> hook) {
    progress_hook_ = std::move(hook);
  }

  // Shares with those of `peers`, which name each table by its descriptor.
  using Peers = std::map<int, FakeBufferTable*>;
  void ShareAmong(Peers& peers, int descriptor) {
    peers_ = &peers;
    descriptor_ = descriptor;
    peers[descriptor] = this;
  }

  const std::map<uint16_t, io::MemoryRegion>& regions() const { return regions_; }
  int share_calls() const { return share_calls_; }
  int set_calls() const { return set_calls_; }
  int refused() const { return refused_; }  // Sets, since RefuseWith
  int clear_calls() const { return clear_calls_; }
  int progress_calls() const { return progress_calls_; }

 private:
  std::map<uint16_t, io::MemoryRegion> regions_;
  std::function<absl::Status(uint16_t, const io::MemoryRegion&)> set_hook_;
  std::function<absl::Status(uint16_t)> clear_hook_;
  std::function<void(io::Deadline)> progress_hook_;
  Peers* peers_ = nullptr;
  int descriptor_ = -1;
  int share_calls_ = 0;
  int refused_ = 0;
  int set_calls_ = 0;
  int clear_calls_ = 0;
  int progress_calls_ = 0;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_FAKE_BUFFER_TABLE_H_
