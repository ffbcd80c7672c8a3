#include "benchmarks/engine_runner.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/in_force.h"
#include "benchmarks/memory_need.h"
#include "benchmarks/page_sequence.h"
#include "benchmarks/run_parts.h"
#include "benchmarks/verify_pattern.h"
#include "benchmarks/worker_team.h"
#include "fixpool/arena/page_handle.h"
#include "fixpool/io/file.h"
#include "fixpool/io/io_engine.h"

namespace fixpool::benchmarks {
namespace {

// What all workers share. Nothing here changes during a run but what `ledger` points to.
struct Stage {
  const PageIoOptions& options;
  const PageFile& page_file;
  PageLedger* ledger;  // null: nothing is verified
  const PageMemory& memory;
  std::shared_ptr<io::File> file;
};

// One page of memory, and the transfer that it is used for.
struct Buffer {
  io::RegionId region;
  absl::Span<std::byte> bytes;
  int64_t submitted_ns = 0;
  uint64_t page = 0;
  uint32_t sequence = 0;  // of a write
  bool is_write = false;
};

// Which page of the file next. With a ledger: those of this thread alone, and none that is
// in flight; without: any.
class PagePicker {
 public:
  PagePicker(const Stage& stage, uint32_t thread)
      : stride_(stage.ledger == nullptr ? 1 : stage.options.threads),
        first_(stage.ledger == nullptr ? 0 : thread),
        count_((stage.page_file.pages() - first_ + stride_ - 1) / stride_),
        in_flight_(stage.ledger == nullptr ? 0 : count_, false),
        sequence_({.pattern = stage.options.pattern,
                   .operation = stage.options.operation,
                   .pages = count_,
                   .thread = thread,
                   .threads = stage.options.threads,
                   .seed = stage.options.seed}) {}

  uint64_t Pick() {
    uint64_t index = sequence_.NextPage();
    if (in_flight_.empty()) return index;
    // There is one: a thread has no more buffers than pages.
    while (in_flight_[index]) index = index + 1 == count_ ? 0 : index + 1;
    in_flight_[index] = true;
    return first_ + index * stride_;
  }

  bool PickIsWrite() { return sequence_.NextIsWrite(); }

  void Return(uint64_t page) {
    if (!in_flight_.empty()) in_flight_[(page - first_) / stride_] = false;
  }

 private:
  const uint64_t stride_;
  const uint64_t first_;
  const uint64_t count_;
  std::vector<bool> in_flight_;
  PageSequence sequence_;
};

class EngineWorker final : public Worker {
 public:
  EngineWorker(const Stage& stage, uint32_t thread)
      : stage_(stage), picker_(stage, thread), batch_(std::max(1u, stage.options.depth / 8)) {}

  absl::Status Prepare() override {
    if (absl::Status status = OpenEngine(); !status.ok()) return status;
    // An engine takes no more than the device of its files does.
    buffers_.resize(std::min(stage_.options.depth, engine_->depth()));
    for (Buffer& buffer : buffers_) {
      absl::StatusOr<arena::PageHandle> page = stage_.memory.arena->Allocate();
      if (!page.ok()) return page.status();
      absl::StatusOr<std::byte*> bytes = stage_.memory.arena->Resolve(*page);
      if (!bytes.ok()) return bytes.status();
      buffer.region = page->region;
      buffer.bytes = absl::MakeSpan(*bytes, stage_.options.page_bytes);
    }
    requests_.resize(buffers_.size());
    completions_.resize(batch_);
    InForce in_force;
    if (absl::Status status = LearnInForce(in_force); !status.ok()) return status;
    return CheckRequirement(stage_.options, in_force);
  }

  absl::Status Work(const std::atomic<int64_t>& end_ns) override {
    absl::Status status = KeepInFlight(end_ns);
    const absl::Status drained = Drain();
    return status.ok() ? drained : status;
  }

  const LatencyHistogram& latency() const { return latency_; }
  size_t most_in_flight() const { return buffers_.size(); }

  // Lowers `in_force` to what this worker's engine has, with the reason. After Prepare.
  absl::Status LearnInForce(InForce& in_force) const;

 private:
  absl::Status OpenEngine() {
    absl::StatusOr<std::unique_ptr<io::IoEngine>> engine =
        OpenRunEngine(stage_.options, stage_.options.depth, stage_.file, stage_.memory);
    if (!engine.ok()) return engine.status();
    engine_ = *std::move(engine);
    absl::StatusOr<io::FileHandle> file = engine_->AddFile(stage_.file);
    if (!file.ok()) return file.status();
    file_ = *file;
    return absl::OkStatus();
  }

  // The loop that is measured.
  absl::Status KeepInFlight(const std::atomic<int64_t>& end_ns) {
    const int64_t start_ns = NowNs();
    for (uint32_t i = 0; i < buffers_.size(); ++i) MakeRequest(i, start_ns, requests_[i]);
    if (absl::Status status = Submit(buffers_.size()); !status.ok()) return status;
    while (true) {
      const size_t reaped = Reap();
      const int64_t now_ns = NowNs();
      const bool over = now_ns > end_ns.load(std::memory_order_relaxed);
      for (size_t i = 0; i < reaped; ++i) {
        if (absl::Status status = Finish(completions_[i]); !status.ok()) return status;
        const auto index = static_cast<uint32_t>(completions_[i].user_data);
        if (over) continue;
        latency_.Record(static_cast<uint64_t>(now_ns - buffers_[index].submitted_ns));
        MakeRequest(index, now_ns, requests_[i]);
      }
      if (over) return absl::OkStatus();
      if (absl::Status status = Submit(reaped); !status.ok()) return status;
    }
  }

  void MakeRequest(uint32_t index, int64_t now_ns, io::IoRequest& request) {
    Buffer& buffer = buffers_[index];
    buffer.submitted_ns = now_ns;
    buffer.page = picker_.Pick();
    buffer.is_write = picker_.PickIsWrite();
    const uint64_t offset_bytes = buffer.page * stage_.options.page_bytes;
    if (buffer.is_write) {
      if (stage_.ledger != nullptr) {
        buffer.sequence = stage_.ledger->NextSequence(buffer.page);
        WritePattern(buffer.bytes, offset_bytes, buffer.sequence);
      } else {
        RestampPattern(buffer.bytes, offset_bytes, ++writes_);
      }
    }
    request.operation = buffer.is_write ? io::IoOperation::kWrite : io::IoOperation::kRead;
    request.file = file_;
    request.region = buffer.region;
    request.data = buffer.bytes.data();
    request.length_bytes = stage_.options.page_bytes;
    request.offset_bytes = offset_bytes;
    request.user_data = index;
  }

  absl::Status Submit(size_t count) {
    const io::SubmitResult result = engine_->Submit(absl::MakeConstSpan(requests_.data(), count));
    in_flight_ += result.accepted;
    if (!result.status.ok()) return result.status;
    // There are as many buffers as the engine is deep.
    if (result.accepted == count) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("the engine took ", result.accepted, " of ", count,
                                            " requests though it had room for all"));
  }

  size_t Reap() {
    const size_t reaped = engine_->Reap(absl::MakeSpan(completions_), io::Deadline::Infinite());
    in_flight_ -= reaped;
    return reaped;
  }

  absl::Status Finish(const io::IoCompletion& completion) {
    const Buffer& buffer = buffers_[completion.user_data];
    picker_.Return(buffer.page);
    if (!completion.status.ok()) return completion.status;
    if (completion.transferred_bytes != stage_.options.page_bytes) {
      return absl::OutOfRangeError(absl::StrCat(stage_.page_file.path(), " ended within page ",
                                                buffer.page, ": it was made shorter meanwhile"));
    }
    if (stage_.ledger == nullptr) return absl::OkStatus();
    if (!buffer.is_write) return stage_.ledger->Check(buffer.page, buffer.bytes);
    stage_.ledger->Set(buffer.page, buffer.sequence);
    return absl::OkStatus();
  }

  // Takes in what is in flight at the end. The first error is the answer.
  absl::Status Drain() {
    absl::Status first_error;
    while (in_flight_ > 0) {
      const size_t reaped = Reap();
      for (size_t i = 0; i < reaped; ++i) first_error.Update(Finish(completions_[i]));
    }
    return first_error;
  }

  const Stage& stage_;
  PagePicker picker_;
  const size_t batch_;
  std::unique_ptr<io::IoEngine> engine_;
  io::FileHandle file_;
  std::vector<Buffer> buffers_;
  std::vector<io::IoRequest> requests_;
  std::vector<io::IoCompletion> completions_;
  size_t in_flight_ = 0;
  uint64_t writes_ = 0;
  LatencyHistogram latency_;
};

absl::Status EngineWorker::LearnInForce(InForce& in_force) const {
  const absl::StatusOr<io::EngineLevel> level = engine_->LevelOf(file_);
  if (!level.ok()) return level.status();
  LowerTo(engine_->Report(), *level, stage_.memory.arena->Report(), in_force);
  return absl::OkStatus();
}

absl::StatusOr<RunResult> ResultOf(const Stage& stage, const Interval& interval,
                                   const std::vector<std::unique_ptr<Worker>>& workers) {
  RunResult result;
  result.interval = interval;
  for (const auto& worker : workers) {
    const auto& engine_worker = static_cast<const EngineWorker&>(*worker);
    result.latency.Merge(engine_worker.latency());
    result.most_in_flight += engine_worker.most_in_flight();
    if (absl::Status status = engine_worker.LearnInForce(result.in_force); !status.ok()) {
      return status;
    }
  }
  result.operations = result.latency.count();
  // A ring that came later may have changed what all of them have.
  if (absl::Status status = CheckRequirement(stage.options, result.in_force); !status.ok()) {
    return status;
  }
  return result;
}

}  // namespace

absl::StatusOr<RunResult> RunEngine(const PageIoOptions& options, const PageFile& file,
                                    PageLedger* ledger) {
  absl::StatusOr<std::shared_ptr<io::File>> opened =
      OpenRunFile(options, /*read_only=*/options.operation == Operation::kRead);
  if (!opened.ok()) return opened.status();
  absl::StatusOr<PageMemory> memory =
      MakePageMemory(options, PagesInFlight(options) * options.page_bytes);
  if (!memory.ok()) return memory.status();

  const Stage stage{options, file, ledger, *memory, *std::move(opened)};
  std::vector<std::unique_ptr<Worker>> workers;
  for (uint32_t thread = 0; thread < options.threads; ++thread) {
    workers.push_back(std::make_unique<EngineWorker>(stage, thread));
  }
  absl::StatusOr<Interval> interval = RunTeam(workers, {.seconds = options.seconds});
  if (!interval.ok()) return interval.status();
  return ResultOf(stage, *interval, workers);
}

}  // namespace fixpool::benchmarks
