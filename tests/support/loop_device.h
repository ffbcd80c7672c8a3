#ifndef FIXPOOL_TESTS_SUPPORT_LOOP_DEVICE_H_
#define FIXPOOL_TESTS_SUPPORT_LOOP_DEVICE_H_

#include <cstdint>
#include <string>

namespace fixpool::tests {

// A block device over a file, until the end of the test, or of its process however that ends.
//
//   LoopDevice loop(scratch.MakeFile("backing", std::string(1 << 20, '\0')));
//   if (!loop.works()) GTEST_SKIP() << loop.why_not();
//   io::File::Open(loop.path());
//
// Needs root. Thread-compatible.
class LoopDevice {
 public:
  // With logical blocks of `block_bytes`: a power of two from 512 to 4096.
  explicit LoopDevice(const std::string& backing, uint32_t block_bytes = 512);
  ~LoopDevice();
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;

  bool works() const { return descriptor_ >= 0; }
  const std::string& why_not() const { return why_not_; }
  const std::string& path() const { return path_; }

 private:
  // 0 or the errno.
  int Bind(const std::string& path, int backing, uint32_t block_bytes);

  std::string path_;
  std::string why_not_;
  int descriptor_ = -1;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_LOOP_DEVICE_H_
