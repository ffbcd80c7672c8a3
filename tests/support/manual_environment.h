#ifndef FIXPOOL_TESTS_SUPPORT_MANUAL_ENVIRONMENT_H_
#define FIXPOOL_TESTS_SUPPORT_MANUAL_ENVIRONMENT_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "fixpool/io/check.h"
#include "fixpool/io/environment.h"

namespace fixpool::tests {

// A world with one thread, in which time passes only while that thread waits, and then at
// once: a test of deadlines takes no time and always ends the same way.
//
//   ManualEnvironment environment;
//   ... Read(page, {.timeout = absl::Hours(1)}) ...      // returns at once
//   EXPECT_EQ(environment.NowNs(), 3600'000'000'000);
//
// A wait without a deadline, which nobody could end, is a CHECK. Thread-compatible.
class ManualEnvironment final : public io::Environment {
 public:
  int64_t NowNs() override { return now_ns_; }

  void Wait(const std::atomic<uint32_t>& word, uint32_t expected, io::Deadline deadline) override {
    if (word.load() != expected) return;
    FIXPOOL_CHECK(!deadline.is_infinite(), "the only thread of this test waits for ever");
    // Twice is the same moment over again only if the caller does not look at the clock.
    FIXPOOL_CHECK(++waits_ < kTooManyWaits, "this test spins");
    now_ns_ = std::max(now_ns_, deadline.ns());
  }
  void Wake(const std::atomic<uint32_t>&) override {}
  uint64_t Random() override { return ++random_ * 0x9e3779b97f4a7c15u; }
  void Report(io::Severity severity, absl::string_view message) override {
    (severity == io::Severity::kError ? errors_ : others_).emplace_back(message);
  }

  void Advance(int64_t ns) { now_ns_ += ns; }
  uint64_t waits() const { return waits_; }
  const std::vector<std::string>& errors() const { return errors_; }
  bool Heard(absl::string_view part) const {
    const auto has = [part](const std::string& message) {
      return absl::StrContains(message, part);
    };
    return std::any_of(errors_.begin(), errors_.end(), has) ||
           std::any_of(others_.begin(), others_.end(), has);
  }

 private:
  static constexpr uint64_t kTooManyWaits = 1'000'000;

  int64_t now_ns_ = 1'000'000'000;
  uint64_t waits_ = 0;
  uint64_t random_ = 0;
  std::vector<std::string> errors_;
  std::vector<std::string> others_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_MANUAL_ENVIRONMENT_H_
