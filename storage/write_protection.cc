#include "fixpool/storage/write_protection.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/io/mutex.h"
#include "fixpool/io/region_id.h"
#include "fixpool/storage/blocking_transfer.h"
#include "fixpool/storage/completion_reaper.h"
#include "fixpool/storage/mutation.h"
#include "fixpool/storage/transfer.h"

namespace fixpool::storage {
namespace {

using Booking = BlockingTransfers::Booking;
using Wanted = CompletionReaper::Wanted;

// The file of a write of a page, or of several.
PageFile& FileOfWrite(CacheState& state, uint64_t user_data)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mutex) {
  const uint32_t index = IndexOf(user_data);
  if (KindOf(user_data) == TransferKind::kWrite) return state.FileOf(FrameIndex{index});
  return state.files.at(state.joined_writes[index].file);
}

bool IsWrite(uint64_t user_data) {
  return KindOf(user_data) == TransferKind::kWrite ||
         KindOf(user_data) == TransferKind::kJoinedWrite;
}

uint32_t PagesOf(const io::IoRequest& request, uint32_t page_bytes) {
  return request.length_bytes / page_bytes;
}

// Puts the pages of the request one after the other at `to`.
std::byte* CopyPages(const io::IoRequest& request, std::byte* to) {
  if (request.pieces.empty()) {
    std::memcpy(to, request.data, request.length_bytes);
    return to + request.length_bytes;
  }
  for (const io::IoPiece& piece : request.pieces) {
    std::memcpy(to, piece.data, piece.length_bytes);
    to += piece.length_bytes;
  }
  return to;
}

}  // namespace

WriteProtection::WriteProtection(CacheState& state, IoBatch& batch)
    : state_(state), deadline_(state.environment->DeadlineAfter(state.timeouts.access)) {
  IoBatch rest;
  {
    io::MutexLock lock(state.mutex);
    for (const io::IoRequest& request : batch.requests()) {
      PageFile* file =
          IsWrite(request.user_data) ? &FileOfWrite(state, request.user_data) : nullptr;
      if (file == nullptr || file->area == nullptr) {
        rest.Add(request);
      } else {
        held_.push_back({.request = request, .file = file->id});
      }
    }
  }
  batch.TakeFrom(rest);
}

bool WriteProtection::Next(IoBatch& part, absl::Status& status) {
  const auto next =
      std::find_if(held_.begin(), held_.end(), [](const Held& held) { return !held.taken; });
  if (next == held_.end()) return false;
  chosen_.clear();
  begun_.clear();
  file_id_ = next->file;
  status = TakeArea(file_id_);
  if (status.ok()) {
    status = Protect(file_id_);
    GiveAreaBack();
  }
  if (chosen_.empty()) {  // not even the first, so none of them
    for (size_t i = 0; i < held_.size(); ++i) {
      if (!held_[i].taken && held_[i].file == file_id_) chosen_.push_back(i);
    }
  }
  for (const size_t i : chosen_) {
    held_[i].taken = true;
    part.Add(held_[i].request);
  }
  return true;
}

absl::Status WriteProtection::TakeArea(FileId file_id) {
  while (true) {
    const uint32_t seen = state_.reaper.epoch();
    {
      io::MutexLock lock(state_.mutex);
      const PageFile& file = state_.files.at(file_id);
      if (!file.poison.ok()) return file.poison;
      if (!file.area->busy) {
        area_ = file.area.get();
        area_->busy = true;
        return absl::OkStatus();
      }
      if (state_.environment->Expired(deadline_)) {
        return absl::DeadlineExceededError(absl::StrCat(
            "writes of ", file.path(), ": the double-write area was in use all the time"));
      }
    }
    state_.reaper.WaitFor(seen, Wanted::kEither, deadline_);
  }
}

void WriteProtection::GiveAreaBack() {
  {
    io::MutexLock lock(state_.mutex);
    area_->busy = false;
  }
  area_ = nullptr;
  state_.reaper.Signal();
}

WriteProtection::Begun WriteProtection::Choose(FileId file) {
  Begun begun;
  begun.first = chosen_.size();
  const size_t from = chosen_.empty() ? 0 : chosen_.back() + 1;
  for (size_t i = from; i < held_.size(); ++i) {
    if (held_[i].taken || held_[i].file != file) continue;
    const io::IoRequest& request = held_[i].request;
    const uint32_t pages = PagesOf(request, area_->page_bytes);
    FIXPOOL_CHECK(pages <= area_->pages_each, "a write of more pages than a batch of copies has");
    if (begun.pages.size() + pages > area_->pages_each) break;
    for (uint32_t page = 0; page < pages; ++page) {
      begun.pages.push_back(request.offset_bytes / area_->page_bytes + page);
    }
    chosen_.push_back(i);
    ++begun.count;
  }
  return begun;
}

absl::Status WriteProtection::FreePlaces() {
  const uint32_t seen = state_.reaper.epoch();
  bool sync = false;
  io::FileHandle handle;
  {
    io::MutexLock lock(state_.mutex);
    PageFile& file = state_.files.at(file_id_);
    if (!file.poison.ok()) return file.poison;
    if (!area_->ring.FreedBySync() && !area_->ring.awaits_writes()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("writes of ", file.path(), ": its double-write area ", area_->file->path(),
                       " is full of copies of pages that could not be written"));
    }
    sync = area_->ring.FreedBySync() && !file.sync_in_flight();
    handle = file.handle;
  }
  if (sync) {
    const absl::Status status =
        TransferNow(state_, {.request = {.operation = io::IoOperation::kSync, .file = handle},
                             .memory = nullptr,
                             .deadline = deadline_,
                             .file = file_id_,
                             .booking = Booking::kSync})
            .status();
    // Another thread has begun one.
    return absl::IsAborted(status) ? absl::OkStatus() : status;
  }
  if (state_.environment->Expired(deadline_)) {
    return absl::DeadlineExceededError("writes that use the double-write area have not ended yet");
  }
  state_.reaper.WaitFor(seen, Wanted::kEither, deadline_);
  return absl::OkStatus();
}

absl::Status WriteProtection::Reserve(Begun& begun) {
  while (true) {
    {
      io::MutexLock lock(state_.mutex);
      const auto place = area_->ring.Reserve(begun.pages);
      if (place.has_value()) {
        begun.place = *place;
        return absl::OkStatus();
      }
    }
    if (!begun_.empty()) return absl::NotFoundError("no room in this part");
    if (absl::Status status = FreePlaces(); !status.ok()) return status;
  }
}

absl::Status WriteProtection::WriteCopies(Begun& begun) {
  const uint32_t page_bytes = area_->page_bytes;
  if (area_->buffer == nullptr) {  // the engine kept it: see below
    area_->buffer = AreaMemory((area_->pages_each + 1) * size_t{page_bytes}, page_bytes);
  }
  if (area_->buffer == nullptr) {
    io::MutexLock lock(state_.mutex);
    area_->ring.Abandon(begun.place.slot);
    return absl::ResourceExhaustedError("no memory for copies of pages that are to be written");
  }
  std::byte* const buffer = area_->buffer.get();
  std::byte* to = buffer + page_bytes;
  for (size_t i = 0; i < begun.count; ++i) {
    to = CopyPages(held_[chosen_[begun.first + i]].request, to);
  }
  DoubleWriteHeader header{.page_bytes = page_bytes,
                           .identity = area_->front.identity,
                           .sequence = begun.place.sequence,
                           .copies = {},
                           .needed = {}};
  for (size_t i = 0; i < begun.pages.size(); ++i) {
    const std::span<const std::byte> copy(buffer + (i + 1) * page_bytes, page_bytes);
    header.copies.push_back({begun.pages[i], DoubleWriteChecksum(copy)});
  }
  {
    io::MutexLock lock(state_.mutex);
    area_->ring.NeededBeside(begun.place.slot, header.needed);
  }
  EncodeHeader(header, std::span(buffer, page_bytes));
  const uint64_t position_pages = kDoubleWriteFronts + begun.place.position_pages;
  absl::Status status =
      TransferNow(state_, {.request = {.operation = io::IoOperation::kWrite,
                                       .file = area_->handle,
                                       .region = io::RegionId::kUnregistered,
                                       .data = buffer,
                                       .length_bytes = static_cast<uint32_t>(to - buffer),
                                       .offset_bytes = position_pages * page_bytes},
                           .memory = area_->buffer,
                           .deadline = deadline_,
                           .file = file_id_})
          .status();
  if (absl::IsDeadlineExceeded(status)) {
    // The engine still has it. The place is not used again, since it may yet be written.
    area_->buffer = nullptr;
    return status;
  }
  if (!status.ok()) {
    io::MutexLock lock(state_.mutex);
    area_->ring.Abandon(begun.place.slot);
  }
  return status;
}

absl::Status WriteProtection::Sync() {
  absl::Status status =
      TransferNow(state_, {.request = {.operation = io::IoOperation::kSync, .file = area_->handle},
                           .memory = nullptr,
                           .deadline = deadline_,
                           .file = file_id_,
                           .booking = Booking::kAreaSync})
          .status();
  io::MutexLock lock(state_.mutex);
  const PageFile& file = state_.files.at(file_id_);
  if (status.ok() || absl::IsDeadlineExceeded(status)) return status;
  return file.poison;
}

absl::Status WriteProtection::Protect(FileId file) {
  absl::Status status;
  while (true) {
    Begun begun = Choose(file);
    if (begun.count == 0) break;
    status = Reserve(begun);
    if (status.ok()) status = WriteCopies(begun);
    if (!status.ok()) {
      chosen_.resize(begun.first);  // the others may go on without them
      break;
    }
    begun_.push_back(std::move(begun));
  }
  if (begun_.empty()) return status;
  if (!Mutated(Mutation::kNoDoubleWrite)) status = Sync();
  io::MutexLock lock(state_.mutex);
  for (const Begun& begun : begun_) {
    if (!status.ok()) {
      area_->ring.Abandon(begun.place.slot);
      continue;
    }
    area_->ring.Cover(begun.place.slot, begun.pages, static_cast<uint32_t>(begun.count));
    state_.counters.double_writes += begun.pages.size();
    for (size_t i = 0; i < begun.count; ++i) {
      io::IoRequest& request = held_[chosen_[begun.first + i]].request;
      request.user_data = WithCopiesIn(request.user_data, begun.place.slot);
    }
  }
  return status;
}

void EndProtectedWrite(CacheState& state, uint64_t user_data, bool ok) {
  const uint64_t slot_and_one = user_data >> 40;
  if (slot_and_one == 0 || !IsWrite(user_data)) return;
  const uint32_t index = IndexOf(user_data);
  PageNumber first;
  uint32_t count = 1;
  if (KindOf(user_data) == TransferKind::kWrite) {
    first = state.frames[FrameIndex{index}].page_number();
  } else {
    first = state.joined_writes[index].first;
    count = state.joined_writes[index].count;
  }
  DoubleWriteRing& ring = FileOfWrite(state, user_data).area->ring;
  ring.EndWrite(static_cast<uint32_t>(slot_and_one - 1), first, count, ok);
}

}  // namespace fixpool::storage
