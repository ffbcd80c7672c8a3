#include "fixpool/io/memlock.h"

#include <sys/resource.h>

#include "absl/strings/str_cat.h"

namespace fixpool::io {

std::string MemlockAdvice(size_t wanted_bytes) {
  rlimit limit{};
  std::string current = "unknown";
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
    current = limit.rlim_cur == RLIM_INFINITY ? "unlimited" : absl::StrCat(limit.rlim_cur);
  }
  return absl::StrCat("wanted ", wanted_bytes,
                      " bytes of locked memory, RLIMIT_MEMLOCK is ", current,
                      " for all processes of this user; raise it (ulimit -l, LimitMEMLOCK= of "
                      "systemd) or give the process CAP_IPC_LOCK");
}

}  // namespace fixpool::io
