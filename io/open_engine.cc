#include "fixpool/io/open_engine.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"
#include "fixpool/io/thread_pool_engine.h"
#include "fixpool/io/uring_engine.h"
#include "fixpool/io/uring_probe.h"

namespace fixpool::io {
namespace {

constexpr uint32_t kMaxDepth = 4096;
constexpr uint32_t kMaxFiles = 4096;
constexpr uint32_t kMaxThreads = 256;

absl::Status CheckOptions(const FixedBufferRegistry* registry, const EngineOptions& options) {
  if (registry == nullptr) return absl::InvalidArgumentError("OpenEngine: the registry is null");
  if (registry->fork_guard().forked()) return registry->fork_guard().Refusal("OpenEngine");
  const auto check = [](const char* name, uint32_t value, uint32_t maximum) {
    if (value >= 1 && value <= maximum) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("OpenEngine: ", name, " ", value, " is not in 1..", maximum));
  };
  absl::Status status = check("depth", options.depth, kMaxDepth);
  status.Update(check("max_files", options.max_files, kMaxFiles));
  status.Update(check("threads", options.threads, kMaxThreads));
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

absl::StatusOr<std::unique_ptr<IoEngine>> TryLevel(FixedBufferRegistry* registry,
                                                   const EngineOptions& options,
                                                   const File& probe_file, EngineReport origin) {
  if (origin.level == EngineLevel::kThreads) {
    return ThreadPoolEngine::Create(registry, options, std::move(origin));
  }
  if (absl::Status probed = ProbeUring(origin.level, probe_file); !probed.ok()) return probed;
  return UringEngine::Create(registry, options, std::move(origin));
}

// A requirement that was not met: the code says "not here", the payloads of `why` say why.
absl::Status RequirementStatus(EngineLevel level, const absl::Status& why) {
  absl::Status result(absl::IsResourceExhausted(why) ? absl::StatusCode::kResourceExhausted
                                                     : absl::StatusCode::kUnimplemented,
                      absl::StrCat("engine level ", EngineLevelName(level),
                                   " is required and does not work here: ", WithRemedy(why)));
  why.ForEachPayload(
      [&result](absl::string_view url, const absl::Cord& value) { result.SetPayload(url, value); });
  return result;
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
    absl::StatusOr<std::unique_ptr<IoEngine>> engine =
        TryLevel(registry, options, *options.probe_file, origin);
    if (engine.ok()) return engine;
    why_not = engine.status();
    if (options.require.has_value()) return RequirementStatus(level, why_not);
    // The first refusal is the reason; the later ones follow from it.
    if (origin.downgrade_reason.empty()) {
      origin.downgrade_errno = ErrnoOf(why_not);
      origin.downgrade_reason = WithRemedy(why_not);
    }
    registry->environment()->Report(Severity::kWarning, absl::StrCat("engine level ",
                                                                     EngineLevelName(level),
                                                                     ": ", WithRemedy(why_not)));
  }
  return why_not;
}

}  // namespace fixpool::io
