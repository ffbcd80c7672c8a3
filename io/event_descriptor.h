#ifndef FIXPOOL_IO_EVENT_DESCRIPTOR_H_
#define FIXPOOL_IO_EVENT_DESCRIPTOR_H_

#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

// A descriptor that poll(2), epoll(7) and their like find readable from Set() to Clear().
//
//   auto event = EventDescriptor::Create();
//   event->Set();                                  // any thread; once or often is the same
//   poll(... event->descriptor() ...);
//   event->Clear();                                // before looking at what it was set for
//
// Move-only. Set and Clear are thread-safe, and neither waits. Source: eventfd(2).
class EventDescriptor {
 public:
  // ResourceExhausted: no descriptors (RLIMIT_NOFILE).
  static absl::StatusOr<EventDescriptor> Create();
  EventDescriptor(EventDescriptor&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)) {}
  EventDescriptor& operator=(EventDescriptor&&) = delete;
  ~EventDescriptor();

  int descriptor() const { return descriptor_; }
  void Set();
  void Clear();

 private:
  explicit EventDescriptor(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

// A descriptor that is readable while any of some others is. Move-only. Source: epoll(7).
class DescriptorSet {
 public:
  // ResourceExhausted: no descriptors. Others: one of these cannot be polled.
  static absl::StatusOr<DescriptorSet> Create(absl::Span<const int> descriptors);
  DescriptorSet(DescriptorSet&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)) {}
  DescriptorSet& operator=(DescriptorSet&&) = delete;
  ~DescriptorSet();

  int descriptor() const { return descriptor_; }

 private:
  explicit DescriptorSet(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_EVENT_DESCRIPTOR_H_
