#include "fixpool/arena/mapping.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fixpool/arena/format_bytes.h"
#include "fixpool/arena/huge_page_settings.h"
#include "fixpool/arena/numa_memory.h"
#include "fixpool/arena/prefault.h"
#include "fixpool/arena/resident_pages.h"
#include "fixpool/io/check.h"
#include "fixpool/io/error.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace fixpool::arena {
namespace {

// A range of a rung, faulted in and looked at.
struct Built {
  AddressRange range;
  size_t got_bytes = 0;
  bool verified = false;
  std::string unverified_reason = {};
  NumaReport numa = {};
};

void CopyPayloads(const absl::Status& from, absl::Status& to) {
  from.ForEachPayload(
      [&to](absl::string_view url, const absl::Cord& payload) { to.SetPayload(url, payload); });
}

// An error whose code says what the caller can do about it, which that of the errno does not
// always, and which carries the errno (unless 0) all the same.
absl::Status Refusal(absl::StatusCode code, int error_number, PageBacking rung,
                     absl::string_view why) {
  absl::Status status(code, absl::StrCat(PageBackingPhrase(rung), ": ", why));
  if (error_number != 0) CopyPayloads(io::ErrnoStatus(error_number, ""), status);
  return status;
}

bool IsHugetlb(PageBacking rung) {
  return rung == PageBacking::k1GiB || rung == PageBacking::k2MiB;
}

absl::Status HugetlbRefusal(PageBacking rung, size_t size_bytes, int error_number) {
  const size_t page_bytes = PageBackingBytes(rung);
  const std::optional<HugePagePool> pool = ReadHugePagePool(page_bytes);
  if (!pool.has_value() || error_number == EINVAL) {
    return Refusal(absl::StatusCode::kUnimplemented, error_number, rung,
                   "this machine has none of that size");
  }
  const uint64_t wanted = size_bytes / page_bytes;
  const uint64_t available = pool->available();
  if (available >= wanted) {
    return Refusal(absl::StatusCode::kResourceExhausted, error_number, rung,
                   absl::StrCat("wanted ", wanted, ", ", available, " free, and yet refused with ",
                                io::ErrnoName(error_number),
                                "; look at the cgroup's hugetlb limit and at RLIMIT_AS"));
  }
  return Refusal(absl::StatusCode::kResourceExhausted, error_number, rung,
                 absl::StrCat("wanted ", wanted, ", ", available, " free; raise ",
                              HugePagePoolSetting(page_bytes), " by ", wanted - available));
}

absl::StatusOr<AddressRange> Map(PageBacking rung, size_t size_bytes) {
  if (IsHugetlb(rung)) {
    absl::StatusOr<AddressRange> range =
        AddressRange::MapHugetlb(size_bytes, PageBackingBytes(rung));
    if (range.ok()) return range;
    return HugetlbRefusal(rung, size_bytes, io::ErrnoOf(range.status()));
  }
  if (rung == PageBacking::kTransparent) {
    if (const std::optional<std::string> why = WhyNoTransparentHugePages()) {
      return Refusal(absl::StatusCode::kResourceExhausted, 0, rung, *why);
    }
  }
  absl::StatusOr<AddressRange> range = AddressRange::MapOrdinary(size_bytes);
  if (range.ok()) return range;
  return Refusal(
      range.status().code(), io::ErrnoOf(range.status()), rung,
      absl::StrCat(range.status().message(), "; look at RLIMIT_AS and vm.overcommit_memory"));
}

absl::Status Advise(const AddressRange& range, PageBacking rung, const MappingOptions& options) {
  const auto advise = [&](int advice, const char* name) {
    const int error = range.Advise(advice);
    if (error == 0) return absl::OkStatus();
    return Refusal(io::ErrnoStatus(error, "").code(), error, rung,
                   absl::StrCat("madvise with ", name, " failed with ", io::ErrnoName(error)));
  };
  if (absl::Status status = advise(MADV_DONTFORK, "MADV_DONTFORK"); !status.ok()) return status;
  if (options.dont_dump) {
    if (absl::Status status = advise(MADV_DONTDUMP, "MADV_DONTDUMP"); !status.ok()) return status;
  }
  if (rung == PageBacking::kTransparent) return advise(MADV_HUGEPAGE, "MADV_HUGEPAGE");
  // EINVAL: a kernel without transparent huge pages, from which there is nothing to keep.
  if (rung == PageBacking::k4KiB) (void)range.Advise(MADV_NOHUGEPAGE);
  return absl::OkStatus();
}

absl::Status FaultIn(const AddressRange& range, PageBacking rung, uint32_t threads) {
  const int error = Prefault({.base = range.base(),
                              .size_bytes = range.size_bytes(),
                              .page_bytes = IsHugetlb(rung) ? PageBackingBytes(rung) : 4096,
                              .threads = threads});
  if (error == 0) return absl::OkStatus();
  return Refusal(
      absl::StatusCode::kResourceExhausted, error, rung,
      absl::StrCat("faulting in ", FormatBytes(range.size_bytes()), " failed with ",
                   io::ErrnoName(error),
                   IsHugetlb(rung) ? "; look at the cgroup's hugetlb limit and the NUMA policy"
                                   : "; look at the cgroup's memory limit"));
}

// How much of the range stands on transparent huge pages, after asking for what is missing.
absl::StatusOr<ResidentPages> ReadTransparent(const AddressRange& range) {
  absl::StatusOr<ResidentPages> pages = ReadResidentPages(range.base(), range.size_bytes());
  if (!pages.ok() || pages->transparent_bytes == range.size_bytes()) return pages;
  // Where the kernel did not want to work for a huge page at the time of the fault, it may
  // when told to (Linux 6.1). After registration it is too late: the pages are pinned.
  if (range.Advise(MADV_COLLAPSE) != 0 && pages->transparent_bytes == 0) return pages;
  return ReadResidentPages(range.base(), range.size_bytes());
}

absl::Status VerifyTransparent(bool all_of_it, Built& built) {
  const size_t size_bytes = built.range.size_bytes();
  const absl::StatusOr<ResidentPages> pages = ReadTransparent(built.range);
  if (!pages.ok()) {
    built.unverified_reason = std::string(pages.status().message());
    if (!all_of_it) return absl::OkStatus();
    return Refusal(absl::StatusCode::kFailedPrecondition, io::ErrnoOf(pages.status()),
                   PageBacking::kTransparent,
                   absl::StrCat("required, but what was given cannot be read back: ",
                                pages.status().message()));
  }
  built.verified = true;
  built.got_bytes = pages->transparent_bytes;
  if (built.got_bytes == size_bytes || (built.got_bytes > 0 && !all_of_it)) {
    return absl::OkStatus();
  }
  return Refusal(absl::StatusCode::kResourceExhausted, 0, PageBacking::kTransparent,
                 absl::StrCat("the kernel gave them for ", FormatBytes(built.got_bytes), " of ",
                              FormatBytes(size_bytes),
                              "; free memory is short or in pieces (vm.compact_memory)"));
}

absl::Status VerifyFixedSize(PageBacking rung, Built& built) {
  const size_t size_bytes = built.range.size_bytes();
  const absl::StatusOr<ResidentPages> pages = ReadResidentPages(built.range.base(), size_bytes);
  if (!pages.ok()) {
    built.unverified_reason = std::string(pages.status().message());
    built.got_bytes = size_bytes;
    return absl::OkStatus();
  }
  built.verified = true;
  built.got_bytes = IsHugetlb(rung) ? pages->hugetlb_bytes : size_bytes - pages->transparent_bytes;
  if (pages->kernel_page_bytes == PageBackingBytes(rung) && built.got_bytes == size_bytes) {
    return absl::OkStatus();
  }
  return Refusal(absl::StatusCode::kInternal, 0, rung,
                 absl::StrCat("the kernel says it gave pages of ",
                              FormatBytes(pages->kernel_page_bytes), ", of the right kind for ",
                              FormatBytes(built.got_bytes), " of ", FormatBytes(size_bytes)));
}

absl::Status VerifyNuma(PageBacking rung, Built& built) {
  if (!built.numa.applied) return absl::OkStatus();
  const size_t size_bytes = built.range.size_bytes();
  // One look a page. What the kernel gave in part may be small anywhere.
  const bool is_huge = built.verified && built.got_bytes == size_bytes;
  return ReadNuma(built.range.base(), size_bytes, is_huge ? PageBackingBytes(rung) : 4096,
                  built.numa);
}

// One rung: all of it, or an error and nothing left behind.
absl::StatusOr<Built> Build(PageBacking rung, size_t size_bytes, const MappingOptions& options,
                            const NumaReport& numa) {
  if (size_bytes % PageBackingBytes(rung) != 0) {
    return Refusal(absl::StatusCode::kInvalidArgument, 0, rung,
                   absl::StrCat(FormatBytes(size_bytes), " is no multiple of ",
                                FormatBytes(PageBackingBytes(rung))));
  }
  absl::StatusOr<AddressRange> range = Map(rung, size_bytes);
  if (!range.ok()) return range.status();
  Built built{.range = *std::move(range), .numa = numa};
  absl::Status status = Advise(built.range, rung, options);
  if (status.ok() && numa.applied) status = ApplyNuma(numa.asked, built.range.base(), size_bytes);
  if (status.ok()) status = FaultIn(built.range, rung, options.prefault_threads);
  if (!status.ok()) return status;
  const bool required = options.ladder.PolicyOf(rung) == RungPolicy::kRequire;
  status = rung == PageBacking::kTransparent ? VerifyTransparent(required, built)
                                             : VerifyFixedSize(rung, built);
  if (status.ok()) status = VerifyNuma(rung, built);
  if (!status.ok()) return status;
  return built;
}

absl::Status CheckRequest(size_t size_bytes, const MappingOptions& options) {
  if (size_bytes == 0 || size_bytes % 4096 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("Mapping: a size of ", size_bytes, " bytes is 0 or no multiple of 4 KiB"));
  }
  if (!options.ladder.Best().has_value()) {
    return absl::InvalidArgumentError("Mapping: every rung of the ladder is kNever");
  }
  if (sysconf(_SC_PAGESIZE) != 4096) {
    return absl::UnimplementedError(
        absl::StrCat("Mapping: the pages of this kernel are of ",
                     FormatBytes(static_cast<uint64_t>(sysconf(_SC_PAGESIZE))), ", not of 4 KiB"));
  }
  return absl::OkStatus();
}

absl::Status AllRefused(size_t size_bytes, const std::vector<RungRefusal>& refusals,
                        const absl::Status& last) {
  absl::Status status(
      last.code(),
      absl::StrCat("mapping of ", FormatBytes(size_bytes), ": ",
                   absl::StrJoin(refusals, ". ", [](std::string* text, const RungRefusal& refusal) {
                     absl::StrAppend(text, refusal.reason);
                   })));
  CopyPayloads(last, status);
  return status;
}

void MoveToReused(AddressRange* reuse, AddressRange& range, MappingReport& report) {
  if (reuse == nullptr || reuse->base() == nullptr) return;
  const absl::Status status = range.MoveOnto(*reuse);
  if (!status.ok()) report.not_reused_reason = std::string(status.message());
}

}  // namespace

absl::StatusOr<std::shared_ptr<Mapping>> Mapping::Create(size_t size_bytes,
                                                         MappingOptions options) {
  if (absl::Status status = CheckRequest(size_bytes, options); !status.ok()) return status;
  const absl::StatusOr<NumaReport> numa = PlanNuma(options.numa);
  if (!numa.ok()) return numa.status();
  MappingReport report{.size_bytes = size_bytes, .asked = options.ladder};
  absl::Status last;
  for (const PageBacking rung : kPageBackings) {
    const RungPolicy policy = options.ladder.PolicyOf(rung);
    if (policy == RungPolicy::kNever) continue;
    absl::StatusOr<Built> built = Build(rung, size_bytes, options, *numa);
    if (built.ok()) {
      report.got = rung;
      report.got_bytes = built->got_bytes;
      report.verified = built->verified;
      report.unverified_reason = std::move(built->unverified_reason);
      report.numa = std::move(built->numa);
      MoveToReused(options.reuse, built->range, report);
      return std::shared_ptr<Mapping>(new Mapping(std::move(built->range), std::move(report)));
    }
    last = built.status();
    report.refusals.push_back(
        {.rung = rung, .error_number = io::ErrnoOf(last), .reason = std::string(last.message())});
    if (policy == RungPolicy::kRequire) break;
  }
  return AllRefused(size_bytes, report.refusals, last);
}

absl::StatusOr<AddressRange> Mapping::Retire(std::shared_ptr<Mapping>& mapping) {
  FIXPOOL_CHECK(mapping.use_count() == 1, "a mapping is retired by who has the last reference");
  if (absl::Status status = mapping->range_.Retire(); !status.ok()) return status;
  AddressRange retired = std::move(mapping->range_);
  mapping.reset();
  return retired;
}

}  // namespace fixpool::arena
