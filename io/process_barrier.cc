#include "fixpool/io/process_barrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fixpool/io/sanitizer.h"

namespace fixpool::io {
namespace {

bool Membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0) == 0; }

}  // namespace

bool ProcessBarrier::Register() {
#ifdef FIXPOOL_INTERNAL_TSAN
  return false;
#else
  return Membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
#endif
}

bool ProcessBarrier::Run() { return Membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED); }

}  // namespace fixpool::io
