#ifndef FIXPOOL_BENCHMARKS_SUPPORT_PROCESS_CPU_H_
#define FIXPOOL_BENCHMARKS_SUPPORT_PROCESS_CPU_H_

#include <sys/resource.h>

#include <cstdint>

namespace fixpool::benchmarks {

// CPU time that this process has used so far, user and system, of all its threads and of the
// kernel's workers that act for it; nanoseconds. Thread-safe.
inline int64_t ProcessCpuNs() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto ns = [](const timeval& time) {
    return time.tv_sec * int64_t{1'000'000'000} + time.tv_usec * int64_t{1'000};
  };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_SUPPORT_PROCESS_CPU_H_
