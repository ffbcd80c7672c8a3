#include "fixpool/storage/double_write_recovery.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fixpool/io/mutex.h"
#include "fixpool/io/region_id.h"
#include "fixpool/storage/blocking_transfer.h"
#include "fixpool/storage/double_write_format.h"
#include "fixpool/storage/page_seal.h"

namespace fixpool::storage {
namespace {

constexpr size_t kChunkBytes = 1u << 20;

// A copy of a page, in an area.
struct Copy {
  PageNumber page_number;
  uint64_t sequence;
  uint64_t offset_bytes;
  uint64_t checksum;
};

// One transfer after the other, of whole pages, to and from one piece of memory.
class PageIo {
 public:
  PageIo(CacheState& state, size_t bytes, io::Deadline deadline)
      : state_(state),
        memory_(AreaMemory(bytes, state.page_bytes)),
        bytes_(bytes),
        deadline_(deadline) {}

  bool ok() const { return memory_ != nullptr; }
  std::span<std::byte> memory() const { return {memory_.get(), bytes_}; }

  // What the file does not have is zeros.
  absl::Status Read(io::FileHandle file, uint64_t offset_bytes, size_t length_bytes) {
    const absl::StatusOr<uint32_t> done =
        Transfer(io::IoOperation::kRead, file, offset_bytes, length_bytes);
    if (!done.ok()) return done.status();
    std::memset(memory_.get() + *done, 0, length_bytes - *done);
    return absl::OkStatus();
  }
  absl::Status Write(io::FileHandle file, uint64_t offset_bytes, size_t length_bytes) {
    return Transfer(io::IoOperation::kWrite, file, offset_bytes, length_bytes).status();
  }
  absl::Status Sync(io::FileHandle file) {
    return TransferNow(state_, {.request = {.operation = io::IoOperation::kSync, .file = file},
                                .memory = nullptr,
                                .deadline = deadline_})
        .status();
  }

 private:
  absl::StatusOr<uint32_t> Transfer(io::IoOperation operation, io::FileHandle file,
                                    uint64_t offset_bytes, size_t length_bytes) {
    return TransferNow(state_, {.request = {.operation = operation,
                                            .file = file,
                                            .region = io::RegionId::kUnregistered,
                                            .data = memory_.get(),
                                            .length_bytes = static_cast<uint32_t>(length_bytes),
                                            .offset_bytes = offset_bytes},
                                .memory = memory_,
                                .deadline = deadline_});
  }

  CacheState& state_;
  const std::shared_ptr<std::byte> memory_;
  const size_t bytes_;
  const io::Deadline deadline_;
};

absl::Status WriteFront(PageIo& io, io::FileHandle area, const DoubleWriteFront& front) {
  EncodeFront(front, io.memory().first(front.page_bytes));
  const uint64_t place = front.generation % kDoubleWriteFronts;
  if (absl::Status status = io.Write(area, place * front.page_bytes, front.page_bytes);
      !status.ok()) {
    return status;
  }
  return io.Sync(area);
}

// What an area has for its file, and what the file needs of it.
class AreaContents {
 public:
  AreaContents(CacheState& state, const PageFile& file, const io::File& area_file,
               io::FileHandle area)
      : state_(state),
        file_(file),
        area_file_(area_file),
        area_(area),
        io_(state, std::max<size_t>(kChunkBytes, kDoubleWriteFronts * state.page_bytes),
            state.environment->DeadlineAfter(state.timeouts.flush)) {}

  PageIo& io() { return io_; }
  // After Load: absent if the area is new.
  const std::optional<DoubleWriteFront>& front() const { return front_; }
  uint64_t next_sequence() const { return next_sequence_; }
  bool any_copies() const { return !copies_.empty(); }

  absl::Status Load();
  // Of the pages that have copies, those that are torn: at each of them, the copies it has, newest
  // first, are tried until `use` has been called for one, whose bytes are in io().memory().
  template <typename Use>
  absl::Status ForEachTornPage(Use use);

 private:
  absl::Status LoadFronts();
  absl::Status CheckFront(const DoubleWriteFront& front) const;
  absl::Status LoadHeaders(uint64_t size_bytes);
  void KeepNeeded();
  bool IsWhole(PageNumber page_number, std::span<const std::byte> page) const;
  absl::Status Damaged(const absl::Status& why) const;

  struct Header {
    DoubleWriteHeader header;
    uint64_t offset_bytes;
  };

  CacheState& state_;
  const PageFile& file_;
  const io::File& area_file_;
  const io::FileHandle area_;
  PageIo io_;
  std::optional<DoubleWriteFront> front_;
  std::vector<Header> headers_;
  std::vector<Copy> copies_;  // by page, newest first
  uint64_t next_sequence_ = 1;
};

absl::Status AreaContents::Load() {
  if (!io_.ok()) return absl::ResourceExhaustedError("no memory for the double-write area");
  if (absl::Status status = LoadFronts(); !status.ok()) return status;
  if (!front_.has_value()) return absl::OkStatus();
  next_sequence_ = std::max<uint64_t>(front_->first_sequence, 1);
  const absl::StatusOr<uint64_t> size_bytes = area_file_.SizeBytes();
  if (!size_bytes.ok()) return size_bytes.status();
  if (absl::Status status = LoadHeaders(*size_bytes); !status.ok()) return status;
  KeepNeeded();
  return absl::OkStatus();
}

absl::Status AreaContents::LoadFronts() {
  const uint32_t page_bytes = state_.page_bytes;
  if (absl::Status status = io_.Read(area_, 0, kDoubleWriteFronts * page_bytes); !status.ok()) {
    return status;
  }
  absl::Status damage;
  bool empty = true;
  for (uint32_t i = 0; i < kDoubleWriteFronts; ++i) {
    absl::StatusOr<DoubleWriteFront> front =
        DecodeFront(io_.memory().subspan(i * page_bytes, page_bytes));
    if (absl::IsNotFound(front.status())) continue;
    empty = false;
    if (!front.ok()) {
      damage.Update(front.status());
    } else if (!front_.has_value() || front->generation > front_->generation) {
      front_ = *front;
    }
  }
  if (front_.has_value()) return CheckFront(*front_);
  return empty ? absl::OkStatus() : Damaged(damage);
}

absl::Status AreaContents::Damaged(const absl::Status& why) const {
  return absl::Status(
      why.code(),
      absl::StrCat("OpenFile of ", file_.path(), ": ", area_file_.path(),
                   " is no double-write area that can be used: ", why.message(),
                   ". If it is sure that no crash has torn a page, remove it; else a page that is ",
                   "torn will be DataLoss when it is read"));
}

absl::Status AreaContents::CheckFront(const DoubleWriteFront& front) const {
  if (front.page_bytes != state_.page_bytes) {
    return Damaged(absl::FailedPreconditionError(absl::StrCat(
        "it is of pages of ", front.page_bytes, " bytes, and this cache has ", state_.page_bytes)));
  }
  if (front.identity != file_.identity) {
    return Damaged(absl::FailedPreconditionError(
        absl::StrCat("it is another file's: of identity 0x", absl::Hex(front.identity),
                     ", where this one has 0x", absl::Hex(file_.identity))));
  }
  return absl::OkStatus();
}

absl::Status AreaContents::LoadHeaders(uint64_t size_bytes) {
  const uint32_t page_bytes = state_.page_bytes;
  const size_t chunk_bytes = std::max<size_t>(kChunkBytes, page_bytes);
  for (uint64_t at = uint64_t{kDoubleWriteFronts} * page_bytes; at < size_bytes;
       at += chunk_bytes) {
    const uint64_t pages = (std::min(size_bytes - at, uint64_t{chunk_bytes}) - 1) / page_bytes + 1;
    if (absl::Status status = io_.Read(area_, at, pages * page_bytes); !status.ok()) return status;
    for (uint64_t i = 0; i < pages; ++i) {
      absl::StatusOr<DoubleWriteHeader> header =
          DecodeHeader(io_.memory().subspan(i * page_bytes, page_bytes));
      if (absl::IsFailedPrecondition(header.status())) return Damaged(header.status());
      if (!header.ok() || header->page_bytes != page_bytes || header->identity != file_.identity) {
        continue;  // a copy, or a header that was not written in full
      }
      next_sequence_ = std::max(next_sequence_, header->sequence + 1);
      if (header->sequence < front_->first_sequence) continue;
      headers_.push_back({*std::move(header), at + i * page_bytes});
    }
  }
  return absl::OkStatus();
}

// Of what is left of others, a part may be older than what is on stable storage.
void AreaContents::KeepNeeded() {
  const auto newest = std::max_element(
      headers_.begin(), headers_.end(),
      [](const Header& a, const Header& b) { return a.header.sequence < b.header.sequence; });
  if (newest == headers_.end()) return;
  std::vector<uint64_t> needed = newest->header.needed;
  needed.push_back(newest->header.sequence);
  for (const Header& header : headers_) {
    if (std::find(needed.begin(), needed.end(), header.header.sequence) == needed.end()) continue;
    uint64_t at = header.offset_bytes;
    for (const DoubleWriteHeader::Copy& copy : header.header.copies) {
      at += state_.page_bytes;
      copies_.push_back({copy.page_number, header.header.sequence, at, copy.checksum});
    }
  }
  std::sort(copies_.begin(), copies_.end(), [](const Copy& a, const Copy& b) {
    return a.page_number != b.page_number ? a.page_number < b.page_number : a.sequence > b.sequence;
  });
}

bool AreaContents::IsWhole(PageNumber page_number, std::span<const std::byte> page) const {
  const PageSeal::Place place{.page_number = page_number, .file_identity = file_.identity};
  return file_.seal->Verify(page, place).ok();
}

template <typename Use>
absl::Status AreaContents::ForEachTornPage(Use use) {
  const uint32_t page_bytes = state_.page_bytes;
  const std::span<std::byte> page = io_.memory().first(page_bytes);
  for (size_t i = 0; i < copies_.size();) {
    const PageNumber page_number = copies_[i].page_number;
    size_t end = i;
    while (end < copies_.size() && copies_[end].page_number == page_number) ++end;
    const absl::Status read = io_.Read(file_.handle, page_number * page_bytes, page_bytes);
    // It may be whole, and newer than its copy, which is none of the last thing that was synced then.
    if (!read.ok()) return read;
    const bool whole = IsWhole(page_number, page) || IsAllZeros(page);
    for (; !whole && i < end; ++i) {
      // Not passed over: who opens the file again may have it.
      if (absl::Status status = io_.Read(area_, copies_[i].offset_bytes, page_bytes);
          !status.ok()) {
        return status;
      }
      if (DoubleWriteChecksum(page) != copies_[i].checksum || !IsWhole(page_number, page)) continue;
      if (absl::Status status = use(page_number); !status.ok()) return status;
      break;
    }
    i = end;
  }
  return absl::OkStatus();
}

// Writes torn pages anew. How many there were.
absl::StatusOr<uint64_t> Restore(CacheState& state, const PageFile& file, const io::File& area,
                                 AreaContents& contents) {
  uint64_t restored = 0;
  absl::Status status = contents.ForEachTornPage([&](PageNumber page_number) {
    ++restored;
    return contents.io().Write(file.handle, page_number * state.page_bytes, state.page_bytes);
  });
  // Also if all are whole: what says so may be memory of the kernel's, of an attempt before this
  // one or of a cache that did not flush, and the copies are given up after this.
  if (status.ok() && contents.any_copies()) status = contents.io().Sync(file.handle);
  if (!status.ok()) return status;
  if (restored == 0) return restored;
  {
    io::MutexLock lock(state.mutex);
    state.counters.pages_recovered += restored;
  }
  state.environment->Report(
      io::Severity::kWarning,
      absl::StrCat(restored, " pages of ", file.path(), " had been torn by a crash, and were ",
                   "written anew from their copies in ", area.path()));
  return restored;
}

DoubleWriteFront NewFront(const CacheState& state, const PageFile& file) {
  return {.page_bytes = state.page_bytes,
          .identity = file.identity,
          .generation = 1,
          .first_sequence = 1};
}

// Both fronts, so that a new area is one whichever of them is looked at first.
absl::Status Format(CacheState& state, io::File& area_file, io::FileHandle area,
                    uint64_t capacity_pages, PageIo& io, DoubleWriteFront& front) {
  const uint64_t pages = kDoubleWriteFronts + capacity_pages;
  absl::Status status = area_file.Preallocate(0, pages * state.page_bytes);
  if (!status.ok() && !absl::IsUnimplemented(status)) return status;
  // Somebody else may have made the name, and died before it was synced.
  if (status = area_file.SyncName(); !status.ok()) return status;
  status = WriteFront(io, area, front);
  if (!status.ok()) return status;
  ++front.generation;
  return WriteFront(io, area, front);
}

absl::StatusOr<uint64_t> CapacityPages(const CacheState& state, const io::File& area_file,
                                       uint64_t capacity_bytes) {
  uint64_t pages = std::max<uint64_t>(capacity_bytes / state.page_bytes, 2);
  if (!area_file.block_device()) return pages;
  const absl::StatusOr<uint64_t> size_bytes = area_file.SizeBytes();
  if (!size_bytes.ok()) return size_bytes.status();
  const uint64_t there = *size_bytes / state.page_bytes;
  if (there >= kDoubleWriteFronts + 2) return std::min(pages, there - kDoubleWriteFronts);
  return absl::InvalidArgumentError(
      absl::StrCat("OpenFile: ", area_file.path(), " is too small for a double-write area"));
}

absl::StatusOr<std::shared_ptr<DoubleWriteArea>> RecoverAndMake(
    CacheState& state, const PageFile& file, const std::shared_ptr<io::File>& area_file,
    io::FileHandle handle, uint64_t capacity_bytes) {
  const absl::StatusOr<uint64_t> capacity_pages = CapacityPages(state, *area_file, capacity_bytes);
  if (!capacity_pages.ok()) return capacity_pages.status();
  AreaContents contents(state, file, *area_file, handle);
  if (absl::Status status = contents.Load(); !status.ok()) return status;
  DoubleWriteFront front = contents.front().value_or(NewFront(state, file));
  if (!contents.front().has_value()) {
    const absl::Status status =
        Format(state, *area_file, handle, *capacity_pages, contents.io(), front);
    if (!status.ok()) return status;
  }
  if (contents.any_copies()) {
    const absl::StatusOr<uint64_t> restored = Restore(state, file, *area_file, contents);
    if (!restored.ok()) return restored.status();
    ++front.generation;
    front.first_sequence = contents.next_sequence();
    if (absl::Status status = WriteFront(contents.io(), handle, front); !status.ok()) {
      return status;
    }
  }
  auto area = std::make_shared<DoubleWriteArea>(
      area_file, DoubleWriteRing::Options{.capacity_pages = *capacity_pages,
                                          .may_grow = !area_file->block_device(),
                                          .next_sequence = contents.next_sequence()});
  area->handle = handle;
  area->page_bytes = state.page_bytes;
  area->pages_each = CopiesOfABatch(state.page_bytes, *capacity_pages);
  area->front = front;
  area->buffer = AreaMemory((area->pages_each + 1) * size_t{state.page_bytes}, state.page_bytes);
  if (area->buffer == nullptr) {
    return absl::ResourceExhaustedError("no memory for the double-write area");
  }
  return area;
}

// For one who only looks: calls look(contents) with what is in the area.
template <typename Look>
absl::Status LookInto(CacheState& state, const PageFile& file,
                      const std::shared_ptr<io::File>& area_file, Look look) {
  const absl::StatusOr<io::FileHandle> handle = state.engine->AddFile(area_file);
  if (!handle.ok()) return handle.status();
  AreaContents contents(state, file, *area_file, *handle);
  absl::Status status = contents.Load();
  if (status.ok()) status = look(contents);
  (void)state.engine->RemoveFile(*handle, state.environment->DeadlineAfter(state.timeouts.flush));
  return status;
}

}  // namespace

absl::StatusOr<std::shared_ptr<DoubleWriteArea>> OpenDoubleWriteArea(
    CacheState& state, const PageFile& file, std::shared_ptr<io::File> area_file,
    uint64_t capacity_bytes) {
  const absl::StatusOr<io::FileHandle> handle = state.engine->AddFile(area_file);
  if (!handle.ok()) return handle.status();
  absl::StatusOr<std::shared_ptr<DoubleWriteArea>> area =
      RecoverAndMake(state, file, area_file, *handle, capacity_bytes);
  if (!area.ok()) {
    (void)state.engine->RemoveFile(*handle, state.environment->DeadlineAfter(state.timeouts.flush));
  }
  return area;
}

absl::Status CheckNoPageIsTorn(CacheState& state, const PageFile& file,
                               std::shared_ptr<io::File> area_file) {
  return LookInto(state, file, area_file, [&](AreaContents& contents) {
    return contents.ForEachTornPage([&](PageNumber page_number) {
      return absl::FailedPreconditionError(
          absl::StrCat("OpenFile of ", file.path(), ": page ", page_number,
                       " was torn by a crash, and its copy ", "is in ", area_file->path(),
                       "; open the file for writing once, which repairs it"));
    });
  });
}

absl::Status CheckNoCopiesAreLeft(CacheState& state, const PageFile& file,
                                  std::shared_ptr<io::File> area_file) {
  return LookInto(state, file, area_file, [&](AreaContents& contents) {
    if (!contents.any_copies()) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        "OpenFile of ", file.path(), ": ", area_file->path(), " has copies of pages that a crash ",
        "may have torn, and that would be too old once the file is written without them; open it ",
        "once with TornPageProtection::kDoubleWrite and close it, or remove that file"));
  });
}

absl::Status EmptyDoubleWriteArea(CacheState& state, DoubleWriteArea& area, io::Deadline deadline) {
  DoubleWriteFront front;
  {
    io::MutexLock lock(state.mutex);
    if (!area.ring.empty() || area.ring.next_sequence() == area.front.first_sequence) {
      return absl::OkStatus();
    }
    ++area.front.generation;
    area.front.first_sequence = area.ring.next_sequence();
    front = area.front;
  }
  PageIo io(state, state.page_bytes, deadline);
  if (!io.ok()) return absl::ResourceExhaustedError("no memory for the double-write area");
  return WriteFront(io, area.handle, front);
}

}  // namespace fixpool::storage
