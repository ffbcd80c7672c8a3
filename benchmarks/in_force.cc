#include "benchmarks/in_force.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"

namespace fixpool::benchmarks {
namespace {

// What most of the memory stands on.
arena::PageBacking BackingOf(const arena::ArenaReport& report) {
  std::array<size_t, std::size(arena::kPageBackings)> bytes{};
  for (const arena::RegionReport& region : report.regions) {
    const arena::MappingReport& mapping = region.mapping;
    bytes[static_cast<size_t>(mapping.got)] += mapping.got_bytes;
    // What transparent huge pages did not reach.
    bytes[static_cast<size_t>(arena::PageBacking::k4KiB)] += mapping.size_bytes - mapping.got_bytes;
  }
  const auto most = std::max_element(bytes.begin(), bytes.end());
  return arena::kPageBackings[static_cast<size_t>(most - bytes.begin())];
}

}  // namespace

void LowerTo(const io::EngineReport& engine, io::EngineLevel file_level,
             const arena::ArenaReport& memory, InForce& in_force) {
  in_force.backing = BackingOf(memory);
  in_force.memory = memory.ToString();
  if (file_level > in_force.engine) {
    in_force.engine = file_level;
    in_force.engine_errno = engine.downgrade_errno;
    in_force.engine_reason = engine.downgrade_reason;
  }
  if (in_force.engine != io::EngineLevel::kUringFixed) return;
  for (const arena::RegionReport& region : memory.regions) {
    if (region.fixed) continue;
    in_force.engine = io::EngineLevel::kUringPlain;
    in_force.engine_errno = region.fixed_errno;
    in_force.engine_reason = "the memory of the pages could not be registered with the kernel";
    return;
  }
}

absl::Status CheckRequirement(const PageIoOptions& options, const InForce& in_force) {
  if (!options.engine.required.has_value() || *options.engine.required == in_force.engine) {
    return absl::OkStatus();
  }
  std::string reason = in_force.engine_reason;
  if (in_force.engine_errno != 0) {
    reason = absl::StrCat(io::ErrnoName(in_force.engine_errno), ", ", reason);
  }
  return absl::UnimplementedError(absl::StrCat(
      "--engine=", io::EngineLevelName(*options.engine.required), " cannot be had here but ",
      io::EngineLevelName(in_force.engine), " can", reason.empty() ? "" : ": ", reason));
}

}  // namespace fixpool::benchmarks
