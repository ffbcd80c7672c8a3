#ifndef FIXPOOL_STORAGE_DOUBLE_WRITE_AREA_H_
#define FIXPOOL_STORAGE_DOUBLE_WRITE_AREA_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "fixpool/io/file.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/double_write_format.h"
#include "fixpool/storage/double_write_ring.h"

namespace fixpool::storage {

// The double-write area of one open file. Guarded by the cache's lock, but for what does not change
// and `buffer`.
struct DoubleWriteArea {
  DoubleWriteArea(std::shared_ptr<io::File> area_file, const DoubleWriteRing::Options& options)
      : file(std::move(area_file)), ring(options) {}

  const std::shared_ptr<io::File> file;
  io::FileHandle handle;
  uint32_t page_bytes = 0;
  uint32_t pages_each = 0;  // copies of a batch at most
  DoubleWriteFront front;   // as it is on disk
  DoubleWriteRing ring;
  // A thread writes to it: it alone until it is done, and `buffer` is its own. A header and
  // pages_each pages, aligned for direct I/O.
  bool busy = false;
  std::shared_ptr<std::byte> buffer;
};

// Memory for pages of an area, aligned for direct I/O; zeroed. Null: there is none.
std::shared_ptr<std::byte> AreaMemory(size_t bytes, size_t page_bytes);

// Copies of a batch at most, for batches of about 1 MiB: more is not faster, and less fits in
// memory.
uint32_t CopiesOfABatch(uint32_t page_bytes, uint64_t capacity_pages);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_DOUBLE_WRITE_AREA_H_
