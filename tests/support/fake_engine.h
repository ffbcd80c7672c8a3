#ifndef FIXPOOL_TESTS_SUPPORT_FAKE_ENGINE_H_
#define FIXPOOL_TESTS_SUPPORT_FAKE_ENGINE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/mutex.h"

namespace fixpool::tests {

// An IoEngine that does as it is told.
//
//   FakeEngine engine(registry, {.depth = 8});
//   engine.Fail({.operation = io::IoOperation::kWrite}, io::ErrnoStatus(ENOSPC, "the test"));
//   engine.Hold({.operation = io::IoOperation::kRead, .offset_bytes = 4096});
//   ... the read stays in flight ...
//   engine.ReleaseAll();
//
// Transfers are done on the real file when they are reaped and not before, by the thread that
// reaps, in an order that is the same in each run: submission order, or the reverse of it.
// Behind a short read the buffer is scribbled over, as an engine may do. Regions are validated
// and leased as by the real ones.
// Thread-safe; with one thread, deterministic.
class FakeEngine final : public io::IoEngine {
 public:
  struct Options {
    uint32_t depth = 16;
    bool last_in_first_out = false;
    uint32_t joined_depth = 0;
    bool skip_syncs = false;  // they are done by doing nothing
    bool record = false;      // see Performed
  };
  // Which requests a rule is about; what is absent matches all. A joined one is about all of its
  // bytes, and others about where they begin.
  struct Match {
    std::optional<io::IoOperation> operation = std::nullopt;
    std::optional<uint64_t> offset_bytes = std::nullopt;
    std::optional<std::string> path = std::nullopt;  // of the file
  };
  // A write or a sync that was done, or, of a write that failed torn, what was done of it.
  struct Done {
    io::IoOperation operation;
    std::string path;
    uint64_t offset_bytes;
    std::string bytes;
    bool ok;
  };
  static constexpr int kAlways = -1;

  FakeEngine(io::FixedBufferRegistry* registry, Options options);
  ~FakeEngine() override;

  // The next `times` requests that match end with `status`, untouched.
  void Fail(const Match& match, absl::Status status, int times = 1);
  // The same of writes, of which the first half of the bytes is written all the same.
  void FailTorn(const Match& match, absl::Status status, int times = 1);
  // Requests that match stay in flight, also those that are in flight already.
  void Hold(const Match& match);
  // Ends all rules of Fail, or of Hold.
  void FailNothing();
  void ReleaseAll();
  // As AddFile of a slow device may.
  void LowerDepth(uint32_t depth) { depth_ = depth; }
  // The next `times` calls of Submit find the engine full.
  void BeFull(int times);
  // Submit takes at most this many requests a call.
  void TakeAtMost(size_t requests);
  // Called at the beginning of each Submit, by its thread; may block. Set before there are
  // other threads.
  void BeforeSubmit(std::function<void()> hook) { before_submit_ = std::move(hook); }
  // Submit refuses the next request with `status`.
  void RefuseNext(absl::Status status);

  // Requests accepted so far.
  uint64_t Count(io::IoOperation operation) const;
  uint64_t Count(io::IoOperation operation, uint64_t offset_bytes) const;
  // Where they were, in the order of submission.
  std::vector<uint64_t> Offsets(io::IoOperation operation) const;
  // Of each of these, how many pieces of memory there were; of those that are not joined, 1.
  std::vector<size_t> Pieces(io::IoOperation operation) const;
  // Of those that were accepted, the atomic ones.
  uint64_t atomic_writes() const;
  // With Options::record: what was done so far, in this order.
  std::vector<Done> Performed() const;
  // Calls of Submit that brought requests.
  uint64_t submits() const;
  // In flight and not held.
  size_t ready() const;

  absl::StatusOr<io::FileHandle> AddFile(std::shared_ptr<io::File> file) override;
  absl::Status RemoveFile(io::FileHandle file, io::Deadline deadline) override;
  absl::StatusOr<io::EngineLevel> LevelOf(io::FileHandle file) const override;
  io::SubmitResult Submit(absl::Span<const io::IoRequest> requests) override;
  size_t Reap(absl::Span<io::IoCompletion> completions, io::Deadline deadline) override;
  uint32_t depth() const override { return depth_.load(); }
  uint32_t joined_depth() const override { return options_.joined_depth; }
  uint32_t in_flight() const override { return in_flight_.load(); }
  io::EngineReport Report() const override;

 private:
  struct Operation {
    io::IoRequest request;
    std::vector<io::IoPiece> pieces;  // one, if it is not joined
    std::vector<io::RegionLease> leases;
    std::shared_ptr<io::File> file;
  };
  struct Accepted {
    io::IoOperation operation;
    uint64_t offset_bytes;
    size_t pieces;
    bool atomic;
  };
  struct Failure {
    Match match;
    absl::Status status;
    int times;
    bool torn;
  };

  bool Matches(const Match& match, const io::IoRequest& request) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsHeld(const io::IoRequest& request) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<Failure> TakeFailure(const io::IoRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Accept(const io::IoRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  size_t TakeReady(absl::Span<io::IoCompletion> completions) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Perform(Operation& operation, io::IoCompletion& completion)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Transfer(Operation& operation, io::IoCompletion& completion)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Does, and records, a write of the first `length_bytes` of it.
  absl::Status WriteSome(Operation& operation, uint32_t length_bytes, bool ok)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of files that are made up, one of the file at their path.
  int DescriptorOf(const io::File& file) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Changed();

  io::FixedBufferRegistry* const registry_;
  io::Environment* const environment_;
  const Options options_;
  std::function<void()> before_submit_;
  std::atomic<uint32_t> depth_;
  std::atomic<uint32_t> in_flight_{0};
  std::atomic<uint32_t> changes_{0};

  mutable io::Mutex mutex_;
  std::map<uint32_t, std::shared_ptr<io::File>> files_ ABSL_GUARDED_BY(mutex_);  // by generation
  uint32_t last_generation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::list<Operation> operations_ ABSL_GUARDED_BY(mutex_);  // as submitted
  std::vector<Failure> failures_ ABSL_GUARDED_BY(mutex_);
  std::vector<Match> holds_ ABSL_GUARDED_BY(mutex_);
  int full_times_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t take_at_most_ ABSL_GUARDED_BY(mutex_) = ~size_t{0};
  absl::Status refuse_next_ ABSL_GUARDED_BY(mutex_);
  uint64_t submits_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t joined_in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Accepted> history_ ABSL_GUARDED_BY(mutex_);
  std::vector<Done> done_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int> descriptors_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_FAKE_ENGINE_H_
