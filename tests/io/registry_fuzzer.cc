// libFuzzer's entry: any bytes are a history of a FixedBufferRegistry.
//
//   ./run fuzz --seconds=60

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "tests/io/registry_history.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  // What a FakeBufferTable expects is not part of a test here, and must end the run.
  ::testing::GTEST_FLAG(break_on_failure) = true;
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fixpool::tests::Choices choices({data, size});
  fixpool::tests::RegistryHistory history;
  const std::string disagreement = history.Run(choices);
  if (!disagreement.empty()) {
    std::fprintf(stderr, "registry and model disagree: %s\n", disagreement.c_str());
    std::abort();
  }
  return 0;
}
