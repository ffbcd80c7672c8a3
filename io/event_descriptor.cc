#include "fixpool/io/event_descriptor.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "fixpool/io/error.h"

namespace fixpool::io {

absl::StatusOr<EventDescriptor> EventDescriptor::Create() {
  const int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (descriptor < 0) return ErrnoStatus(errno, "eventfd (see RLIMIT_NOFILE)");
  return EventDescriptor(descriptor);
}

EventDescriptor::~EventDescriptor() {
  if (descriptor_ >= 0) close(descriptor_);
}

void EventDescriptor::Set() {
  const uint64_t one = 1;
  // Refused only if the counter is full, and then it is set.
  (void)!write(descriptor_, &one, sizeof one);
}

void EventDescriptor::Clear() {
  uint64_t count;
  (void)!read(descriptor_, &count, sizeof count);
}

absl::StatusOr<DescriptorSet> DescriptorSet::Create(absl::Span<const int> descriptors) {
  const int set = epoll_create1(EPOLL_CLOEXEC);
  if (set < 0) return ErrnoStatus(errno, "epoll_create1 (see RLIMIT_NOFILE)");
  DescriptorSet made(set);
  for (const int descriptor : descriptors) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = descriptor}};
    if (epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event) != 0) {
      return ErrnoStatus(errno, "epoll_ctl(EPOLL_CTL_ADD)");
    }
  }
  return made;
}

DescriptorSet::~DescriptorSet() {
  if (descriptor_ >= 0) close(descriptor_);
}

}  // namespace fixpool::io
