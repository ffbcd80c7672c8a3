// The smallest program that uses Fixpool: writes a greeting into a page of a file, through
// a registered buffer, and reads it back.
#include <algorithm>
#include <iostream>
#include <span>
#include <string>

#include "fixpool/storage/page_cache.h"

using fixpool::storage::PageCache;

absl::Status Run(const std::string& path) {
  auto cache = PageCache::Create({.memory_bytes = 64 << 20});
  if (!cache.ok()) return cache.status();
  auto file = (*cache)->OpenFile(path, {.create = true});
  if (!file.ok()) return file.status();
  {
    auto page = (*cache)->Write({*file, 42});
    if (!page.ok()) return page.status();
    std::ranges::copy(std::as_bytes(std::span("hello, page 42")), page->mutable_bytes().begin());
  }
  if (auto flushed = (*cache)->Flush(*file); !flushed.ok()) return flushed;
  auto page = (*cache)->Read({*file, 42});
  if (!page.ok()) return page.status();
  std::cout << reinterpret_cast<const char*>(page->bytes().data()) << '\n'
            << (*cache)->Describe() << '\n';
  return absl::OkStatus();
}

int main(int, char** argv) {
  absl::Status status = Run(argv[1] != nullptr ? argv[1] : "first.db");
  if (!status.ok()) std::cerr << status << '\n';
  return status.ok() ? 0 : 1;
}
