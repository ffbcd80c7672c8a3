#ifndef FIXPOOL_IO_ENGINE_OPTIONS_H_
#define FIXPOOL_IO_ENGINE_OPTIONS_H_

#include "fixpool/io/require_cpp20.h"

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/time/time.h"
#include "fixpool/io/file.h"
#include "fixpool/io/io_engine.h"

namespace fixpool::io {

// How an engine is made; all kinds take the same options. A value: thread-compatible.
struct EngineOptions {
  // Requests in flight at most; 1 to 4096. Default: what keeps one NVMe drive busy.
  uint32_t depth = 128;
  // Files at most; 1 to 4096.
  uint32_t max_files = 256;
  // This level or an error. Default: the best that works.
  std::optional<EngineLevel> require = std::nullopt;
  // Threads of EngineLevel::kThreads, 1 to 256; never more than `depth` are started.
  uint32_t threads = 16;
  // The file that the opening probe reads. Default: the running executable, which every
  // process has. (AddFile probes each file by itself.)
  std::shared_ptr<File> probe_file = nullptr;
  // How long the destructor waits for transfers in flight.
  absl::Duration drain_timeout = absl::Seconds(30);
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_ENGINE_OPTIONS_H_
