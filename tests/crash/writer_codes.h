#ifndef FIXPOOL_TESTS_CRASH_WRITER_CODES_H_
#define FIXPOOL_TESTS_CRASH_WRITER_CODES_H_

#include <cstdint>

namespace fixpool::tests {

// Transactions that a writer may have made durable and not acknowledged yet.
inline constexpr uint64_t kMostUnacknowledged = 8;

// How crash_writer ends, for those who started it.
enum WriterCode : int {
  kWriterDone = 0,        // verified; or, of a run, told to stop
  kWriterFoundWrong = 1,  // something that no crash explains
  kWriterUsage = 2,
  kWriterStorageFailed = 3,  // the file system failed, and it stopped acknowledging
  kWriterStuck = 5,          // the cache kept it waiting until its deadline
  kWriterCannotMutate = 4,   // a mutation was asked for in a build without them
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_WRITER_CODES_H_
