#include "fixpool/storage/translation.h"

#include <bit>

#include "absl/hash/hash.h"
#include "fixpool/io/check.h"

namespace fixpool::storage {

Translation::Translation(uint32_t frame_count)
    : slots_(frame_count), buckets_(std::bit_ceil(size_t{frame_count}), kNoFrame) {}

FrameIndex& Translation::BucketOf(const PageId& page) {
  return buckets_[absl::Hash<PageId>()(page) & (buckets_.size() - 1)];
}

FrameIndex Translation::Find(const PageId& page) const {
  FrameIndex frame = const_cast<Translation*>(this)->BucketOf(page);
  while (frame != kNoFrame && slots_[ToInt(frame)].page != page) frame = slots_[ToInt(frame)].next;
  return frame;
}

void Translation::Insert(const PageId& page, FrameIndex frame) {
  Slot& slot = slots_[ToInt(frame)];
  FIXPOOL_CHECK(!slot.used, "two pages in one frame");
  FIXPOOL_CHECK(Find(page) == kNoFrame, "one page in two frames");
  FrameIndex& bucket = BucketOf(page);
  slot = Slot{.page = page, .next = bucket, .used = true};
  bucket = frame;
  ++size_;
}

void Translation::Erase(const PageId& page) {
  FrameIndex* link = &BucketOf(page);
  while (*link != kNoFrame && slots_[ToInt(*link)].page != page) link = &slots_[ToInt(*link)].next;
  FIXPOOL_CHECK(*link != kNoFrame, "a page left the cache that was not in it");
  Slot& slot = slots_[ToInt(*link)];
  *link = slot.next;
  slot = Slot();
  --size_;
}

}  // namespace fixpool::storage
