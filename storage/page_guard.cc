#include "fixpool/storage/page_guard.h"

#include "fixpool/io/check.h"

namespace fixpool::storage {
namespace {

constexpr char kHoldsNoPage[] =
    "a guard was used that holds no page: it was moved from, released, or never given one";

}  // namespace

PageId ReadGuard::page_id() const {
  FIXPOOL_CHECK(holds_page(), kHoldsNoPage);
  return hold_.page();
}

std::span<const std::byte> ReadGuard::bytes() const {
  FIXPOOL_CHECK(holds_page(), kHoldsNoPage);
  return {hold_.data(), hold_.size_bytes()};
}

PageId WriteGuard::page_id() const {
  FIXPOOL_CHECK(holds_page(), kHoldsNoPage);
  return hold_.page();
}

std::span<const std::byte> WriteGuard::bytes() const {
  FIXPOOL_CHECK(holds_page(), kHoldsNoPage);
  return {hold_.data(), hold_.size_bytes()};
}

std::span<std::byte> WriteGuard::mutable_bytes() {
  FIXPOOL_CHECK(holds_page(), kHoldsNoPage);
  hold_.MarkDirty();
  return {hold_.data(), hold_.size_bytes()};
}

}  // namespace fixpool::storage
