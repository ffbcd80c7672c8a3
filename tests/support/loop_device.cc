#include "tests/support/loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace fixpool::tests {

LoopDevice::LoopDevice(const std::string& backing, uint32_t block_bytes) {
  const int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  const int file = open(backing.c_str(), O_RDWR | O_CLOEXEC);
  int error = control < 0 || file < 0 ? errno : EBUSY;
  // Between being told of a free one and taking it, others may.
  for (int tries = 0; error == EBUSY && tries < 8; ++tries) {
    const int number = ioctl(control, LOOP_CTL_GET_FREE);
    error = number < 0 ? errno : Bind("/dev/loop" + std::to_string(number), file, block_bytes);
  }
  if (error != 0) why_not_ = std::string("no loop device to be had: ") + std::strerror(error);
  if (file >= 0) close(file);
  if (control >= 0) close(control);
}

int LoopDevice::Bind(const std::string& path, int backing, uint32_t block_bytes) {
  const int device = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (device < 0) return errno;
  loop_config config{};
  config.fd = static_cast<__u32>(backing);
  config.block_size = block_bytes;
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;  // goes with its last descriptor
  if (ioctl(device, LOOP_CONFIGURE, &config) != 0) {
    const int error = errno;
    close(device);
    return error;
  }
  path_ = path;
  descriptor_ = device;
  return 0;
}

LoopDevice::~LoopDevice() {
  if (descriptor_ >= 0) close(descriptor_);
}

}  // namespace fixpool::tests
