// Policies against naive ones that keep everything in plain vectors, step by step: the same pages
// are proposed in the same order.

#include <algorithm>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "fixpool/storage/clock_policy.h"
#include "fixpool/storage/ghost_table.h"
#include "fixpool/storage/lru_policy.h"
#include "fixpool/storage/s3_fifo_policy.h"
#include "gtest/gtest.h"
#include "tests/storage/policy_tester.h"
#include "tests/support/seed.h"

namespace fixpool::storage {
namespace {

using tests::PolicyTester;
using Pinned = std::set<uint32_t>;

constexpr uint32_t kFrames = 40;
constexpr uint32_t kMaxFrames = 60;
constexpr uint64_t kPages = 120;

struct Page {
  uint32_t frame;
  uint64_t number;
  int heat = 0;
  bool prefetched = false;
};

class Model {
 public:
  virtual ~Model() = default;
  virtual void Load(const Page& page, Hint hint) = 0;
  virtual void Hit(uint32_t frame, Hint hint) = 0;
  virtual void Drop(uint32_t frame) = 0;
  virtual void Move(uint32_t from, uint32_t to) = 0;
  virtual void Resize(uint32_t) {}
  // Appends what it proposes; the last of it is the victim, unless it is pinned.
  virtual void Evict(const Pinned& pinned, std::vector<uint32_t>& proposals) = 0;

 protected:
  using Queue = std::vector<Page>;  // the oldest in front

  static Page* Find(Queue& queue, uint32_t frame) {
    for (Page& page : queue) {
      if (page.frame == frame) return &page;
    }
    return nullptr;
  }
  static void Erase(Queue& queue, uint32_t frame) {
    std::erase_if(queue, [frame](const Page& page) { return page.frame == frame; });
  }
  static Page PopFront(Queue& queue) {
    const Page page = queue.front();
    queue.erase(queue.begin());
    return page;
  }
  // Of policies whose hits are counted.
  static void Heat(Page& page, Hint hint) {
    if (hint == Hint::kKeep) {
      page.heat = 6;
    } else if (hint != Hint::kScan && page.heat < 3) {
      ++page.heat;
    }
  }
};

class LruModel final : public Model {
 public:
  void Load(const Page& page, Hint hint) override {
    queue_.insert(hint == Hint::kScan ? queue_.begin() : queue_.end(), page);
    queue_[hint == Hint::kScan ? 0 : queue_.size() - 1].heat = hint == Hint::kKeep ? 6 : 0;
  }
  void Hit(uint32_t frame, Hint hint) override {
    if (hint == Hint::kScan) return;
    Page page = *Find(queue_, frame);
    if (hint == Hint::kKeep) page.heat = 6;
    Erase(queue_, frame);
    queue_.push_back(page);
  }
  void Drop(uint32_t frame) override { Erase(queue_, frame); }
  void Move(uint32_t from, uint32_t to) override { Find(queue_, from)->frame = to; }
  void Evict(const Pinned& pinned, std::vector<uint32_t>& proposals) override {
    const size_t present = queue_.size();
    for (size_t refused = 0; refused < 2 * present;) {
      const bool last_resort = refused >= present;
      Page page = PopFront(queue_);
      if (page.heat > 0 && !last_resort) {
        --page.heat;
      } else {
        proposals.push_back(page.frame);
        if (pinned.count(page.frame) == 0) return;
        ++refused;
      }
      queue_.push_back(page);
    }
  }

 private:
  Queue queue_;
};

class S3Model final : public Model {
 public:
  void Load(const Page& loaded, Hint hint) override {
    Page page = loaded;
    if (hint == Hint::kScan) return scan_.push_back(page);
    if (ghosts_.Take(PolicyTester::Id(page.number)) || hint == Hint::kKeep) {
      page.heat = hint == Hint::kKeep ? 6 : 0;
      return main_.push_back(page);
    }
    page.prefetched = hint == Hint::kPrefetch;
    page.heat = page.prefetched ? 0 : 3;
    young_.push_back(page);
    Shift();
  }
  void Hit(uint32_t frame, Hint hint) override {
    for (Queue* queue : All()) {
      if (Page* page = Find(*queue, frame)) Heat(*page, hint);
    }
  }
  void Drop(uint32_t frame) override {
    for (Queue* queue : All()) Erase(*queue, frame);
  }
  void Move(uint32_t from, uint32_t to) override {
    for (Queue* queue : All()) {
      if (Page* page = Find(*queue, from)) page->frame = to;
    }
  }
  void Resize(uint32_t frames) override {
    small_target_ = frames / 10;
    ghosts_.SetCapacity(frames * 9 / 10);
    Shift();
  }
  void Evict(const Pinned& pinned, std::vector<uint32_t>& proposals) override {
    size_t scan_left = scan_.size(), small_left = young_.size() + old_.size();
    size_t main_left = 4 * main_.size(), main_refusals_left = main_.size();
    while (true) {
      const size_t small = young_.size() + old_.size();
      const bool from_main = main_left > 0 && main_refusals_left > 0;
      if (scan_left > 0) {
        --scan_left;
        Page page = PopFront(scan_);
        if (page.heat == 0) {
          if (Refused(page, pinned, proposals, scan_)) continue;
          return;
        }
        page.heat = std::max(page.heat, 3);
        young_.push_back(page);
        ++small_left;
        Shift();
      } else if (small_left > 0 && (small >= small_target_ || !from_main)) {
        --small_left;
        if (old_.empty()) EnterOld();
        Page page = PopFront(old_);
        if (page.heat <= (page.prefetched ? 1 : 0)) {
          if (Refused(page, pinned, proposals, old_)) continue;
          if (!page.prefetched || page.heat > 0) ghosts_.Add(PolicyTester::Id(page.number));
          return;
        }
        page.heat = page.heat > 3 ? page.heat : 0;
        page.prefetched = false;
        main_.push_back(page);
        ++main_left;
        ++main_refusals_left;
      } else if (from_main) {
        --main_left;
        Page page = PopFront(main_);
        if (page.heat == 0) {
          --main_refusals_left;
          if (Refused(page, pinned, proposals, main_)) continue;
          return;
        }
        --page.heat;
        main_.push_back(page);
      } else {
        return EvictAny(pinned, proposals);
      }
    }
  }

 private:
  std::vector<Queue*> All() { return {&scan_, &old_, &young_, &main_}; }

  void EnterOld() {
    Page page = PopFront(young_);
    if (page.heat <= 3) {
      if (page.heat > 0) page.prefetched = false;
      page.heat = 0;
    }
    old_.push_back(page);
  }
  void Shift() {
    while (young_.size() > small_target_ / 2) EnterOld();
  }
  static bool Refused(const Page& page, const Pinned& pinned, std::vector<uint32_t>& proposals,
                      Queue& queue) {
    proposals.push_back(page.frame);
    if (pinned.count(page.frame) == 0) return false;
    queue.push_back(page);
    return true;
  }
  void EvictAny(const Pinned& pinned, std::vector<uint32_t>& proposals) {
    for (Queue* queue : All()) {
      for (const Page& page : *queue) {
        proposals.push_back(page.frame);
        if (pinned.count(page.frame) > 0) continue;
        const bool small = queue == &old_ || queue == &young_;
        if (small && (!page.prefetched || page.heat > 0)) {
          ghosts_.Add(PolicyTester::Id(page.number));
        }
        return Erase(*queue, page.frame);
      }
    }
  }

  Queue scan_, young_, old_, main_;
  size_t small_target_ = kFrames / 10;
  // The real one, which has a test of its own: what it forgets early is its own affair.
  GhostTable ghosts_{{.capacity = kFrames * 9 / 10, .max_capacity = kMaxFrames * 9 / 10}};
};

// Without scans, prefetches, and wishes to keep: textbook CLOCK.
class ClockModel final : public Model {
 public:
  void Load(const Page& page, Hint) override {
    if (Find(frames_, page.frame) == nullptr) frames_.push_back(page);
    Find(frames_, page.frame)->heat = 0;
    present_.insert(page.frame);
  }
  void Hit(uint32_t frame, Hint) override { Find(frames_, frame)->heat = 1; }
  void Drop(uint32_t frame) override { present_.erase(frame); }
  void Move(uint32_t from, uint32_t to) override {
    Load({.frame = to, .number = 0}, Hint::kNormal);
    Find(frames_, to)->heat = Find(frames_, from)->heat;
    Drop(from);
  }
  void Evict(const Pinned& pinned, std::vector<uint32_t>& proposals) override {
    for (size_t refused = 0; refused < 2 * present_.size();) {
      const bool last_resort = refused >= present_.size();
      Page& page = *Find(frames_, hand_);
      // Before more frames come, behind which it would else go on.
      hand_ = (hand_ + 1) % static_cast<uint32_t>(frames_.size());
      if (present_.count(page.frame) == 0) continue;
      if (!last_resort && std::exchange(page.heat, 0) > 0) continue;
      proposals.push_back(page.frame);
      if (pinned.count(page.frame) == 0) return Drop(page.frame);
      ++refused;
    }
  }

 private:
  Queue frames_;
  Pinned present_;
  uint32_t hand_ = 0;
};

// Random steps, the same for both.
void Compare(ReplacementPolicy& policy, Model& model, bool with_hints) {
  std::mt19937_64 random(tests::Seed());
  const auto below = [&random](uint64_t limit) { return random() % limit; };
  const auto hint = [&below, with_hints] {
    constexpr Hint kHints[] = {Hint::kNormal,   Hint::kNormal, Hint::kNormal, Hint::kScan,
                               Hint::kPrefetch, Hint::kNormal, Hint::kKeep};
    return with_hints ? kHints[below(std::size(kHints))] : Hint::kNormal;
  };
  PolicyTester tester(policy);
  std::set<uint32_t> free, used;
  std::set<uint64_t> resident;
  std::vector<uint64_t> page_of(kMaxFrames);
  for (uint32_t frame = 0; frame < kFrames; ++frame) free.insert(frame);
  const auto leave = [&](uint32_t frame) {
    used.erase(frame);
    free.insert(frame);
    resident.erase(page_of[frame]);
  };
  for (int step = 0; step < 60'000; ++step) {
    if (step == 30'000) {
      for (uint32_t frame = kFrames; frame < kMaxFrames; ++frame) free.insert(frame);
      policy.SetFrameCount(kMaxFrames);
      model.Resize(kMaxFrames);
    }
    if (!used.empty() && below(100) < 60) {
      const uint32_t frame = *std::next(used.begin(), static_cast<long>(below(used.size())));
      const Hint with = hint();
      (void)tester.Hit(frame, with);
      model.Hit(frame, with);
    } else if (!used.empty() && below(100) < 3) {
      const uint32_t frame = *std::next(used.begin(), static_cast<long>(below(used.size())));
      tester.Drop(frame);
      model.Drop(frame);
      leave(frame);
    } else if (!used.empty() && !free.empty() && below(100) < 10) {
      const uint32_t from = *std::next(used.begin(), static_cast<long>(below(used.size())));
      const uint32_t to = *free.begin();
      tester.Move(from, to);
      model.Move(from, to);
      page_of[to] = page_of[from];
      free.erase(to);
      used.insert(to);
      used.erase(from);
      free.insert(from);
    } else if (!free.empty()) {
      const uint32_t frame = *free.begin();
      const uint64_t page = std::min(below(kPages), below(kPages));
      if (!resident.insert(page).second) continue;
      free.erase(frame);
      used.insert(frame);
      page_of[frame] = page;
      const Hint with = hint();
      tester.LoadPage(frame, page, with);
      model.Load({.frame = frame, .number = page}, with);
    } else {
      Pinned pinned;
      const uint64_t share = below(10) == 0 ? 95 : 10;
      for (uint32_t frame : used) {
        if (below(100) < share) pinned.insert(frame);
      }
      // Something can always be had, so that the order of the last resort is all that counts.
      pinned.erase(*std::next(used.begin(), static_cast<long>(below(used.size()))));
      std::vector<uint32_t> expected;
      model.Evict(pinned, expected);
      const uint32_t victim = tester.Evict(pinned);
      ASSERT_EQ(tester.proposals(), expected) << "step " << step;
      ASSERT_EQ(victim, expected.back()) << "step " << step;
      leave(victim);
    }
  }
}

TEST(PolicyModelTest, S3FifoAgrees) {
  S3FifoPolicy policy(kFrames, kMaxFrames);
  S3Model model;
  Compare(policy, model, true);
}

TEST(PolicyModelTest, LruAgrees) {
  LruPolicy policy(kFrames, kMaxFrames);
  LruModel model;
  Compare(policy, model, true);
}

TEST(PolicyModelTest, ClockAgrees) {
  ClockPolicy policy(kFrames, kMaxFrames);
  ClockModel model;
  Compare(policy, model, false);
}

}  // namespace
}  // namespace fixpool::storage
