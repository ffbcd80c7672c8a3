// Engines that are waited for with poll(2).

#include <poll.h>
#include <sys/resource.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fixpool/io/event_descriptor.h"
#include "gtest/gtest.h"
#include "tests/io/engine_kinds.h"
#include "tests/support/child_process.h"
#include "tests/support/scratch.h"

namespace fixpool::tests {
namespace {

// Whether it is readable, now or (with a time) soon.
bool IsReadable(int descriptor, int timeout_ms = 0) {
  pollfd polled{.fd = descriptor, .events = POLLIN, .revents = 0};
  return poll(&polled, 1, timeout_ms) == 1;
}
constexpr int kPatience = 60'000;

TEST(EventDescriptorTest, IsReadableFromSetToClear) {
  absl::StatusOr<io::EventDescriptor> event = io::EventDescriptor::Create();
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_FALSE(IsReadable(event->descriptor()));
  event->Set();
  event->Set();
  EXPECT_TRUE(IsReadable(event->descriptor()));
  event->Clear();
  EXPECT_FALSE(IsReadable(event->descriptor()));
  event->Clear();  // of one that is not set, it does not wait
}

TEST(DescriptorSetTest, IsReadableWhileAnyOfThemIs) {
  io::EventDescriptor a = *io::EventDescriptor::Create();
  io::EventDescriptor b = *io::EventDescriptor::Create();
  absl::StatusOr<io::DescriptorSet> set =
      io::DescriptorSet::Create({a.descriptor(), b.descriptor()});
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_FALSE(IsReadable(set->descriptor()));
  b.Set();
  EXPECT_TRUE(IsReadable(set->descriptor()));
  a.Set();
  b.Clear();
  EXPECT_TRUE(IsReadable(set->descriptor()));
  a.Clear();
  EXPECT_FALSE(IsReadable(set->descriptor()));
}

TEST(DescriptorSetTest, WhatCannotBePolledIsAnError) {
  EXPECT_FALSE(io::DescriptorSet::Create({-1}).ok());
}

TEST(DescriptorSetTest, NoDescriptorsLeftIsAnError) {
  FIXPOOL_IN_CHILD([]() -> std::string {
    const rlimit none{.rlim_cur = 0, .rlim_max = 0};
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) return "setrlimit(RLIMIT_NOFILE) is refused";
    for (const absl::Status& status :
         {io::EventDescriptor::Create().status(), io::DescriptorSet::Create({}).status()}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
      EXPECT_NE(status.message().find("RLIMIT_NOFILE"), std::string::npos) << status;
    }
    return std::string();
  });
}

class CompletionDescriptorTest : public EngineKindTest {
 protected:
  static constexpr uint32_t kRequests = 8;

  void SetUp() override {
    EngineKindTest::SetUp();
    if (IsSkipped()) return;
    file_ = Add(OpenNew("data", PatternBytes(3, kRequests * kPage)));
  }
  int Descriptor() {
    const absl::StatusOr<int> descriptor = engine_->CompletionDescriptor();
    EXPECT_TRUE(descriptor.ok()) << descriptor.status();
    return descriptor.value_or(-1);
  }
  void SubmitReads(const io::Registration& region) {
    std::vector<io::IoRequest> reads;
    for (uint32_t i = 0; i < kRequests; ++i) {
      reads.push_back(Read(file_, region.id(), memory_.at(i * kPage), kPage, i * kPage, i));
    }
    SubmitAll(reads);
  }

  ScratchMemory memory_{kRequests * kPage};
  io::FileHandle file_;
};
INSTANTIATE_TEST_SUITE_P(AllKinds, CompletionDescriptorTest, AllEngineKinds(), EngineKindName);

TEST_P(CompletionDescriptorTest, IsReadableWhileThereIsSomethingToReap) {
  const io::Registration region = Register(memory_);
  const int descriptor = Descriptor();
  EXPECT_EQ(Descriptor(), descriptor) << "there is one";
  EXPECT_FALSE(IsReadable(descriptor));
  for (int round = 0; round < 20; ++round) {
    SubmitReads(region);
    // One at a time: what is left makes it readable again, wherever the engine keeps it.
    for (uint32_t reaped = 0; reaped < kRequests;) {
      ASSERT_TRUE(IsReadable(descriptor, kPatience)) << reaped;
      io::IoCompletion completion;
      reaped += static_cast<uint32_t>(
          engine_->Reap(absl::MakeSpan(&completion, 1), io::Deadline::Past()));
    }
    EXPECT_EQ(engine_->in_flight(), 0u);
    EXPECT_FALSE(IsReadable(descriptor));
  }
}

// What came before anybody asked for a descriptor, and was taken in on behalf of somebody else.
TEST_P(CompletionDescriptorTest, TellsOfWhatHasCompletedBefore) {
  const io::Registration region = Register(memory_);
  SubmitReads(region);
  ASSERT_TRUE(engine_->RemoveFile(file_, Eventually()).ok());  // waits for them
  const int descriptor = Descriptor();
  EXPECT_TRUE(IsReadable(descriptor));
  EXPECT_EQ(ReapCount(kRequests).size(), kRequests);
  EXPECT_FALSE(IsReadable(descriptor));
}

TEST_P(CompletionDescriptorTest, IsRefusedInAForkedChild) {
  const ChildResult result = RunInChild([&]() -> std::string {
    EXPECT_TRUE(absl::IsFailedPrecondition(engine_->CompletionDescriptor().status()));
    return std::string();
  });
  EXPECT_EQ(result.outcome, ChildResult::Outcome::kPassed) << result.reason;
}

}  // namespace
}  // namespace fixpool::tests
