#ifndef FIXPOOL_STORAGE_RETRY_PAUSE_H_
#define FIXPOOL_STORAGE_RETRY_PAUSE_H_

#include <algorithm>
#include <cstdint>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::storage {

// When to try again what failed: after a pause, after twice as long if it fails again, and so on up
// to the longest.
//
//   RetryPause pause(10'000'000, 1'000'000'000);
//   pause.Lengthen(now_ns);                        // it failed
//   if (now_ns >= pause.until_ns()) ...            // again
//   pause.End();                                   // it did not
//
// Thread-compatible.
class RetryPause {
 public:
  constexpr RetryPause(int64_t first_ns, int64_t longest_ns)
      : first_ns_(first_ns), longest_ns_(longest_ns) {}

  void Lengthen(int64_t now_ns) {
    pause_ns_ = std::clamp(pause_ns_ * 2, first_ns_, longest_ns_);
    until_ns_ = now_ns + pause_ns_;
  }
  // The next pause is the first again; this one lasts as long as it was going to.
  void StartAnew() { pause_ns_ = 0; }
  // The same, and this one is over.
  void End() { pause_ns_ = until_ns_ = 0; }

  // Something has failed since StartAnew or End.
  bool failing() const { return pause_ns_ > 0; }
  // 0: there is no pause.
  int64_t until_ns() const { return until_ns_; }

 private:
  int64_t first_ns_;
  int64_t longest_ns_;
  int64_t pause_ns_ = 0;
  int64_t until_ns_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_RETRY_PAUSE_H_
