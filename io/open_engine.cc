#include "fixpool/io/open_engine.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fixpool/io/error.h"
#include "fixpool/io/thread_pool_engine.h"
#include "fixpool/io/uring_engine.h"
#include "fixpool/io/uring_probe.h"
#include "fixpool/io/uring_ring.h"

namespace fixpool::io {
namespace {

constexpr uint32_t kMaxDepth = 4096;
constexpr uint32_t kMaxFiles = 4096;
constexpr uint32_t kMaxThreads = 256;
constexpr absl::Duration kMinSqpollIdle = absl::Milliseconds(1);
constexpr absl::Duration kMaxSqpollIdle = absl::Seconds(10);

absl::Status CheckOptions(const FixedBufferRegistry* registry, const EngineOptions& options) {
  if (registry == nullptr) return absl::InvalidArgumentError("OpenEngine: the registry is null");
  if (registry->fork_guard().forked()) return registry->fork_guard().Refusal("OpenEngine");
  const auto check = [](const char* name, uint32_t value, uint32_t maximum) {
    if (value >= 1 && value <= maximum) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("OpenEngine: ", name, " ", value, " is not in 1..", maximum));
  };
  absl::Status status = check("depth", options.depth, kMaxDepth);
  if (options.joined_depth > kMaxDepth) {
    status.Update(absl::InvalidArgumentError(absl::StrCat(
        "OpenEngine: joined_depth ", options.joined_depth, " is not in 0..", kMaxDepth)));
  }
  status.Update(check("max_files", options.max_files, kMaxFiles));
  status.Update(check("threads", options.threads, kMaxThreads));
  if (options.sqpoll_idle < kMinSqpollIdle || options.sqpoll_idle > kMaxSqpollIdle) {
    status.Update(absl::InvalidArgumentError(absl::StrCat("OpenEngine: sqpoll_idle ",
                                                          absl::FormatDuration(options.sqpoll_idle),
                                                          " is not in 1ms..10s")));
  }
  return status;
}

// The file to try a level on when the caller names none: the program itself, or, in a
// root without /proc, a page of memory with a descriptor.
absl::StatusOr<std::shared_ptr<File>> DefaultProbeFile() {
  absl::StatusOr<std::shared_ptr<File>> program = File::Open("/proc/self/exe", {.read_only = true});
  if (program.ok()) return program;
  const int descriptor = memfd_create("fixpool-probe", MFD_CLOEXEC);
  if (descriptor < 0) return ErrnoStatus(errno, "memfd_create for the probe");
  return File::Adopt(descriptor, "memory file");
}

// What the user can do about a level that does not work.
absl::string_view Remedy(int error_number) {
  switch (error_number) {
    case EPERM:
    case EACCES:
      return "io_uring is forbidden here: allow it in the container's seccomp profile, or set "
             "kernel.io_uring_disabled to 0";
    case ENOSYS:
      return "io_uring is hidden by a sandbox, or the kernel is older than 5.1";
    case ENOMEM:
      return "raise RLIMIT_MEMLOCK";
    default:
      return "";
  }
}

std::string WithRemedy(const absl::Status& status) {
  const absl::string_view remedy = Remedy(ErrnoOf(status));
  return remedy.empty() ? std::string(status.message())
                        : absl::StrCat(status.message(), "; ", remedy);
}

absl::Status ProbeLevel(EngineLevel level, const File& probe_file) {
  return level == EngineLevel::kThreads ? absl::OkStatus() : ProbeUring(level, probe_file);
}

// Writes into `origin` whether joined transfers have fixed buffers. Nobody requires it: they work
// without, at more of the kernel's time.
void DecideJoinedFixed(const File& probe_file, EngineReport& origin) {
  origin.joined_fixed = {.asked = origin.level == EngineLevel::kUringFixed};
  if (!origin.joined_fixed.asked) return;
  const absl::Status why_not = ProbeJoinedFixed(probe_file);
  origin.joined_fixed.in_force = why_not.ok();
  if (why_not.ok()) return;
  origin.joined_fixed.error_number = ErrnoOf(why_not);
  origin.joined_fixed.reason = absl::StrCat(why_not.message(), "; this takes Linux 6.15");
}

absl::StatusOr<std::unique_ptr<IoEngine>> MakeEngine(FixedBufferRegistry* registry,
                                                     const EngineOptions& options,
                                                     const EngineReport& origin) {
  if (origin.level == EngineLevel::kThreads) {
    return ThreadPoolEngine::Create(registry, options, origin);
  }
  return UringEngine::Create(registry, options, origin);
}

// A requirement that was not met: the code says "not here", the payloads of `why` say why.
absl::Status RequirementStatus(absl::string_view what, const absl::Status& why,
                               absl::string_view reason) {
  return Reworded(why,
                  absl::IsResourceExhausted(why) ? absl::StatusCode::kResourceExhausted
                                                 : absl::StatusCode::kUnimplemented,
                  absl::StrCat(what, " is required and does not work here: ", reason));
}

// ---- Extras ----

struct Extra {
  absl::string_view name;
  RingExtra EngineOptions::*wish;
  bool RingExtras::*flag;
  RingExtraReport EngineReport::*report;
};
constexpr Extra kExtras[] = {
    {"sqpoll", &EngineOptions::sqpoll, &RingExtras::sqpoll, &EngineReport::sqpoll},
    {"iopoll", &EngineOptions::iopoll, &RingExtras::iopoll, &EngineReport::iopoll},
    {"registered_ring", &EngineOptions::registered_ring, &RingExtras::registered_ring,
     &EngineReport::registered_ring},
};

std::string ExtraWithRemedy(const Extra& extra, const absl::Status& status) {
  absl::string_view remedy;
  if (extra.flag == &RingExtras::sqpoll && ErrnoOf(status) == EPERM) {
    remedy = "; before Linux 5.11 this takes CAP_SYS_ADMIN";
  } else if (extra.flag == &RingExtras::registered_ring && ErrnoOf(status) == EBUSY) {
    remedy = "; a thread has 16 such places: open the engine on another thread";
  } else if (extra.flag == &RingExtras::registered_ring && ErrnoOf(status) == EINVAL) {
    remedy = "; this takes Linux 5.18";
  }
  return absl::StrCat(status.message(), remedy);
}

// One real read through a ring with `trial`, of which `extra` is what is new.
absl::Status ProbeExtra(const Extra& extra, const EngineReport& origin, const RingExtras& trial,
                        const File& probe_file) {
  if (origin.level == EngineLevel::kThreads) {
    return ErrnoStatus(origin.downgrade_errno != 0 ? origin.downgrade_errno : EOPNOTSUPP,
                       "an engine at the level threads has no ring");
  }
  if (extra.flag == &RingExtras::iopoll) {
    const absl::StatusOr<uint64_t> size_bytes = probe_file.SizeBytes();
    if (size_bytes.ok() && *size_bytes == 0) {
      return ErrnoStatus(ENODATA, absl::StrCat("probe: ", probe_file.path(),
                                               " is empty, and only "
                                               "a read of something shows whether it is polled"));
    }
  }
  return ProbeUring(origin.level, probe_file, trial);
}

// Writes into `origin` which of the extras that `options` ask for are in force, each tried
// together with those before it. An error: one that is required is not.
absl::Status DecideExtras(const EngineOptions& options, Environment* environment,
                          EngineReport& origin) {
  RingExtras in_force = ExtrasInForce(options, EngineReport());
  for (const Extra& extra : kExtras) {
    RingExtraReport& report = origin.*extra.report;
    report = {.asked = options.*extra.wish != RingExtra::kOff};
    if (!report.asked) continue;
    RingExtras trial = in_force;
    trial.*extra.flag = true;
    const absl::Status why_not = ProbeExtra(extra, origin, trial, *options.probe_file);
    if (why_not.ok()) {
      report.in_force = true;
      in_force = trial;
      continue;
    }
    report.error_number = ErrnoOf(why_not);
    report.reason = ExtraWithRemedy(extra, why_not);
    const std::string what = absl::StrCat("engine option ", extra.name);
    if (options.*extra.wish == RingExtra::kRequire) {
      return RequirementStatus(what, why_not, report.reason);
    }
    environment->Report(Severity::kWarning, absl::StrCat(what, ": ", report.reason));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<IoEngine>> OpenEngine(FixedBufferRegistry* registry,
                                                     EngineOptions options) {
  if (absl::Status status = CheckOptions(registry, options); !status.ok()) return status;
  if (options.probe_file == nullptr) {
    absl::StatusOr<std::shared_ptr<File>> file = DefaultProbeFile();
    if (!file.ok()) return file.status();
    options.probe_file = std::move(*file);
  }
  EngineReport origin;
  absl::Status why_not;
  for (const EngineLevel level :
       {EngineLevel::kUringFixed, EngineLevel::kUringPlain, EngineLevel::kThreads}) {
    if (options.require.has_value() && *options.require != level) continue;
    origin.level = level;
    why_not = ProbeLevel(level, *options.probe_file);
    if (why_not.ok()) {
      const absl::Status refused = DecideExtras(options, registry->environment(), origin);
      if (!refused.ok()) return refused;
      DecideJoinedFixed(*options.probe_file, origin);
      absl::StatusOr<std::unique_ptr<IoEngine>> engine = MakeEngine(registry, options, origin);
      if (engine.ok()) return engine;
      why_not = engine.status();
    }
    if (options.require.has_value()) {
      return RequirementStatus(absl::StrCat("engine level ", EngineLevelName(level)), why_not,
                               WithRemedy(why_not));
    }
    // The first refusal is the reason; the later ones follow from it.
    if (origin.downgrade_reason.empty()) {
      origin.downgrade_errno = ErrnoOf(why_not);
      origin.downgrade_reason = WithRemedy(why_not);
    }
    registry->environment()->Report(
        Severity::kWarning,
        absl::StrCat("engine level ", EngineLevelName(level), ": ", WithRemedy(why_not)));
  }
  return why_not;
}

}  // namespace fixpool::io
