#ifndef FIXPOOL_TESTS_STORAGE_POLICY_TESTER_H_
#define FIXPOOL_TESTS_STORAGE_POLICY_TESTER_H_

#include <cstdint>
#include <functional>
#include <set>
#include <vector>

#include "absl/types/span.h"
#include "fixpool/storage/replacement_policy.h"

namespace fixpool::tests {

// Drives a policy with plain numbers for frames and pages. Thread-compatible.
class PolicyTester {
 public:
  using Verdict = storage::ReplacementPolicy::Verdict;
  using Hint = storage::Hint;

  static constexpr uint32_t kNone = storage::ToInt(storage::kNoFrame);

  static storage::PageId Id(uint64_t page) { return {storage::FileId(0, 1), page}; }

  explicit PolicyTester(storage::ReplacementPolicy& policy)
      : policy_(policy), page_of_(policy.max_frames()) {}

  // A page with the number of the frame, unless told otherwise.
  void Load(uint32_t frame, Hint hint = Hint::kNormal) { LoadPage(frame, frame, hint); }
  void LoadPage(uint32_t frame, uint64_t page, Hint hint = Hint::kNormal) {
    page_of_[frame] = page;
    policy_.OnLoaded(storage::FrameIndex{frame}, Id(page), hint);
  }
  bool Hit(uint32_t frame, Hint hint = Hint::kNormal) {
    return policy_.Hit(storage::FrameIndex{frame}, hint);
  }
  void Move(uint32_t from, uint32_t to) {
    page_of_[to] = page_of_[from];
    policy_.OnMoved(storage::FrameIndex{from}, storage::FrameIndex{to});
  }
  void Drop(uint32_t frame) { policy_.OnDropped(storage::FrameIndex{frame}); }
  void Written(uint32_t frame) { policy_.OnWritten(storage::FrameIndex{frame}); }
  void WriteFailed(uint32_t frame) { policy_.OnWriteFailed(storage::FrameIndex{frame}); }

  // The next `count` victims, judged; those that are taken leave. proposals() are in order.
  std::vector<uint32_t> Pick(size_t count, const std::function<Verdict(uint32_t)>& judge) {
    proposals_.clear();
    std::vector<storage::FrameIndex> out(count);
    out.resize(policy_.PickVictims(absl::MakeSpan(out), [&](storage::FrameIndex frame) {
      proposals_.push_back(storage::ToInt(frame));
      return judge(storage::ToInt(frame));
    }));
    std::vector<uint32_t> victims;
    for (storage::FrameIndex frame : out) {
      victims.push_back(storage::ToInt(frame));
      policy_.OnEvicted(frame, Id(page_of_[storage::ToInt(frame)]));
    }
    return victims;
  }
  const std::vector<uint32_t>& proposals() const { return proposals_; }

  // The next victim if all proposals but those of `pinned` are welcome; kNone: there is none.
  uint32_t Evict(const std::set<uint32_t>& pinned = {}) {
    const std::vector<uint32_t> victims = Pick(1, [&pinned](uint32_t frame) {
      return pinned.count(frame) > 0 ? Verdict::kSkip : Verdict::kTake;
    });
    return victims.empty() ? kNone : victims.front();
  }
  // All that are present, in the order in which they leave.
  std::vector<uint32_t> EvictAll() {
    std::vector<uint32_t> victims;
    for (uint32_t frame; (frame = Evict()) != kNone;) victims.push_back(frame);
    return victims;
  }

 private:
  storage::ReplacementPolicy& policy_;
  std::vector<uint64_t> page_of_;  // by frame
  std::vector<uint32_t> proposals_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_STORAGE_POLICY_TESTER_H_
