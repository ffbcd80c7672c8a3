#ifndef FIXPOOL_STORAGE_COMPLETION_REAPER_H_
#define FIXPOOL_STORAGE_COMPLETION_REAPER_H_

#include "fixpool/io/require_cpp20.h"

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/types/span.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/io_engine.h"

namespace fixpool::storage {

// Takes completions in on behalf of a CompletionReaper.
class CompletionHandler {
 public:
  virtual ~CompletionHandler() = default;
  // Called by the thread that has the role. Must not wait, nor call the reaper.
  virtual void OnCompletions(absl::Span<io::IoCompletion> completions) = 0;
};

// How threads wait for something to change: a transfer to end, a latch to be dropped.
//
//   while (true) {
//     uint32_t seen = reaper.epoch();                      // first,
//     if (WhatIWantIsThere()) break;                       // then look,
//     reaper.WaitFor(seen, Wanted::kCompletion, deadline); // then wait
//   }
//
// There is no thread of its own. Of those who wait, one at a time takes the role of the
// reaper: it waits in IoEngine::Reap, hands what it gets to the handler, moves the epoch on,
// gives the role up and wakes the others, who look again at what they wanted and one of whom
// takes the role. The others sleep until the epoch is not what they saw. Hence
//   - no wake-up is lost: whoever changes something calls Signal() afterwards;
//   - nobody depends on the thread that submitted a transfer ever coming back;
//   - nobody spins: with nothing in flight, one sleeps.
// Signal() does not reach the reaper itself while it is in Reap. That is why those who wait
// for a latch alone never take the role, and those who wait for one thing or another do so
// in slices (kEitherSliceNs).
// Thread-safe. Outlived by the engine, the environment and the handler.
class CompletionReaper {
 public:
  enum class Wanted : uint8_t {
    kCompletion,  // of some transfer
    kSignal,      // of some other thread
    kEither,
  };

  // How late one may be to notice a signal who may also be waiting for a transfer: well
  // above the time of a transfer, so that it seldom matters, and well below what a person
  // notices.
  static constexpr int64_t kEitherSliceNs = 2'000'000;

  CompletionReaper(io::IoEngine* engine, io::Environment* environment, CompletionHandler* handler)
      : engine_(engine), environment_(environment), handler_(handler) {}

  uint32_t epoch() const { return epoch_.load(std::memory_order_seq_cst); }

  // Something changed that others may be waiting for. Called after the change.
  void Signal();

  static constexpr size_t kMostAtATime = 64;
  // How many completions one would like to have at once.
  struct Batch {
    size_t wanted = 1;           // who comes to wait in the kernel would rather wait for as many
    size_t most = kMostAtATime;  // 1 to kMostAtATime; others are left for the next call
  };

  // Returns when something may have changed since epoch() was `seen`, or at the deadline, or
  // for no reason.
  void WaitFor(uint32_t seen, Wanted wanted, io::Deadline deadline) {
    WaitFor(seen, wanted, deadline, Batch());
  }
  void WaitFor(uint32_t seen, Wanted wanted, io::Deadline deadline, Batch batch);

  // Takes in what has completed, without waiting; nothing if another thread is at it.
  void Poll() { Poll(Batch()); }
  void Poll(Batch batch);

 private:
  bool TryTakeRole();
  void GiveRoleUp(bool handled);
  // With the role. True: it handled something.
  bool ReapOnce(io::Deadline deadline, Batch batch);

  io::IoEngine* const engine_;
  io::Environment* const environment_;
  CompletionHandler* const handler_;
  std::atomic<uint32_t> epoch_{0};
  // Threads in WaitFor that sleep or are about to. Who finds it 0 need not wake anybody:
  // whoever comes later sees the epoch moved.
  std::atomic<uint32_t> sleepers_{0};
  std::atomic<bool> role_taken_{false};
  std::array<io::IoCompletion, kMostAtATime> completions_;  // of the holder of the role
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_COMPLETION_REAPER_H_
