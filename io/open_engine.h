#ifndef FIXPOOL_IO_OPEN_ENGINE_H_
#define FIXPOOL_IO_OPEN_ENGINE_H_

#include "fixpool/io/require_cpp20.h"

#include <memory>

#include "absl/status/statusor.h"
#include "fixpool/io/engine_options.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"

namespace fixpool::io {

// Opens the best engine that really works here: sets it up, registers a page, reads a file
// through it, and looks at what came back; if that fails, goes one level down and remembers
// why (EngineReport::downgrade_errno). The engine is attached to `registry`, which must
// outlive it; its environment is the registry's.
//
// Each extra that is asked for (RingExtra) is tried the same way; one that does not work is left
// out and reported, or, if required, the error.
//
// InvalidArgument: an option out of its range. Unimplemented: the required level or extra does
// not work here, with the errno as payload and what to do about it. ResourceExhausted: as
// Unimplemented, where RLIMIT_MEMLOCK was the reason. FailedPrecondition: the registry is from
// before a fork, and this is the child.
// Thread-safe.
absl::StatusOr<std::unique_ptr<IoEngine>> OpenEngine(FixedBufferRegistry* registry,
                                                     EngineOptions options);
inline absl::StatusOr<std::unique_ptr<IoEngine>> OpenEngine(FixedBufferRegistry* registry) {
  return OpenEngine(registry, EngineOptions());
}

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_OPEN_ENGINE_H_
