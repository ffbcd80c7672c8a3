#include "fixpool/io/check.h"

#include <cstdio>
#include <cstdlib>

namespace fixpool::io {

void CheckFailed(const char* file, int line, const char* condition, absl::string_view message) {
  std::fprintf(stderr, "fixpool: %s:%d: CHECK(%s) failed: %.*s\n", file, line, condition,
               static_cast<int>(message.size()), message.data());
  std::abort();
}

}  // namespace fixpool::io
