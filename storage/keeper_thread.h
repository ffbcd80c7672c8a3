#ifndef FIXPOOL_STORAGE_KEEPER_THREAD_H_
#define FIXPOOL_STORAGE_KEEPER_THREAD_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/io/thread.h"
#include "fixpool/storage/cache_state.h"
#include "fixpool/storage/frame_keeper.h"
#include "fixpool/storage/page_writer.h"

namespace fixpool::storage {

// Runs the steps of a FrameKeeper and of a PageWriter on a thread of its own, and sleeps in
// between. The destructor ends the thread: within one step (with what the user's log takes, if it
// is asked), or 2 ms if it waits for the disk. Not to be destroyed in a forked child, which does
// not have the thread.
class KeeperThread {
 public:
  // `state` outlives it. ResourceExhausted: the system gives no more threads.
  static absl::StatusOr<std::unique_ptr<KeeperThread>> Start(CacheState* state);
  ~KeeperThread();
  KeeperThread(const KeeperThread&) = delete;
  KeeperThread& operator=(const KeeperThread&) = delete;

 private:
  explicit KeeperThread(CacheState* state) : state_(*state), keeper_(state), writer_(state) {}

  void Run();

  CacheState& state_;
  FrameKeeper keeper_;
  PageWriter writer_;
  std::atomic<bool> stop_{false};
  // Last: it uses all of the above. Absent only while Start is at work.
  std::unique_ptr<io::Thread> thread_;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_KEEPER_THREAD_H_
