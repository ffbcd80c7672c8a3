#include "benchmarks/cache_replay.h"

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "benchmarks/trace_turns.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/open_engine.h"
#include "fixpool/storage/page_cache.h"

namespace fixpool::benchmarks {
namespace {

using storage::FileId;
using storage::PageCache;

constexpr uint64_t kPageBytes = 4096;

// A file of holes, that its caller removes.
absl::StatusOr<std::string> MakeSparseFile(const std::string& directory, uint64_t size_bytes) {
  std::string path = absl::StrCat(directory, "/trace_replay.XXXXXX");
  const int descriptor = mkstemp(path.data());
  if (descriptor < 0) {
    return io::ErrnoStatus(errno, absl::StrCat("a file in ", directory, " (see --dir)"));
  }
  const absl::Cleanup close_it = [descriptor] { close(descriptor); };
  if (ftruncate(descriptor, static_cast<off_t>(size_bytes)) == 0) return path;
  const int error = errno;
  unlink(path.c_str());
  return io::ErrnoStatus(error, absl::StrCat("ftruncate of ", path));
}

// One thread's part.
class Replayer {
 public:
  Replayer(PageCache* cache, FileId file) : cache_(cache), file_(file) {}

  void Visit(uint32_t record) {
    if (!error_.ok()) return;
    const uint64_t page = PageTrace::IndexOf(record);
    if (PageTrace::IsWrite(record)) {
      std::optional<storage::WriteGuard> guard = cache_->TryWrite({file_, page});
      if (!guard.has_value()) return;
      (void)guard->mutable_bytes();
      return;
    }
    ++references_;
    error_ = cache_->Read({file_, page}).status();
  }

  uint64_t references() const { return references_; }
  const absl::Status& error() const { return error_; }

 private:
  PageCache* cache_;
  FileId file_;
  uint64_t references_ = 0;
  absl::Status error_;
};

}  // namespace

absl::StatusOr<CacheReplay> ReplayThroughCache(const PageTrace& trace, storage::PolicyKind policy,
                                               uint32_t frames, uint32_t threads,
                                               const std::string& directory) {
  auto registry = io::FixedBufferRegistry::Create({});
  if (!registry.ok()) return registry.status();
  auto engine = io::OpenEngine(registry->get(), {});
  if (!engine.ok()) return engine.status();
  auto arena = arena::PageArena::Create(registry->get(), {.size_bytes = frames * kPageBytes});
  if (!arena.ok()) return arena.status();
  // What is counted is what the policy is to blame for: read-ahead would take the misses of scans.
  auto cache = PageCache::Create(
      arena->get(), engine->get(),
      {.frame_count = frames, .policy = policy, .free_frames = 0, .read_ahead_bytes = 0});
  if (!cache.ok()) return cache.status();
  const absl::StatusOr<std::string> path =
      MakeSparseFile(directory, trace.distinct_pages() * kPageBytes);
  if (!path.ok()) return path.status();
  const absl::Cleanup remove_it = [&path] { unlink(path->c_str()); };
  const absl::StatusOr<FileId> file = (*cache)->OpenFile(*path);
  if (!file.ok()) return file.status();

  std::vector<Replayer> replayers(threads, Replayer(cache->get(), *file));
  CacheReplay replay;
  replay.seconds = VisitInTurns(
      trace, threads, [&](uint32_t thread, uint32_t record) { replayers[thread].Visit(record); });
  for (const Replayer& replayer : replayers) {
    if (!replayer.error().ok()) return replayer.error();
    replay.references += replayer.references();
  }
  const storage::CacheStats stats = (*cache)->Stats();
  replay.misses = stats.misses;
  replay.evictions = stats.evictions;
  replay.page_writes = stats.eviction_writes;
  const absl::Status closed = (*cache)->CloseFile(*file, {.discard_changes = true});
  if (!closed.ok()) return closed;
  return replay;
}

}  // namespace fixpool::benchmarks
