#ifndef FIXPOOL_STORAGE_PAGE_SEAL_H_
#define FIXPOOL_STORAGE_PAGE_SEAL_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "fixpool/io/require_cpp20.h"
#include "fixpool/storage/lsn.h"
#include "fixpool/storage/page_id.h"

namespace fixpool::storage {

// How the pages of a file are sealed when they are written, and verified when they are read: by
// something in a trailer at the end of each that tells whether a page is what was written there.
//
//   auto seal = std::make_shared<Crc32cSeal>();                       // or one of the caller's
//   cache->OpenFile("data.db", {.seal = seal, .identity = 0x5eed});
//
// Shape: pages of the cache's size, whose last trailer_bytes() are the seal's alone; nobody else
// sees or changes them.
// Threads: thread-safe. Called with no lock of the cache held, for different pages side by side;
// must not call the cache, which may wait for the very page.
class PageSeal {
 public:
  // Which page it is; what a page that lies elsewhere, or in another file, has otherwise.
  struct Place {
    PageNumber page_number = 0;
    uint64_t file_identity = 0;  // FileOptions::identity
  };

  virtual ~PageSeal() = default;

  // Reserved at the end of each page: a multiple of 8, half of the page at most, and always the
  // same.
  virtual uint32_t trailer_bytes() const = 0;

  // Fills the trailer of the page. The rest of it is what is to be written, and stays as it is:
  // others may be reading it.
  virtual void Seal(std::span<std::byte> page, const Place& place, Lsn lsn) const = 0;

  // The LSN that the page was sealed with. Any error: the page is not what was sealed for that
  // place; whoever wants the page is told so as DataLoss with this message, which should say what
  // is different, what was expected and what was found. A page of zeros was never written, and is
  // none of this one's business: the cache takes it as it is, without an LSN, whatever is said of
  // it here.
  virtual absl::StatusOr<Lsn> Verify(std::span<const std::byte> page, const Place& place) const = 0;
};

// Whether the page was never written, as far as can be seen.
bool IsAllZeros(std::span<const std::byte> page);

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_PAGE_SEAL_H_
