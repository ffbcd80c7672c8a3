#include "fixpool/storage/log_order.h"

#include "absl/strings/str_cat.h"

namespace fixpool::storage {
namespace {

constexpr int64_t kFirstPauseNs = 10'000'000;
constexpr int64_t kLongestPauseNs = 1'000'000'000;

thread_local bool t_in_hook = false;

}  // namespace

bool LogOrder::BeginCall() {
  if (called_) return false;
  called_ = true;
  return true;
}

void LogOrder::EndCall(Lsn lsn, const absl::Status& status, int64_t now_ns) {
  called_ = false;
  error_ = status;
  if (status.ok()) {
    if (ToInt(lsn) > durable_.load(std::memory_order_relaxed)) {
      durable_.store(ToInt(lsn), std::memory_order_release);
    }
    pause_ns_ = 0;
    retry_at_ns_ = 0;
    return;
  }
  pause_ns_ = std::clamp(pause_ns_ * 2, kFirstPauseNs, kLongestPauseNs);
  retry_at_ns_ = now_ns + pause_ns_;
}

absl::Status LogOrder::Call(Lsn lsn) {
  t_in_hook = true;
  absl::Status status = log_->EnsureDurable(lsn);
  t_in_hook = false;
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("the log is not durable up to LSN ", ToInt(lsn),
                                                  ": ", status.message()));
}

bool LogOrder::InHook() { return t_in_hook; }

}  // namespace fixpool::storage
