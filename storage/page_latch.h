#ifndef FIXPOOL_STORAGE_PAGE_LATCH_H_
#define FIXPOOL_STORAGE_PAGE_LATCH_H_

#include <cstdint>

#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/mutation.h"

namespace fixpool::storage {

// Who may look at the bytes of a page, and who may change them: many readers, or one
// writer; and beside readers the disk, while the page is being written back.
//
//   switch (latch.TryShared(caller)) { case PageLatch::Answer::kGranted: ... }
//
// This is the latch of a page that something special happens to; that of any other page is
// its PageWord, which is faster and knows nothing of waiting. Those who hold the page come over
// from there (Adopt) and go back when it is calm again (Leave).
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
    uint32_t guards_of_this_page = 0;
    bool holds_guards = false;  // of any page
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

  // Whether the answer may depend on the caller: finding out about him takes longer than the rest.
  bool asks_who() const { return held() || !calm(); }

  // True: somebody waits who may now have it (or learn that it waits for itself).
  [[nodiscard]] bool ReleaseShared();
  [[nodiscard]] bool ReleaseExclusive();

  // The writer becomes a reader, with nobody in between. True: as for ReleaseExclusive.
  [[nodiscard]] bool Downgrade();
  // The only reader becomes the writer. False: there are others, or the disk is reading the bytes.
  bool TryUpgrade();

  // Those who were let in by the page's word.
  void Adopt(uint32_t readers, bool writer);
  // Everybody goes back to the word, for which the latch must be calm.
  void Leave() {
    readers_ = 0;
    writer_ = false;
  }
  // Nobody waits, and no write-back lasts.
  bool calm() const { return shared_waiting_ + exclusive_waiting_ == 0 && !write_back_; }

  // Counts a caller that has to wait, until it was granted the latch or gave up. True: its
  // leaving lets others in.
  void BeginWait(Mode mode);
  [[nodiscard]] bool EndWait(Mode mode);

  // A write-back may start: no writer. Readers may come and go while it lasts.
  bool CanBeginWriteBack() const {
    return (!writer_ || Mutated(Mutation::kWriteWhileHeld)) && !write_back_;
  }
  void BeginWriteBack() { write_back_ = true; }
  void EndWriteBack() { write_back_ = false; }

  bool held() const { return readers_ > 0 || writer_; }
  bool held_exclusively() const { return writer_; }
  bool write_back() const { return write_back_; }
  uint32_t readers() const { return readers_; }

 private:
  uint32_t readers_ = 0;  // > 0 excludes writer_
  uint32_t shared_waiting_ = 0;
  uint32_t exclusive_waiting_ = 0;
  bool writer_ = false;
  bool readers_turn_ = false;  // a writer left while readers waited: they come first
  bool write_back_ = false;    // excludes writer_
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_LATCH_H_
