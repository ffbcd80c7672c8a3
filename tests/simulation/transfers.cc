// What a simulated life sees go to the disk and come back.

#include "absl/strings/str_cat.h"
#include "tests/simulation/simulation.h"

namespace fixpool::simulation {

using io::IoOperation;

void Simulation::OnSubmitted(const SimTransfer& transfer) {
  if (dying_) return;
  verdict_.Note(static_cast<uint64_t>(transfer.request.operation) << 60 |
                uint64_t{transfer.image->number()} << 50 | transfer.request.offset_bytes);
  const size_t file = transfer.image->number();
  // Areas, and what recovery does with a file that is not open yet.
  if (opens_ == file || file >= model_.file_count()) return;
  if (transfer.request.operation == IoOperation::kRead) CheckRead(transfer);
  if (transfer.request.operation == IoOperation::kWrite) CheckWrite(transfer, file);
}

// Neither is anybody at its memory, nor is its range on its way already.
void Simulation::CheckRead(const SimTransfer& transfer) {
  // What others have begun before may be late; and so may this be, if the engine is full.
  const bool at_once = prefetches_ && options_.rates.engine_full == 0;
  const bool poisoned = model_.file(transfer.image->number()).poisoned;
  if (!verdict_.Check(Invariant::kPoisoned, !at_once || !poisoned)) {
    Fail(Invariant::kPoisoned, "Prefetch reads a page of a file after a sync of it has failed");
  }
  bool held = false;
  for (const io::IoPiece& piece : transfer.pieces) {
    for (const GuardBook::Held* one : machine_->book.all()) {
      if (one->data == piece.data) held = true;
    }
  }
  if (!verdict_.Check(Invariant::kNobodySeesRead, !held)) {
    Fail(Invariant::kNobodySeesRead, "a page is read from disk into a frame that somebody holds");
  }
  const uint64_t first = transfer.request.offset_bytes;
  const uint64_t end = first + transfer.request.length_bytes;
  bool alone = true;
  for (const auto& other : engine().transfers()) {
    if (other->request.operation == IoOperation::kSync || other->image != transfer.image) continue;
    const uint64_t other_end = other->request.offset_bytes + other->request.length_bytes;
    if (other->request.offset_bytes < end && first < other_end) alone = false;
  }
  if (!verdict_.Check(Invariant::kOneRead, alone)) {
    Fail(Invariant::kOneRead,
         absl::StrCat("a page is read that is on its way already, at ", first));
  }
}

void Simulation::CheckWrite(const SimTransfer& transfer, size_t file) {
  uint64_t page = transfer.request.offset_bytes / kPageBytes;
  for (const io::IoPiece& piece : transfer.pieces) {
    const auto* const data = static_cast<const std::byte*>(piece.data);
    for (size_t at = 0; at < piece.length_bytes; at += kPageBytes, ++page) {
      bool changed = false;
      for (const GuardBook::Held* one : machine_->book.all()) {
        if (one->data == data + at && one->exclusive) changed = true;
      }
      if (!verdict_.Check(Invariant::kNobodyChangesWrite, !changed)) {
        Fail(Invariant::kNobodyChangesWrite, "a page is written while somebody changes it");
      }
      if (options_.log && page < options_.most_pages &&
          !verdict_.Check(Invariant::kLogFirst, model_.LsnOf(file, page) <= log_.durable())) {
        Fail(Invariant::kLogFirst, "a page is written before the log is durable up to its LSN");
      }
      if (transfer.lost) continue;
      if (page >= options_.most_pages) {
        return Fail(Invariant::kWrittenPage, "a page is written that nobody has asked for");
      }
      model_.OnWrite(file, page, data + at);
    }
  }
}

void Simulation::OnEnded(const SimTransfer& transfer, const io::IoCompletion& completion) {
  if (dying_) return;
  size_t file = transfer.image->number();
  const bool of_area = file >= model_.file_count();
  if (of_area) file -= model_.file_count();
  if (opens_ == file) return;
  if (transfer.request.operation == IoOperation::kSync && !completion.status.ok()) {
    (of_area ? model_.file(file).doubtful : model_.file(file).poisoned) = true;
  }
  if (of_area) return;
  if (transfer.request.operation == IoOperation::kRead && completion.status.ok()) {
    const uint64_t first = transfer.request.offset_bytes / kPageBytes;
    for (size_t i = 0; i < transfer.pieces.size() && first + i < options_.most_pages; ++i) {
      model_.OnRead(file, first + i);
    }
  }
  if (transfer.request.operation != IoOperation::kWrite) return;
  uint64_t page = transfer.request.offset_bytes / kPageBytes;
  for (const io::IoPiece& piece : transfer.pieces) {
    const auto* const data = static_cast<const std::byte*>(piece.data);
    for (size_t at = 0; at < piece.length_bytes; at += kPageBytes, ++page) {
      if (page >= options_.most_pages) return;
      model_.CheckBytes(Invariant::kNobodyChangesWrite, file, page, data + at);
    }
  }
}

void Simulation::OnDamaged(const SimFileImage& image, uint64_t page) {
  if (dying_ || page >= options_.most_pages) return;
  model_.SetDamaged(image.number(), page);
  recovery_.Forget(image.number(), page);
}

void Simulation::OnFlipped(const SimFileImage& image, uint64_t page) {
  if (!dying_ && page < options_.most_pages) model_.SetFlipped(image.number(), page);
}

void Simulation::OnPowerOff() { log_.PowerOff(); }

// One who reads waits for his page's read, for who changes it, or for the engine.
void Simulation::OnWait() {
  // What is in flight may have ended while the engine took nothing.
  if (dying_ || !reading_.has_value() || engine().off() || options_.rates.engine_full > 0) return;
  // Who has started writes helps with their copies.
  if (options_.double_writes) return;
  const std::optional<size_t> file = model_.Find(reading_->file);
  if (!file.has_value() || model_.file(*file).poisoned) return;
  const storage::CacheInspector& inspector = machine_->inspector;
  const bool could = !inspector.IsInMemory(*reading_) && engine().in_flight() < engine().depth() &&
                     inspector.HasFrameAtHand();
  if (!verdict_.Check(Invariant::kReadNotHeldUp, !could)) {
    Fail(Invariant::kReadNotHeldUp,
         absl::StrCat("Read of ", reading_->ToString(), " waits, and there is a frame"));
  }
  if (!verdict_.Check(Invariant::kReadNotHeldUp, !inspector.IsBeingWritten(*reading_))) {
    Fail(Invariant::kReadNotHeldUp,
         absl::StrCat("Read of ", reading_->ToString(), " waits for its write"));
  }
}

}  // namespace fixpool::simulation
