#ifndef FIXPOOL_STORAGE_PAGE_LATCH_H_
#define FIXPOOL_STORAGE_PAGE_LATCH_H_

#include "fixpool/io/require_cpp20.h"

#include <cstdint>

namespace fixpool::storage {

// Who may look at the bytes of a page, and who may change them: many readers, or one
// writer; and beside readers the disk, while the page is being written back.
//
//   switch (latch.TryShared(caller)) { case PageLatch::Answer::kGranted: ... }
//
// Never blocks: those who have to wait are counted here (BeginWait), sleep elsewhere, and
// try again. Guarded by the cache's lock.
//
// Fairness: a reader queues behind waiting writers, unless it holds some guard already (it
// might be the one that the writer waits for), and a writer queues behind the readers that
// waited when the last writer left. So neither starves the other, and nobody waits for
// someone that can only wait for him.
class PageLatch {
 public:
  enum class Mode : uint8_t { kShared, kExclusive };

  // The thread that asks: see ThreadHolds.
  struct Caller {
    uint64_t token = 0;
    bool holds_guards = false;
  };

  enum class Answer : uint8_t {
    kGranted,
    kWaitForHolder,     // somebody holds it, or has an older claim
    kWaitForWriteBack,  // the disk is reading the bytes
    kWouldDeadlock,     // the caller's own guards are what it would wait for
  };

  Answer Try(Mode mode, const Caller& caller) {
    return mode == Mode::kShared ? TryShared(caller) : TryExclusive(caller);
  }
  Answer TryShared(const Caller& caller);
  Answer TryExclusive(const Caller& caller);

  // `token` is that of the caller it was granted to. True: somebody waits who may now have
  // it (or learn that it waits for itself).
  [[nodiscard]] bool ReleaseShared(uint64_t token);
  [[nodiscard]] bool ReleaseExclusive();

  // Counts a caller that has to wait, until it was granted the latch or gave up. True: its
  // leaving lets others in.
  void BeginWait(Mode mode);
  [[nodiscard]] bool EndWait(Mode mode);

  // A write-back may start: no writer. Readers may come and go while it lasts.
  bool CanBeginWriteBack() const { return writer_ == 0 && !write_back_; }
  void BeginWriteBack() { write_back_ = true; }
  void EndWriteBack() { write_back_ = false; }

  bool held() const { return readers_ > 0 || writer_ != 0; }
  bool held_exclusively() const { return writer_ != 0; }
  bool held_exclusively_by(uint64_t token) const { return writer_ != 0 && writer_ == token; }
  bool write_back() const { return write_back_; }
  uint32_t readers() const { return readers_; }

 private:
  uint64_t writer_ = 0;         // token; 0: none
  uint64_t reader_tokens_ = 0;  // their sum, wrapping
  uint32_t readers_ = 0;        // > 0 excludes writer_ != 0
  uint32_t shared_waiting_ = 0;
  uint32_t exclusive_waiting_ = 0;
  bool readers_turn_ = false;  // a writer left while readers waited: they come first
  bool write_back_ = false;    // excludes writer_ != 0
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_LATCH_H_
