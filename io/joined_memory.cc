#include "fixpool/io/joined_memory.h"

namespace fixpool::io {

std::optional<JoinedMemory::Refusal> JoinedMemory::Take(FixedBufferRegistry& registry,
                                                        absl::Span<const IoPiece> pieces) {
  vector_count_ = 0;
  done_ = 0;
  in_one_slot_ = true;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const IoPiece& piece = pieces[i];
    const bool same_region = i > 0 && piece.region == pieces[i - 1].region;
    std::optional<ValidationError> error;
    if (piece.region.is_unregistered()) {
      in_one_slot_ = false;
    } else if (same_region) {
      // Under the lease of the one before, so that the answer holds as long as that.
      error = registry.Check(piece.region, piece.data, piece.length_bytes);
    } else {
      error =
          registry.TryLease(piece.region, piece.data, piece.length_bytes, leases_[lease_count_]);
      if (!error.has_value()) ++lease_count_;
    }
    if (error.has_value()) {
      Release();
      return Refusal{.piece = i, .error = *error};
    }
    Append(piece, same_region);
  }
  in_one_slot_ = in_one_slot_ && lease_count_ == 1 && leases_[0].fixed();
  return std::nullopt;
}

void JoinedMemory::Append(const IoPiece& piece, bool same_region) {
  if (same_region) {
    // Not from one region to the next: to the kernel they are two buffers.
    iovec& last = vectors_[vector_count_ - 1];
    if (static_cast<std::byte*>(last.iov_base) + last.iov_len == piece.data) {
      last.iov_len += piece.length_bytes;
      return;
    }
  }
  vectors_[vector_count_++] = {.iov_base = piece.data, .iov_len = piece.length_bytes};
}

void JoinedMemory::Release() {
  for (size_t i = 0; i < lease_count_; ++i) leases_[i].End();
  lease_count_ = 0;
}

void JoinedMemory::Advance(size_t count) {
  while (count > 0) {
    iovec& first = vectors_[done_];
    if (count < first.iov_len) {
      first.iov_base = static_cast<std::byte*>(first.iov_base) + count;
      first.iov_len -= count;
      return;
    }
    count -= first.iov_len;
    ++done_;
  }
}

}  // namespace fixpool::io
