// A program that uses nothing but the lowest layer.

#include <cstdio>

#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/open_engine.h"
#include "fixpool/io/version.h"

int main() {
  const auto registry = fixpool::io::FixedBufferRegistry::Create({});
  const auto engine = registry.ok() ? fixpool::io::OpenEngine(registry->get(), {})
                                    : registry.status();
  if (!engine.ok()) return std::fprintf(stderr, "%s\n", engine.status().ToString().c_str()), 1;
  std::printf("fixpool %s\n", FIXPOOL_VERSION_STRING);
}
