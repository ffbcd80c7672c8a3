// A program that uses the whole library: a page through the cache and back.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "fixpool/io/version.h"
#include "fixpool/storage/page_cache.h"

int main() {
  char path[] = "/var/tmp/fixpool_consumer.XXXXXX";
  const int descriptor = mkstemp(path);
  if (descriptor < 0) return std::perror(path), 1;
  close(descriptor);
  absl::Status status;
  {
    auto cache = fixpool::storage::PageCache::Create({.memory_bytes = size_t{1} << 20});
    status = cache.status();
    if (cache.ok()) {
      const auto file = (*cache)->OpenFile(path, {});
      status = file.ok() ? (*cache)->Make({*file, 0}).status() : file.status();
      if (file.ok()) status.Update((*cache)->CloseFile(*file));
    }
  }
  std::remove(path);
  if (!status.ok()) return std::fprintf(stderr, "%s\n", status.ToString().c_str()), 1;
  std::printf("fixpool %s\n", FIXPOOL_VERSION_STRING);
}
