#ifndef FIXPOOL_IO_READY_SIGNAL_H_
#define FIXPOOL_IO_READY_SIGNAL_H_

#include <optional>

#include "absl/status/statusor.h"
#include "fixpool/io/event_descriptor.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

// What an engine has for who waits with poll(2): readable while completions are there that nobody
// has taken, in the engine or in its ring. Nothing until it is asked for the first time, so that an
// engine whose users wait in Reap does not make system calls for it.
// Guarded by the engine's lock.
class ReadySignal {
 public:
  // `ring`: a descriptor that is readable while the kernel has completions; -1: there is none.
  // Errors: as DescriptorSet::Create.
  absl::StatusOr<int> Descriptor(int ring, bool ready);
  // Whether the engine has completions now. To be told before the lock is given back.
  void Update(bool ready);

 private:
  std::optional<EventDescriptor> event_;
  std::optional<DescriptorSet> with_ring_;
  bool set_ = false;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_READY_SIGNAL_H_
