#ifndef FIXPOOL_TESTS_SIMULATION_HELD_PAGE_H_
#define FIXPOOL_TESTS_SIMULATION_HELD_PAGE_H_

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/page_guard.h"
#include "fixpool/storage/page_hint.h"
#include "fixpool/storage/page_id.h"
#include "tests/simulation/cache_inspector.h"

namespace fixpool::simulation {

class HeldPage;

// All guards that are alive in one simulated life, whoever has them.
class GuardBook {
 public:
  using Held = storage::CacheInspector::Held;

  absl::Span<const Held* const> all() const { return held_; }
  size_t CountOf(storage::PageId page) const {
    return CountIf([page](const Held& held) { return held.page == page; });
  }
  size_t CountOf(storage::FileId file) const {
    return CountIf([file](const Held& held) { return held.page.file == file; });
  }
  size_t CountExclusiveOf(storage::FileId file) const {
    return CountIf([file](const Held& held) { return held.page.file == file && held.exclusive; });
  }

 private:
  friend class HeldPage;
  template <typename Matches>
  size_t CountIf(Matches matches) const {
    size_t count = 0;
    for (const Held* held : held_) count += matches(*held) ? 1 : 0;
    return count;
  }
  void Add(const Held* held) { held_.push_back(held); }
  void Remove(const Held* held) { held_.erase(std::find(held_.begin(), held_.end(), held)); }

  std::vector<const Held*> held_;
};

// A place for one guard, of either kind, which stands in the book while there is one.
class HeldPage {
 public:
  explicit HeldPage(GuardBook* book) : book_(book) {}
  ~HeldPage() { Drop(); }
  HeldPage(const HeldPage&) = delete;
  HeldPage& operator=(const HeldPage&) = delete;

  bool holds() const { return holds_; }
  // The rest requires that.
  const GuardBook::Held& held() const { return held_; }
  bool exclusive() const { return held_.exclusive; }
  storage::WriteGuard& write_guard() { return write_; }
  // The record that tells of its change, of which the guard is told now or when it is dropped.
  void SetLsn(storage::Lsn lsn, bool now) {
    pending_lsn_ = lsn;
    if (now) TellLsn();
  }
  storage::PageHint hint() const { return exclusive() ? write_.hint() : read_.hint(); }

  void Take(storage::ReadGuard guard) {
    Drop();
    read_ = std::move(guard);
    held_ = {.page = read_.page_id(), .exclusive = false, .data = read_.bytes().data()};
    Enter();
  }
  void Take(storage::WriteGuard guard) {
    Drop();
    write_ = std::move(guard);
    held_ = {.page = write_.page_id(), .exclusive = true, .data = write_.bytes().data()};
    Enter();
  }
  void Drop() {
    if (!holds_) return;
    holds_ = false;
    book_->Remove(&held_);
    TellLsn();
    read_.Release();
    write_.Release();
  }
  void Downgrade() {
    TellLsn();
    read_ = write_.Downgrade();
    held_.exclusive = false;
  }
  bool TryUpgrade() {
    std::optional<storage::WriteGuard> upgraded = read_.TryUpgrade();
    if (!upgraded.has_value()) return false;
    write_ = *std::move(upgraded);
    held_.exclusive = true;
    return true;
  }

 private:
  void TellLsn() {
    if (pending_lsn_ != storage::Lsn::kNone) write_.set_lsn(pending_lsn_);
    pending_lsn_ = storage::Lsn::kNone;
  }
  void Enter() {
    holds_ = true;
    book_->Add(&held_);
  }

  GuardBook* const book_;
  bool holds_ = false;
  GuardBook::Held held_;
  storage::ReadGuard read_;
  storage::WriteGuard write_;
  storage::Lsn pending_lsn_ = storage::Lsn::kNone;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_HELD_PAGE_H_
