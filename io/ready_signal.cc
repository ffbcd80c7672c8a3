#include "fixpool/io/ready_signal.h"

#include <utility>

namespace fixpool::io {

absl::StatusOr<int> ReadySignal::Descriptor(int ring, bool ready) {
  if (!event_.has_value()) {
    absl::StatusOr<EventDescriptor> event = EventDescriptor::Create();
    if (!event.ok()) return event.status();
    if (ring >= 0) {
      absl::StatusOr<DescriptorSet> set = DescriptorSet::Create({event->descriptor(), ring});
      if (!set.ok()) return set.status();
      with_ring_.emplace(*std::move(set));
    }
    event_.emplace(*std::move(event));
    Update(ready);
  }
  return with_ring_.has_value() ? with_ring_->descriptor() : event_->descriptor();
}

void ReadySignal::Update(bool ready) {
  if (!event_.has_value() || ready == set_) return;
  set_ = ready;
  ready ? event_->Set() : event_->Clear();
}

}  // namespace fixpool::io
