#include "benchmarks/storage/hit_pages.h"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "benchmarks/memory_need.h"
#include "benchmarks/support/bench_scale.h"

namespace fixpool::benchmarks {

using storage::PageCache;
using storage::PageHint;

absl::StatusOr<std::unique_ptr<HitPages>> HitPages::Make(uint32_t count) {
  const uint64_t wanted_bytes = uint64_t{count} * (kPageBytes + 64);
  if (const uint64_t available = AvailableBytes(); wanted_bytes > available / 10 * 9) {
    return absl::ResourceExhaustedError(absl::StrCat(count, " pages take ", wanted_bytes >> 20,
                                                     " MiB, of ", available >> 20, " available"));
  }
  auto pages = std::make_unique<HitPages>();
  auto cache = PageCache::Create({.memory_bytes = size_t{count} * kPageBytes, .free_frames = 0});
  if (!cache.ok()) return cache.status();
  pages->cache_ = *std::move(cache);
  for (uint32_t i = 0; i < kFiles; ++i) {
    const std::string path = absl::StrCat(BenchDirectory(), "/hit_benchmark.", i);
    const auto file = pages->cache_->OpenFile(path, {.create = true});
    if (!file.ok()) return file.status();
    pages->files_.push_back(*file);
    std::remove(path.c_str());
  }
  if (absl::Status status = pages->Fill(count); !status.ok()) return status;
  if (absl::Status status = pages->AddShortcuts(); !status.ok()) return status;
  return pages;
}

HitPages::~HitPages() {
  for (const storage::FileId file : files_) {
    (void)cache_->CloseFile(file, {.discard_changes = true});
  }
}

absl::Status HitPages::Fill(uint32_t count) {
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  std::vector<uint32_t> next(count);
  for (uint32_t i = 0; i < count; ++i) next[order[i]] = order[(i + 1) % count];
  // In the order of page numbers, so that the chain goes back and forth in memory as well.
  for (uint32_t page = 0; page < count; ++page) {
    auto guard = cache_->Make(IdOf(page));
    if (!guard.ok()) return guard.status();
    const Link link{.next = next[page], .unused = 0};
    std::memcpy(guard->mutable_bytes().data(), &link, sizeof link);
    array_.push_back(guard->bytes().data());
  }
  count_ = count;
  return absl::OkStatus();
}

absl::Status HitPages::AddShortcuts() {
  for (uint32_t page = 0; page < count_; ++page) {
    const uint32_t next = NextOf(array_[page]);
    const PageHint hint = HintOf(next);
    auto guard = cache_->Write(IdOf(page));
    if (!guard.ok()) return guard.status();
    std::memcpy(guard->mutable_bytes().data() + kPointerAt, &array_[next], sizeof array_[next]);
    std::memcpy(guard->mutable_bytes().data() + kHintAt, &hint, sizeof hint);
  }
  return absl::OkStatus();
}

}  // namespace fixpool::benchmarks
