#ifndef FIXPOOL_IO_JOINED_MEMORY_H_
#define FIXPOOL_IO_JOINED_MEMORY_H_

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/types/span.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/require_cpp20.h"

namespace fixpool::io {

// The memory of one joined transfer while the kernel may touch it: what is left to transfer, in
// the form that the kernel wants, and the leases on the regions that it lies in.
//
//   if (auto refusal = memory.Take(registry, request.pieces)) ... refusal->piece was refused ...
//   preadv(fd, memory.remaining().data(), memory.remaining().size(), offset);
//   memory.Advance(result);                    // mid-piece, if need be
//   memory.Release();
//
// Pieces that follow each other in memory are one for the kernel, which then has less to walk, and
// a device less to scatter. The array stays where it is until Release, because the kernel may look
// at it as long as the transfer is in flight.
// Shape: up to kMaxPieces pieces; 10 KiB, which is why engines make them beforehand.
// Thread-compatible.
class JoinedMemory {
 public:
  struct Refusal {
    size_t piece;
    ValidationError error;
  };

  // Validates each piece and leases its region, all or none. At most kMaxPieces.
  std::optional<Refusal> Take(FixedBufferRegistry& registry, absl::Span<const IoPiece> pieces);
  // Gives the leases back. Without effect on one that holds none.
  void Release();

  // `count` bytes have been transferred; no more than were left.
  void Advance(size_t count);
  // What is left, in order. Not empty before all has been transferred.
  absl::Span<const iovec> remaining() const {
    return {vectors_.data() + done_, vector_count_ - done_};
  }

  // Whether all of it lies in one registered buffer, and then which.
  bool in_one_slot() const { return in_one_slot_; }
  uint16_t slot() const { return leases_[0].slot(); }

 private:
  void Append(const IoPiece& piece, bool same_region);

  std::array<iovec, kMaxPieces> vectors_;
  size_t vector_count_ = 0;
  size_t done_ = 0;  // of these, transferred
  // Of runs of pieces in the same region, one for each.
  std::array<RegionLease, kMaxPieces> leases_;
  size_t lease_count_ = 0;
  bool in_one_slot_ = false;
};

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_JOINED_MEMORY_H_
