// What ThreadSanitizer has to be told of the writer.

#include "fixpool/io/sanitizer.h"

#ifdef FIXPOOL_INTERNAL_TSAN
// A Status with a message is counted by an atomic. Debian's Abseil, in which the count is lowered,
// is not instrumented, so what one thread's last look at it has to do with another's freeing it is
// not seen. The writer's threads are told of the same failed transfer all the time.
extern "C" const char* __tsan_default_suppressions() { return "race:absl/status/status.h\n"; }
#endif
