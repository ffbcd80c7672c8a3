// What it costs to move pages between a file and memory, with each kind of engine, page size,
// number of requests in flight and kind of memory.
//
//   BM_IoEngine_Read/uring_fixed/page_bytes:4096/depth:32/pages:thp
//   BM_IoEngine_ReadExtra/sqpoll/page_bytes:4096/depth:32/pages:thp
//
// The second kind is what an extra of the ring is worth, beside the same with none (`default`);
// the kernel's thread of sqpoll is part of the process, and of cpu_ns.
//
// The time is that of one page at the rate that was reached; `cpu_ns` is what the whole
// process spent on it, the kernel's part included. Reads and writes are random and direct. The
// plain baseline of a level is the level below it: a registered buffer against none, io_uring
// against pread and pwrite.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "benchmarks/page_sequence.h"
#include "benchmarks/support/bench_file.h"
#include "benchmarks/support/not_here.h"
#include "benchmarks/support/process_cpu.h"
#include "benchmarks/verify_pattern.h"
#include "fixpool/arena/ladder.h"
#include "fixpool/arena/page_arena.h"
#include "fixpool/arena/page_backing.h"
#include "fixpool/arena/page_handle.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/open_engine.h"

namespace fixpool::benchmarks {
namespace {

struct Setting {
  io::IoOperation operation;
  io::EngineLevel level;
  uint32_t page_bytes;
  uint32_t depth;
  arena::PageBacking backing;
  io::RingExtra sqpoll = io::RingExtra::kOff;
  io::RingExtra registered_ring = io::RingExtra::kOff;
};

// Everything that one benchmark needs, and the loop that keeps `depth` requests in flight.
class Rig {
 public:
  // Unimplemented and ResourceExhausted: this machine has no such engine or memory.
  static absl::StatusOr<std::unique_ptr<Rig>> Make(const Setting& setting) {
    std::unique_ptr<Rig> rig(new Rig(setting));
    if (absl::Status status = rig->MakeMemory(); !status.ok()) return status;
    if (absl::Status status = rig->MakeEngine(); !status.ok()) return status;
    return rig;
  }

  size_t batch() const { return completions_.size(); }

  absl::Status Start() { return Resubmit(setting_.depth); }

  // Completes `count` pages and puts as many new ones in flight, at most batch() at a time.
  absl::Status Move(size_t count) {
    while (count > 0) {
      const auto room = absl::MakeSpan(completions_).first(std::min(count, batch()));
      const size_t reaped = engine_->Reap(room, io::Deadline::Infinite());
      if (absl::Status status = Free(reaped); !status.ok()) return status;
      if (absl::Status status = Resubmit(reaped); !status.ok()) return status;
      count -= reaped;
    }
    return absl::OkStatus();
  }

  absl::Status Drain() {
    while (engine_->in_flight() > 0) {
      const size_t reaped = engine_->Reap(absl::MakeSpan(completions_), io::Deadline::Infinite());
      if (absl::Status status = Free(reaped); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

 private:
  explicit Rig(const Setting& setting)
      : setting_(setting), random_(1), completions_(std::max(1u, setting.depth / 8)) {}

  absl::Status MakeMemory() {
    auto registry = io::FixedBufferRegistry::Create({});
    if (!registry.ok()) return registry.status();
    registry_ = *std::move(registry);
    const size_t unit_bytes = arena::PageBackingBytes(setting_.backing);
    const size_t need_bytes = size_t{setting_.depth} * setting_.page_bytes;
    auto arena = arena::PageArena::Create(
        registry_.get(), {.size_bytes = (need_bytes + unit_bytes - 1) / unit_bytes * unit_bytes,
                          .page_bytes = setting_.page_bytes,
                          .ladder = arena::Ladder::Only(setting_.backing)});
    if (!arena.ok()) return arena.status();
    arena_ = *std::move(arena);
    for (uint32_t i = 0; i < setting_.depth; ++i) {
      const absl::StatusOr<arena::PageHandle> page = arena_->Allocate();
      if (!page.ok()) return page.status();
      std::byte* const bytes = arena_->AddressOf(*page);
      WritePattern(absl::MakeSpan(bytes, setting_.page_bytes), 0, i);  // not zeros
      pages_.push_back({page->region, bytes});
      idle_.push_back(i);
    }
    return absl::OkStatus();
  }

  absl::Status MakeEngine() {
    const absl::StatusOr<BenchFile*> bench_file = BenchFile::Shared();
    if (!bench_file.ok()) return bench_file.status();
    auto file = io::File::Open((*bench_file)->path(), {.direct = io::File::DirectIo::kRequire,
                                                       .locking = io::File::Locking::kCaller});
    if (!file.ok()) return file.status();
    auto engine = io::OpenEngine(registry_.get(), {.depth = setting_.depth,
                                                   .require = setting_.level,
                                                   .threads = std::min(setting_.depth, 32u),
                                                   .probe_file = *file,
                                                   .sqpoll = setting_.sqpoll,
                                                   .registered_ring = setting_.registered_ring});
    if (!engine.ok()) return engine.status();
    engine_ = *std::move(engine);
    const absl::StatusOr<io::FileHandle> handle = engine_->AddFile(*std::move(file));
    if (!handle.ok()) return handle.status();
    file_ = *handle;
    file_pages_ = (*bench_file)->size_bytes() / setting_.page_bytes;
    if (engine_->depth() < setting_.depth) {
      return absl::UnimplementedError(
          absl::StrCat("the device takes no more than ", engine_->depth(), " requests at a time"));
    }
    return CheckFixed();
  }

  // A ring that can do fixed transfers is not enough: the memory must be registered.
  absl::Status CheckFixed() const {
    if (setting_.level != io::EngineLevel::kUringFixed) return absl::OkStatus();
    for (const Page& page : pages_) {
      const auto info = registry_->InfoOf(page.region);
      if (!info.ok()) return info.status();
      if (!info->fixed) {
        return absl::ResourceExhaustedError("the memory could not be registered; see ulimit -l");
      }
    }
    return absl::OkStatus();
  }

  absl::Status Free(size_t reaped) {
    for (size_t i = 0; i < reaped; ++i) {
      if (!completions_[i].status.ok()) return completions_[i].status;
      idle_.push_back(static_cast<uint32_t>(completions_[i].user_data));
    }
    return absl::OkStatus();
  }

  absl::Status Resubmit(size_t count) {
    requests_.clear();
    for (size_t i = 0; i < count; ++i) {
      const uint32_t index = idle_.back();
      idle_.pop_back();
      requests_.push_back({.operation = setting_.operation,
                           .file = file_,
                           .region = pages_[index].region,
                           .data = pages_[index].bytes,
                           .length_bytes = setting_.page_bytes,
                           .offset_bytes = random_.Below(file_pages_) * setting_.page_bytes,
                           .user_data = index});
    }
    const io::SubmitResult result = engine_->Submit(requests_);
    if (!result.status.ok()) return result.status;
    if (result.accepted == count) return absl::OkStatus();
    return absl::InternalError("the engine was full");
  }

  struct Page {
    io::RegionId region;
    std::byte* bytes;
  };

  const Setting setting_;
  FastRandom random_;
  std::unique_ptr<io::FixedBufferRegistry> registry_;
  std::unique_ptr<arena::PageArena> arena_;
  std::unique_ptr<io::IoEngine> engine_;
  io::FileHandle file_;
  uint64_t file_pages_ = 0;
  std::vector<Page> pages_;
  std::vector<uint32_t> idle_;
  std::vector<io::IoRequest> requests_;
  std::vector<io::IoCompletion> completions_;
};

void RunSetting(benchmark::State& state, const Setting& setting) {
  absl::StatusOr<std::unique_ptr<Rig>> rig = Rig::Make(setting);
  if (absl::IsUnimplemented(rig.status()) || absl::IsResourceExhausted(rig.status())) {
    return SkipNotHere(state, rig.status().message());
  }
  absl::Status status = rig.status();
  if (status.ok()) status = (*rig)->Start();
  const int64_t before_ns = ProcessCpuNs();
  if (status.ok()) {
    const auto batch = static_cast<benchmark::IterationCount>((*rig)->batch());
    while (status.ok() && state.KeepRunningBatch(batch)) status = (*rig)->Move((*rig)->batch());
  }
  const int64_t cpu_ns = ProcessCpuNs() - before_ns;
  if (status.ok()) status = (*rig)->Drain();
  if (!status.ok()) return state.SkipWithError(std::string(status.message()).c_str());

  const auto pages = static_cast<double>(state.iterations());
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * setting.page_bytes);
  state.counters["IOPS"] = benchmark::Counter(pages, benchmark::Counter::kIsRate);
  state.counters["cpu_ns"] = static_cast<double>(cpu_ns) / pages;
}

// `kind`: the operation, and what is compared.
std::string NameOf(const std::string& kind, const Setting& setting) {
  return absl::StrCat("BM_IoEngine_", kind, "/page_bytes:", setting.page_bytes,
                      "/depth:", setting.depth, "/pages:", arena::PageBackingName(setting.backing));
}

void Register(const std::string& kind, const Setting& setting) {
  benchmark::RegisterBenchmark(NameOf(kind, setting).c_str(),
                               [setting](benchmark::State& state) { RunSetting(state, setting); })
      ->UseRealTime()
      ->MeasureProcessCPUTime()
      ->Unit(benchmark::kMicrosecond);
}

// 216 of levels and 3 of extras; BUILD.bazel names those of a run without --full.
bool RegisterAll() {
  for (const io::IoOperation operation : {io::IoOperation::kRead, io::IoOperation::kWrite}) {
    for (const io::EngineLevel level :
         {io::EngineLevel::kUringFixed, io::EngineLevel::kUringPlain, io::EngineLevel::kThreads}) {
      for (const uint32_t page_bytes : {4u << 10, 16u << 10, 64u << 10, 256u << 10}) {
        for (const uint32_t depth : {1, 32, 128}) {
          for (const arena::PageBacking backing :
               {arena::PageBacking::k4KiB, arena::PageBacking::kTransparent,
                arena::PageBacking::k2MiB}) {
            Register(absl::StrCat(operation == io::IoOperation::kRead ? "Read/" : "Write/",
                                  io::EngineLevelName(level)),
                     {operation, level, page_bytes, depth, backing});
          }
        }
      }
    }
  }
  Setting extra{io::IoOperation::kRead, io::EngineLevel::kUringFixed, 4u << 10, 32,
                arena::PageBacking::kTransparent};
  Register("ReadExtra/default", extra);
  extra.sqpoll = io::RingExtra::kRequire;
  Register("ReadExtra/sqpoll", extra);
  extra.sqpoll = io::RingExtra::kOff;
  extra.registered_ring = io::RingExtra::kRequire;
  Register("ReadExtra/registered_ring", extra);
  return true;
}

[[maybe_unused]] const bool registered = RegisterAll();

}  // namespace
}  // namespace fixpool::benchmarks
