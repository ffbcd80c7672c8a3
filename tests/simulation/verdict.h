#ifndef FIXPOOL_TESTS_SIMULATION_VERDICT_H_
#define FIXPOOL_TESTS_SIMULATION_VERDICT_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "tests/simulation/sim_counts.h"

namespace fixpool::simulation {

// What a simulated life came to: the first invariant that did not hold, what was counted, and a
// hash over all that happened, which is the same for the same seed.
//
//   if (verdict.Check(Invariant::kOneRead, reads == 1)) return;     // counted, and true
//   verdict.Fail(Invariant::kOneRead, absl::StrCat(...));
//
// Thread-compatible.
class Verdict {
 public:
  // Counts a check of `invariant`. Returns `holds`; the message is made by who finds it false.
  bool Check(Invariant invariant, bool holds) {
    counts_.Add(invariant);
    return holds;
  }
  // Only the first counts: what comes after it may be its consequence.
  void Fail(Invariant invariant, std::string message) {
    if (failed_) return;
    failed_ = true;
    violated_ = invariant;
    message_ = std::move(message);
  }
  void Note(uint64_t value) { hash_ = (hash_ ^ value) * 0x9ddfea08eb382d69u + (hash_ >> 29); }
  void Note(absl::string_view text) {
    for (const char c : text) hash_ = (hash_ ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  }

  bool failed() const { return failed_; }
  Invariant violated() const { return violated_; }
  const std::string& message() const { return message_; }
  uint64_t hash() const { return hash_; }
  SimCounts& counts() { return counts_; }
  const SimCounts& counts() const { return counts_; }

 private:
  bool failed_ = false;
  Invariant violated_ = Invariant::kCount;
  std::string message_;
  uint64_t hash_ = 0xcbf29ce484222325u;
  SimCounts counts_;
};

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_VERDICT_H_
