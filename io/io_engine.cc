#include "fixpool/io/io_engine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"

namespace fixpool::io {

absl::string_view EngineLevelName(EngineLevel level) {
  switch (level) {
    case EngineLevel::kUringFixed:
      return "uring_fixed";
    case EngineLevel::kUringPlain:
      return "uring_plain";
    case EngineLevel::kThreads:
      return "threads";
  }
  return "invalid";
}

std::string EngineReport::ToString() const {
  absl::string_view how;
  switch (level) {
    case EngineLevel::kUringFixed:
      how = "io_uring with fixed buffers";
      break;
    case EngineLevel::kUringPlain:
      how = "io_uring without fixed buffers";
      break;
    case EngineLevel::kThreads:
      how = "pread and pwrite on a pool of threads";
      break;
  }
  const std::pair<absl::string_view, const RingExtraReport*> extras[] = {
      {"sqpoll", &sqpoll}, {"iopoll", &iopoll}, {"registered_ring", &registered_ring}};
  std::string text = absl::StrCat("io: ", how, ", depth ", depth);
  for (const auto& [name, extra] : extras) {
    if (extra->in_force) absl::StrAppend(&text, ", ", name);
  }
  if (downgrade_errno != 0 || !downgrade_reason.empty()) {
    absl::StrAppend(&text, " (no better: ", downgrade_reason, ")");
  }
  for (const auto& [name, extra] : extras) {
    if (extra->asked && !extra->in_force) {
      absl::StrAppend(&text, " (no ", name, ": ", extra->reason, ")");
    }
  }
  if (joined_fixed.asked && !joined_fixed.in_force) {
    absl::StrAppend(&text, " (joined transfers without fixed buffers: ", joined_fixed.reason, ")");
  }
  return text;
}

absl::StatusOr<int> IoEngine::CompletionDescriptor() {
  return absl::UnimplementedError("this engine has no descriptor to be polled");
}

EngineReport RefusedReport(const absl::Status& refusal) {
  EngineReport report;
  report.downgrade_reason = std::string(refusal.message());
  return report;
}

}  // namespace fixpool::io
