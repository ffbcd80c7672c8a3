#include "fixpool/storage/run_reader.h"

#include <algorithm>
#include <array>

#include "fixpool/storage/frame_supply.h"
#include "fixpool/storage/page_transfers.h"

namespace fixpool::storage {

RunReader::Step RunReader::Next(IoBatch& batch) {
  PageFile* const file = state_.files.Find(run_.file);
  if (file == nullptr || file->closing || !file->poison.ok()) return End(Step::kDone, batch);
  run_.end = std::min({run_.end, file->page_count, file->changes.NextClosed(next_)});
  const PageNumber before = next_;
  const bool missing = PassOverResidents();
  if (next_ != before) HandOver(batch);
  if (next_ >= run_.end) return End(Step::kDone, batch);
  if (!missing) return Step::kMore;
  if (!Begin(*file, batch)) return End(Step::kStuck, batch);
  std::array<FrameIndex, kPagesOfAStep> frames;
  const size_t room =
      read_ == nullptr ? kReadsOfAStep : state_.joined_reads.pages_each() - read_->count;
  const size_t wanted = MissingInARow(std::min(room, frames.size()));
  const size_t count =
      TakeFrames(state_, absl::MakeSpan(frames).first(wanted), /*reserve=*/1, batch);
  // Those that lie side by side are one piece of memory to the kernel and the device.
  std::sort(frames.begin(), frames.begin() + count);
  size_t used = 0;
  while (used < count && Add(*file, frames[used], batch)) ++used;
  for (size_t i = used; i < count; ++i) state_.frames.PutFree(frames[i]);
  if (used < wanted) return End(Step::kStuck, batch);
  if (read_ != nullptr && read_->count == state_.joined_reads.pages_each()) HandOver(batch);
  if (next_ >= run_.end) return End(Step::kDone, batch);
  return Step::kMore;
}

// False: there may be more of them.
bool RunReader::PassOverResidents() {
  const PageNumber most = std::min(run_.end, next_ + kPassedOverInAStep);
  while (next_ < most && state_.Find({run_.file, next_}) != kNoFrame) ++next_;
  return next_ < most;
}

size_t RunReader::MissingInARow(size_t most) const {
  size_t count = 1;
  while (count < most && next_ + count < run_.end &&
         state_.Find({run_.file, next_ + count}) == kNoFrame) {
    ++count;
  }
  return count;
}

// False: the engine has no room.
bool RunReader::Begin(PageFile& file, IoBatch& batch) {
  if (read_ != nullptr) return true;
  if (!CanStart(state_, batch, run_.reserve)) return false;
  read_ = TakeJoinedRead(state_, file, next_);
  // Where the engine takes none at all, or pages are as large as it gets, one at a time.
  return read_ != nullptr || !state_.joined_reads.possible();
}

// False: it cannot be read into this frame; whoever asks for the page will be told why.
bool RunReader::Add(PageFile& file, FrameIndex index, IoBatch& batch) {
  if (read_ == nullptr && !CanStart(state_, batch, run_.reserve)) return false;
  const absl::StatusOr<AtomicPageWord*> word = file.words->FindOrMake(next_);
  if (!word.ok()) return false;
  const PageId page{run_.file, next_};
  {
    FrameTable::Edit frame(state_.frames, index);
    frame->set_page(page);
    frame->state = FrameState::kLoading;
  }
  const absl::Status added =
      read_ == nullptr ? StartRead(state_, index, batch) : AddToJoinedRead(state_, *read_, index);
  if (!added.ok()) return false;
  state_.Insert(index, *word);
  state_.policy->OnLoaded(index, page, Hint::kPrefetch);
  ++started_;
  ++next_;
  return true;
}

void RunReader::HandOver(IoBatch& batch) {
  if (read_ == nullptr) return;
  StartJoinedRead(state_, *read_, batch);
  read_ = nullptr;
}

RunReader::Step RunReader::End(Step step, IoBatch& batch) {
  HandOver(batch);
  return step;
}

}  // namespace fixpool::storage
