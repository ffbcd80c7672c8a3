#include "fixpool/arena/huge_page_settings.h"

#include <sys/prctl.h>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "fixpool/arena/kernel_text.h"

namespace fixpool::arena {
namespace {

constexpr char kTransparentFolder[] = "/sys/kernel/mm/transparent_hugepage/";

std::string PoolFolder(size_t page_bytes) {
  return absl::StrCat("/sys/kernel/mm/hugepages/hugepages-", page_bytes / 1024, "kB/");
}

// Whether the setting at `path` is there and stands at `choice`: "always [madvise] never".
bool StandsAt(const std::string& path, const char* choice) {
  const absl::StatusOr<std::string> line = ReadKernelLine(path);
  return line.ok() && absl::StrContains(*line, absl::StrCat("[", choice, "]"));
}

}  // namespace

std::optional<HugePagePool> ReadHugePagePool(size_t page_bytes) {
  const std::string folder = PoolFolder(page_bytes);
  const auto total = ReadKernelNumber(folder + "nr_hugepages");
  if (!total.ok()) return std::nullopt;
  return HugePagePool{
      .total = *total,
      .free = ReadKernelNumber(folder + "free_hugepages").value_or(0),
      .reserved = ReadKernelNumber(folder + "resv_hugepages").value_or(0),
      .overcommit = ReadKernelNumber(folder + "nr_overcommit_hugepages").value_or(0),
      .surplus = ReadKernelNumber(folder + "surplus_hugepages").value_or(0)};
}

std::string HugePagePoolSetting(size_t page_bytes) {
  // The sysctl is for the default size alone, which is 2 MiB unless the command line of the
  // kernel says otherwise.
  if (page_bytes == size_t{2} << 20) return "vm.nr_hugepages";
  return PoolFolder(page_bytes) + "nr_hugepages";
}

std::optional<std::string> WhyNoTransparentHugePages() {
  if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1) {
    return "switched off for this process (prctl PR_SET_THP_DISABLE)";
  }
  const std::string general = absl::StrCat(kTransparentFolder, "enabled");
  // Linux 6.8 and later: each size has a setting, which "inherit"s the general one or does not.
  const std::string of_size = absl::StrCat(kTransparentFolder, "hugepages-2048kB/enabled");
  const auto switched_off_in = [](const std::string& path) {
    return absl::StrCat("switched off in ", path);
  };
  if (StandsAt(of_size, "never")) return switched_off_in(of_size);
  const bool own_setting = StandsAt(of_size, "always") || StandsAt(of_size, "madvise");
  if (!own_setting && StandsAt(general, "never")) return switched_off_in(general);
  return std::nullopt;
}

}  // namespace fixpool::arena
