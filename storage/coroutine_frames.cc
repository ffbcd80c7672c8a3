#include "fixpool/storage/coroutine_frames.h"

#include <limits>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/io/sanitizer.h"

namespace fixpool::storage {
namespace {

// Frames that different threads use share no cache line.
constexpr size_t kLineBytes = 64;

struct Refusal {
  size_t size_bytes = 0;  // 0: there was none
  size_t frame_bytes = 0;
  size_t frame_count = 0;
};
constinit thread_local Refusal last_refusal;

}  // namespace

void CoroutineFrames::MemoryDeleter::operator()(std::byte* memory) const {
  ::operator delete(memory, std::align_val_t(kLineBytes));
}

absl::StatusOr<std::unique_ptr<CoroutineFrames>> CoroutineFrames::Create(Options options) {
  if (options.frame_count == 0 || options.frame_count >= kNone) {
    return absl::InvalidArgumentError(
        absl::StrCat("frame_count is ", options.frame_count, ": at least 1, below ", kNone));
  }
  constexpr size_t kMostBytes = std::numeric_limits<ptrdiff_t>::max();
  if (options.frame_bytes == 0 ||
      options.frame_bytes > kMostBytes / options.frame_count - sizeof(Header) - kLineBytes) {
    return absl::InvalidArgumentError(absl::StrCat("frame_bytes is ", options.frame_bytes,
                                                   ": at least 1, and ", options.frame_count,
                                                   " frames of it within ", kMostBytes, " bytes"));
  }
  const size_t stride_bytes =
      (sizeof(Header) + options.frame_bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
  Memory memory(static_cast<std::byte*>(::operator new(
      stride_bytes* options.frame_count, std::align_val_t(kLineBytes), std::nothrow)));
  std::unique_ptr<std::atomic<uint32_t>[]> next(new (std::nothrow)
                                                    std::atomic<uint32_t>[options.frame_count]);
  if (memory == nullptr || next == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for ", options.frame_count,
                                                     " coroutine frames of ", options.frame_bytes,
                                                     " bytes: ask for fewer"));
  }
  return std::unique_ptr<CoroutineFrames>(
      new CoroutineFrames(options, stride_bytes, std::move(memory), std::move(next)));
}

CoroutineFrames::CoroutineFrames(Options options, size_t stride_bytes, Memory memory,
                                 std::unique_ptr<std::atomic<uint32_t>[]> next)
    : frame_count_(options.frame_count),
      frame_bytes_(options.frame_bytes),
      stride_bytes_(stride_bytes),
      memory_(std::move(memory)),
      next_(std::move(next)),
      head_(0) {
  for (size_t index = 0; index < frame_count_; ++index) {
    const bool is_last = index + 1 == frame_count_;
    next_[index].store(is_last ? kNone : static_cast<uint32_t>(index + 1),
                       std::memory_order_relaxed);
  }
  io::sanitizer::Poison(memory_.get(), stride_bytes_ * frame_count_);
}

CoroutineFrames::~CoroutineFrames() {
  const size_t alive = frame_count_ - CountFree();
  FIXPOOL_CHECK(alive == 0, absl::StrCat(alive, " tasks outlive the CoroutineFrames they are in"));
  io::sanitizer::Unpoison(memory_.get(), stride_bytes_ * frame_count_);
}

void* CoroutineFrames::Allocate(size_t size_bytes) noexcept {
  uint64_t head = head_.load(std::memory_order_acquire);
  while (true) {
    const uint32_t index = static_cast<uint32_t>(head);
    if (size_bytes > frame_bytes_ || index == kNone) {
      last_refusal = {size_bytes, frame_bytes_, frame_count_};
      return nullptr;
    }
    const uint64_t taken = (head >> 32) + 1;
    const uint64_t rest = (taken << 32) | next_[index].load(std::memory_order_relaxed);
    if (!head_.compare_exchange_weak(head, rest, std::memory_order_acquire)) continue;
    Header* header = HeaderOf(index);
    io::sanitizer::Unpoison(header, sizeof(Header) + size_bytes);
    *header = {this, index};
    return header + 1;
  }
}

void CoroutineFrames::Free(void* frame) noexcept {
  Header* header = static_cast<Header*>(frame) - 1;
  CoroutineFrames* owner = header->owner;
  const uint32_t index = header->index;
  io::sanitizer::Poison(header, owner->stride_bytes_);
  owner->Push(index);
}

void CoroutineFrames::Push(uint32_t index) {
  uint64_t head = head_.load(std::memory_order_relaxed);
  uint64_t with_it;
  do {
    next_[index].store(static_cast<uint32_t>(head), std::memory_order_relaxed);
    with_it = (head >> 32 << 32) | index;
  } while (!head_.compare_exchange_weak(head, with_it, std::memory_order_release,
                                        std::memory_order_relaxed));
}

absl::Status CoroutineFrames::LastRefusal() {
  const Refusal& refusal = last_refusal;
  if (refusal.size_bytes == 0) return absl::OkStatus();
  if (refusal.size_bytes > refusal.frame_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the coroutine's frame is ", refusal.size_bytes,
                     " bytes, and CoroutineFrames has frames of ", refusal.frame_bytes,
                     ": raise Options::frame_bytes, or keep large locals elsewhere"));
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "all ", refusal.frame_count, " coroutine frames are in use (wanted: ", refusal.size_bytes,
      " bytes, limit: ", refusal.frame_bytes,
      "): raise Options::frame_count, or keep fewer tasks in flight"));
}

size_t CoroutineFrames::CountFree() const {
  size_t count = 0;
  uint32_t index = static_cast<uint32_t>(head_.load(std::memory_order_acquire));
  for (; index != kNone && count < frame_count_; ++count) {
    index = next_[index].load(std::memory_order_relaxed);
  }
  return count;
}

CoroutineFrames::Header* CoroutineFrames::HeaderOf(uint32_t index) const {
  return reinterpret_cast<Header*>(memory_.get() + stride_bytes_ * index);
}

}  // namespace fixpool::storage
