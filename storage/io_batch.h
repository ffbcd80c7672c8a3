#ifndef FIXPOOL_STORAGE_IO_BATCH_H_
#define FIXPOOL_STORAGE_IO_BATCH_H_

#include "fixpool/io/require_cpp20.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "absl/types/span.h"
#include "fixpool/io/io_engine.h"

namespace fixpool::storage {

// Transfers that were started under the cache's lock and go to the engine together once it
// is free. Thread-compatible; large (several KiB), so not for the path of a hit.
class IoBatch {
 public:
  static constexpr size_t kCapacity = 64;

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  size_t room() const { return kCapacity - size_; }
  void Add(const io::IoRequest& request) { requests_[size_++] = request; }  // room() > 0
  void Clear() { size_ = 0; }
  // Instead of what this holds, what `other` does, which is empty afterwards.
  void TakeFrom(IoBatch& other) {
    std::copy_n(other.requests_.begin(), other.size_, requests_.begin());
    size_ = std::exchange(other.size_, 0);
  }
  absl::Span<const io::IoRequest> requests() const { return {requests_.data(), size_}; }

 private:
  std::array<io::IoRequest, kCapacity> requests_;
  size_t size_ = 0;
};

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_IO_BATCH_H_
