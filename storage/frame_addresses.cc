#include "fixpool/storage/frame_addresses.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"

namespace fixpool::storage {
namespace {

size_t TableBytes(uint32_t blocks) {
  return std::max<size_t>(blocks, 1) * sizeof(std::atomic<std::byte*>);
}

}  // namespace

int FrameAddresses::ChooseShift(absl::Span<std::byte* const> pages, const Options& options) {
  std::vector<std::byte*> sorted(pages.begin(), pages.end());
  std::sort(sorted.begin(), sorted.end());
  int shift = kLargestShift;
  while (shift > 0 && size_t{options.page_bytes} << shift > options.max_block_bytes) --shift;
  for (; shift > 0; --shift) {
    const size_t block_bytes = size_t{options.page_bytes} << shift;
    size_t blocks = 0;
    uintptr_t last = 0;
    for (const std::byte* const page : sorted) {
      const uintptr_t block = reinterpret_cast<uintptr_t>(page) / block_bytes;
      if (blocks == 0 || block != last) ++blocks;
      last = block;
    }
    if ((blocks << shift) - pages.size() <= pages.size() / 63) break;
  }
  return shift;
}

absl::StatusOr<FrameAddresses> FrameAddresses::Create(absl::Span<std::byte* const> pages,
                                                      const Options& options) {
  View view;
  view.page_shift_ = std::countr_zero(options.page_bytes);
  view.shift_ = ChooseShift(pages, options);
  view.mask_ = (1u << view.shift_) - 1;
  const uint32_t blocks = options.max_frames >> view.shift_;
  view.size_ = blocks << view.shift_;
  absl::StatusOr<ZeroedMemory> table = ZeroedMemory::ReserveAddresses(TableBytes(blocks));
  if (!table.ok()) return table.status();
  view.blocks_ = reinterpret_cast<const std::atomic<std::byte*>*>(table->data());
  FrameAddresses addresses(*std::move(table), view);
  if (absl::Status status = addresses.Add(pages); !status.ok()) return status;
  return addresses;
}

absl::Status FrameAddresses::Add(absl::Span<std::byte* const> pages) {
  std::vector<uintptr_t> added;
  for (const std::byte* const page : pages) {
    const uintptr_t block = BlockOf(page);
    if (!added.empty() && added.back() == block) continue;
    if (Find(block) == nullptr) added.push_back(block);
  }
  // Each once, and the first to be named first.
  std::vector<Known> news;
  for (const uintptr_t block : added) {
    news.push_back({.block = block, .number = static_cast<uint32_t>(news.size())});
  }
  const auto before = [](const Known& a, const Known& b) { return a.block < b.block; };
  std::stable_sort(news.begin(), news.end(), before);
  news.erase(std::unique(news.begin(), news.end(),
                         [](const Known& a, const Known& b) { return a.block == b.block; }),
             news.end());
  const size_t blocks = known_.size() + news.size();
  if (blocks > view_.size_ >> view_.shift_) {
    return absl::ResourceExhaustedError(absl::StrCat("the tables hold at most ", view_.size_,
                                                     " frames, and ", blocks, " blocks of ",
                                                     1u << view_.shift_, " are wanted"));
  }
  if (absl::Status status = table_.MakeAccessible(TableBytes(static_cast<uint32_t>(blocks)));
      !status.ok()) {
    return status;
  }
  std::sort(news.begin(), news.end(),
            [](const Known& a, const Known& b) { return a.number < b.number; });
  auto* const table = reinterpret_cast<std::atomic<std::byte*>*>(table_.data());
  for (Known& one : news) {
    one.number = static_cast<uint32_t>(known_.size() + static_cast<size_t>(&one - news.data()));
    table[one.number].store(
        reinterpret_cast<std::byte*>(one.block << view_.shift_ << view_.page_shift_),
        std::memory_order_release);
  }
  known_.insert(known_.end(), news.begin(), news.end());
  std::sort(known_.begin(), known_.end(), before);
  return absl::OkStatus();
}

const FrameAddresses::Known* FrameAddresses::Find(uintptr_t block) const {
  const auto found =
      std::lower_bound(known_.begin(), known_.end(), block,
                       [](const Known& known, uintptr_t wanted) { return known.block < wanted; });
  return found != known_.end() && found->block == block ? &*found : nullptr;
}

FrameIndex FrameAddresses::IndexOf(const std::byte* page) const {
  const Known* const known = Find(BlockOf(page));
  FIXPOOL_CHECK(known != nullptr, "an address that is no frame's");
  const uintptr_t in_block = reinterpret_cast<uintptr_t>(page) >> view_.page_shift_;
  return FrameIndex{(known->number << view_.shift_) +
                    (static_cast<uint32_t>(in_block) & view_.mask_)};
}

}  // namespace fixpool::storage
