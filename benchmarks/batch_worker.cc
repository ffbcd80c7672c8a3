#include "benchmarks/batch_worker.h"

#include <algorithm>

#include "absl/status/statusor.h"

namespace fixpool::benchmarks {
namespace {

// See BatchWorker::WindowOf.
constexpr size_t kWindowDepths = 3;

}  // namespace

BatchWorker::BatchWorker(const CacheStage& stage, uint32_t thread)
    : CacheWorker(stage, thread),
      batch_(std::max(1u, stage.options.depth / 8)),
      wanted_(WindowOf(stage)) {}

absl::Status BatchWorker::Prepare() {
  asked_.reserve(wanted_.size());
  return absl::OkStatus();
}

absl::Status BatchWorker::Work(const std::atomic<int64_t>& end_ns) {
  if (absl::Status status = AskForMore(NowNs()); !status.ok()) return status;
  while (true) {
    const size_t count = std::min(batch_, wanted_count_);
    for (size_t i = 0; i < count; ++i) {
      if (absl::Status status = Use(wanted_[Wrapped(oldest_ + i)]); !status.ok()) return status;
    }
    const int64_t now_ns = NowNs();
    if (now_ns > end_ns.load(std::memory_order_relaxed)) return absl::OkStatus();
    for (size_t i = 0; i < count; ++i) {
      const int64_t latency_ns = now_ns - wanted_[Wrapped(oldest_ + i)].asked_ns;
      latency_.Record(static_cast<uint64_t>(latency_ns));
    }
    oldest_ = Wrapped(oldest_ + count);
    wanted_count_ -= count;
    if (absl::Status status = AskForMore(now_ns); !status.ok()) return status;
  }
}

// Pages are used in order and arrive in any
// order: were there no more of them than may be in flight, those that have come and wait for
// their turn would keep the device from its work. Together with those of other threads no
// more than a quarter of the frames, so that none is evicted before its turn.
size_t BatchWorker::WindowOf(const CacheStage& stage) {
  const size_t depth = stage.options.depth;
  if (depth == 1) return 1;
  const size_t frames = stage.cache->frame_count() / 4 / stage.options.threads;
  return std::clamp(frames, depth, kWindowDepths * depth);
}

absl::Status BatchWorker::AskForMore(int64_t now_ns) {
  const uint64_t in_flight = SampleInFlight();
  const uint64_t most = stage_.most_in_flight;
  const size_t room = in_flight < most ? static_cast<size_t>(most - in_flight) : 0;
  const size_t least = wanted_count_ == 0 ? 1 : 0;
  const size_t count = std::clamp(room, least, wanted_.size() - wanted_count_);
  asked_.clear();
  for (size_t i = 0; i < count; ++i) {
    const uint64_t page = sequence_.NextPage();
    wanted_[Wrapped(oldest_ + wanted_count_)] = {
        .page = page, .asked_ns = now_ns, .is_write = sequence_.NextIsWrite()};
    ++wanted_count_;
    asked_.push_back({stage_.file, page});
  }
  if (wanted_.size() == 1) return absl::OkStatus();
  return stage_.cache->Prefetch(asked_).status();
}

absl::Status BatchWorker::Use(const Wanted& wanted) {
  if (wanted.is_write) {
    absl::StatusOr<storage::WriteGuard> guard = stage_.cache->Write(IdOf(wanted.page));
    if (!guard.ok()) return guard.status();
    return Change(*guard, wanted.page);
  }
  const absl::StatusOr<storage::ReadGuard> guard = stage_.cache->Read(IdOf(wanted.page));
  if (!guard.ok()) return guard.status();
  return Look(*guard, wanted.page);
}

}  // namespace fixpool::benchmarks
