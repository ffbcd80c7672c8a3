#ifndef FIXPOOL_TESTS_SUPPORT_RECORDING_ENVIRONMENT_H_
#define FIXPOOL_TESTS_SUPPORT_RECORDING_ENVIRONMENT_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/mutex.h"

namespace fixpool::tests {

// The real clock and the real kernel, and a memory for everything that was reported.
//
//   RecordingEnvironment environment;
//   ... {.environment = &environment} ...
//   EXPECT_TRUE(environment.Heard(io::Severity::kError, "leaked on purpose"));
//
// Thread-safe.
class RecordingEnvironment final : public io::Environment {
 public:
  int64_t NowNs() override { return real_->NowNs(); }
  void Wait(const std::atomic<uint32_t>& word, uint32_t expected, io::Deadline deadline) override {
    real_->Wait(word, expected, deadline);
  }
  void Wake(const std::atomic<uint32_t>& word) override { real_->Wake(word); }
  uint64_t Random() override { return real_->Random(); }

  void Report(io::Severity severity, absl::string_view message) override {
    io::MutexLock lock(mutex_);
    messages_.emplace_back(severity, std::string(message));
  }

  // Whether a message of exactly this severity contained `part`.
  bool Heard(io::Severity severity, absl::string_view part) const {
    io::MutexLock lock(mutex_);
    for (const auto& [its_severity, message] : messages_) {
      if (its_severity == severity && absl::StrContains(message, part)) return true;
    }
    return false;
  }

  size_t message_count() const {
    io::MutexLock lock(mutex_);
    return messages_.size();
  }

  // All messages, one a line, for the output of a failed test.
  std::string Transcript() const {
    io::MutexLock lock(mutex_);
    std::string text;
    for (const auto& [severity, message] : messages_) text += message + "\n";
    return text;
  }

 private:
  io::Environment* const real_ = io::Environment::Default();
  mutable io::Mutex mutex_;
  std::vector<std::pair<io::Severity, std::string>> messages_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_RECORDING_ENVIRONMENT_H_
