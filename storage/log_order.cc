#include "fixpool/storage/log_order.h"

#include "absl/strings/str_cat.h"

namespace fixpool::storage {
namespace {

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
    pause_.End();
    return;
  }
  pause_.Lengthen(now_ns);
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
