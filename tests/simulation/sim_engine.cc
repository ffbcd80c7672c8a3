#include "tests/simulation/sim_engine.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/io/error.h"
#include "fixpool/io/region_id.h"

namespace fixpool::simulation {

using io::IoOperation;

namespace {

constexpr int kScribble = 0xee;
constexpr int64_t kSlowNs = 10'000'000;

absl::string_view NameOf(IoOperation operation) {
  if (operation == IoOperation::kSync) return "simulated fdatasync";
  return operation == IoOperation::kRead ? "simulated pread" : "simulated pwrite";
}

absl::Status ErrnoOfTransfer(int error, const SimTransfer& transfer) {
  return io::ErrnoStatus(
      error, absl::StrCat(NameOf(transfer.request.operation), " of ", transfer.file->path(), " at ",
                          transfer.request.offset_bytes));
}

}  // namespace

SimEngine::SimEngine(io::FixedBufferRegistry* registry, SimEnvironment* environment,
                     TransferObserver* observer, SimRandom* random, Verdict* verdict,
                     const SimOptions& options)
    : registry_(registry),
      environment_(environment),
      observer_(observer),
      random_(random),
      verdict_(verdict),
      options_(options),
      rates_(options.rates),
      depth_(options.depth) {}

SimEngine::~SimEngine() = default;

// ---- Files ----

absl::StatusOr<io::FileHandle> SimEngine::AddFile(std::shared_ptr<io::File> file) {
  if (file == nullptr) return absl::InvalidArgumentError("AddFile: null");
  if (random_->Chance(rates_.open_error)) {
    verdict_->counts().Add(Fault::kOpenRefused);
    return io::ErrnoStatus(EIO, "simulated first read");
  }
  if (depth_ > 2 && random_->Chance(rates_.engine_full)) {
    verdict_->counts().Add(Fault::kDepthLowered);
    --depth_;
  }
  files_[++last_generation_] = std::move(file);
  return io::FileHandle(0, last_generation_);
}

absl::Status SimEngine::RemoveFile(io::FileHandle file, io::Deadline) {
  for (const auto& transfer : transfers_) {
    if (transfer->request.file == file) return absl::DeadlineExceededError("still in flight");
  }
  return files_.erase(file.generation()) == 1 ? absl::OkStatus() : absl::NotFoundError("no file");
}

absl::StatusOr<io::EngineLevel> SimEngine::LevelOf(io::FileHandle) const {
  return io::EngineLevel::kThreads;
}

// ---- Submission ----

int64_t SimEngine::DelayNs(const io::IoRequest& request) {
  if (random_->Chance(rates_.slow)) {
    verdict_->counts().Add(Fault::kSlowTransfer);
    return static_cast<int64_t>(random_->Between(kSlowNs, 20 * kSlowNs));
  }
  const int64_t usual = request.operation == IoOperation::kSync ? 1'000'000 : 100'000;
  return usual / 2 + static_cast<int64_t>(random_->Below(static_cast<uint64_t>(usual)));
}

absl::Status SimEngine::Accept(const io::IoRequest& request) {
  const auto file = files_.find(request.file.generation());
  if (file == files_.end()) return absl::NotFoundError("no such file");
  std::unique_ptr<SimTransfer> transfer;
  if (spare_.empty()) {
    transfer = std::make_unique<SimTransfer>();
  } else {
    transfer = std::move(spare_.back());
    spare_.pop_back();
  }
  transfer->request = request;
  transfer->pieces.assign(request.pieces.begin(), request.pieces.end());
  if (request.operation != IoOperation::kSync && request.pieces.empty()) {
    transfer->pieces.push_back({request.region, request.data, request.length_bytes});
  }
  transfer->leases.clear();
  transfer->leases.resize(transfer->pieces.size());
  for (size_t i = 0; i < transfer->pieces.size(); ++i) {
    const io::IoPiece& piece = transfer->pieces[i];
    if (piece.region == io::RegionId::kUnregistered) continue;
    const auto error =
        registry_->TryLease(piece.region, piece.data, piece.length_bytes, transfer->leases[i]);
    if (!error.has_value()) continue;
    return registry_->Explain(*error, piece.region, piece.data, piece.length_bytes);
  }
  // The caller's array is the caller's again.
  if (!request.pieces.empty()) {
    transfer->request.pieces = transfer->pieces;
    ++joined_in_flight_;
  }
  transfer->number = ++last_number_;
  transfer->file = file->second;
  transfer->image = static_cast<SimFile&>(*file->second).image();
  transfer->lost = off_;
  transfer->end_ns = environment_->NowNs() + DelayNs(request);
  observer_->OnSubmitted(*transfer);
  if (request.operation == IoOperation::kRead) {
    for (const io::IoPiece& piece : transfer->pieces) {
      std::memset(piece.data, kScribble, kSectorBytes);
    }
  }
  if (request.operation == IoOperation::kSync && !off_) transfer->image->BeginSync();
  transfers_.push_back(std::move(transfer));
  CountEvent();
  return absl::OkStatus();
}

io::SubmitResult SimEngine::Submit(absl::Span<const io::IoRequest> requests) {
  io::SubmitResult result;
  size_t most = requests.size();
  if (random_->Chance(rates_.engine_full)) {
    most = random_->Below(requests.size());
    verdict_->counts().Add(most == 0 ? Fault::kEngineFull : Fault::kEngineTookAPart);
  }
  for (const io::IoRequest& request : requests.first(most)) {
    if (in_flight() >= depth_) break;
    if (!request.pieces.empty() && joined_in_flight_ >= options_.joined_depth) break;
    result.status = Accept(request);
    if (!result.status.ok()) break;
    ++result.accepted;
  }
  return result;
}

// ---- Completion ----

int64_t SimEngine::NextEndNs() const {
  int64_t next_ns = std::numeric_limits<int64_t>::max();
  for (const auto& transfer : transfers_) next_ns = std::min(next_ns, transfer->end_ns);
  return next_ns;
}

size_t SimEngine::ReapSeveral(absl::Span<io::IoCompletion> completions, io::Deadline deadline,
                              size_t wanted) {
  if (completions.size() > 1 && transfers_.size() > 1 && random_->Chance(100)) {
    verdict_->counts().Add(Fault::kFewerReaped);
    completions = completions.first(1);
  }
  while (true) {
    const size_t count = TakeEnded(completions);
    if (count > 0 || transfers_.empty()) return count;
    if (environment_->Expired(deadline)) return 0;
    observer_->OnWait();
    int64_t next_ns = NextEndNs();
    // Who wants several waits for the last of these.
    if (wanted > 1 && transfers_.size() > 1) {
      for (const auto& transfer : transfers_) {
        if (wanted-- == 1) break;
        next_ns = std::max(next_ns, transfer->end_ns);
      }
    }
    environment_->AdvanceTo(std::min(next_ns, deadline.ns()));
  }
}

size_t SimEngine::TakeEnded(absl::Span<io::IoCompletion> completions) {
  size_t count = 0;
  while (count < completions.size()) {
    auto chosen = transfers_.end();
    for (auto it = transfers_.begin(); it != transfers_.end(); ++it) {
      if (chosen == transfers_.end() || (*it)->end_ns < (*chosen)->end_ns) chosen = it;
    }
    if (chosen == transfers_.end() || (*chosen)->end_ns > environment_->NowNs()) break;
    if (chosen != transfers_.begin()) verdict_->counts().Add(Fault::kOutOfOrder);
    std::unique_ptr<SimTransfer> transfer = std::move(*chosen);
    transfers_.erase(chosen);
    io::IoCompletion& completion = completions[count++];
    completion = {.user_data = transfer->request.user_data, .status = {}, .transferred_bytes = 0};
    Perform(*transfer, completion);
    if (!transfer->request.pieces.empty()) --joined_in_flight_;
    transfer->leases.clear();
    transfer->file.reset();
    spare_.push_back(std::move(transfer));
    CountEvent();
  }
  return count;
}

absl::Status SimEngine::Failure(const SimTransfer& transfer, uint32_t rate, Fault fault) {
  if (transfer.lost) return ErrnoOfTransfer(EIO, transfer);
  if (!random_->Chance(rate)) return absl::OkStatus();
  const uint64_t kind = random_->Below(4);
  int error = EIO;
  if (kind == 0 && transfer.request.operation != IoOperation::kRead) {
    error = ENOSPC;
    verdict_->counts().Add(Fault::kNoSpace);
  } else if (kind == 1) {
    error = EAGAIN;  // for longer than an engine tries
    verdict_->counts().Add(Fault::kTryAgain);
  }
  verdict_->counts().Add(fault);
  return ErrnoOfTransfer(error, transfer);
}

void SimEngine::Perform(SimTransfer& transfer, io::IoCompletion& completion) {
  switch (transfer.request.operation) {
    case IoOperation::kRead:
      Read(transfer, completion);
      break;
    case IoOperation::kWrite:
      Write(transfer, completion);
      break;
    case IoOperation::kSync:
      Sync(transfer, completion);
      break;
  }
  if (!completion.status.ok()) ++errors_;
  verdict_->Note(transfer.number << 8 | static_cast<uint64_t>(completion.status.code()));
  observer_->OnEnded(transfer, completion);
}

void SimEngine::Read(SimTransfer& transfer, io::IoCompletion& completion) {
  const io::IoRequest& request = transfer.request;
  completion.status = Failure(transfer, rates_.read_error, Fault::kReadError);
  if (!completion.status.ok()) return;
  const uint64_t size_bytes = transfer.image->size_bytes();
  uint64_t left_bytes = size_bytes - std::min(size_bytes, request.offset_bytes);
  left_bytes = std::min<uint64_t>(left_bytes, request.length_bytes);
  if (left_bytes % kPageBytes != 0) verdict_->counts().Add(Fault::kEndInsideAPage);
  completion.transferred_bytes = static_cast<uint32_t>(left_bytes);
  const std::byte* from = transfer.image->Now(0) + request.offset_bytes;
  for (const io::IoPiece& piece : transfer.pieces) {
    const size_t part_bytes = std::min<uint64_t>(left_bytes, piece.length_bytes);
    std::byte* const to = static_cast<std::byte*>(piece.data);
    if (part_bytes > 0) std::memcpy(to, from, part_bytes);
    std::memset(to + part_bytes, kScribble, piece.length_bytes - part_bytes);
    from += part_bytes;
    left_bytes -= part_bytes;
  }
  if (!transfer.image->sealed() || completion.transferred_bytes == 0) return;
  if (!random_->Chance(rates_.bit_flip)) return;
  verdict_->counts().Add(Fault::kBitFlip);
  const uint64_t at = random_->Below(completion.transferred_bytes);
  static_cast<std::byte*>(transfer.pieces[at / kPageBytes].data)[at % kPageBytes] ^=
      std::byte{1} << random_->Below(8);
  observer_->OnFlipped(*transfer.image, (request.offset_bytes + at) / kPageBytes);
}

void SimEngine::TellOfDamage(const SimTransfer& transfer, uint64_t offset_bytes) {
  for (uint64_t at = 0; at < transfer.request.length_bytes; at += kPageBytes) {
    observer_->OnDamaged(*transfer.image, (transfer.request.offset_bytes + at) / kPageBytes);
    observer_->OnDamaged(*transfer.image, (offset_bytes + at) / kPageBytes);
  }
}

void SimEngine::Write(SimTransfer& transfer, io::IoCompletion& completion) {
  const io::IoRequest& request = transfer.request;
  completion.status = Failure(transfer, rates_.write_error, Fault::kWriteError);
  if (transfer.lost) return;
  if (request.offset_bytes + request.length_bytes > transfer.image->most_bytes()) {
    completion.status = ErrnoOfTransfer(ENOSPC, transfer);
    verdict_->counts().Add(Fault::kNoSpace);
    return;
  }
  uint64_t offset_bytes = request.offset_bytes;
  uint64_t left_bytes = request.length_bytes;
  if (!completion.status.ok()) {
    if (!request.pieces.empty()) verdict_->counts().Add(Fault::kJoinedWriteError);
    left_bytes = random_->Below(request.length_bytes / kSectorBytes + 1) * kSectorBytes;
    if (left_bytes > 0) verdict_->counts().Add(Fault::kWriteErrorAfterAPart);
  } else if (transfer.image->sealed() && random_->Chance(rates_.lost_write)) {
    verdict_->counts().Add(Fault::kLostWrite);
    left_bytes = 0;
    TellOfDamage(transfer, offset_bytes);
  } else if (transfer.image->sealed() && random_->Chance(rates_.misdirected_write)) {
    verdict_->counts().Add(Fault::kMisdirectedWrite);
    offset_bytes =
        random_->Below(transfer.image->most_bytes() / request.length_bytes) * request.length_bytes;
    TellOfDamage(transfer, offset_bytes);
  }
  for (const io::IoPiece& piece : transfer.pieces) {
    const size_t part_bytes = std::min<uint64_t>(left_bytes, piece.length_bytes);
    if (part_bytes == 0) break;
    transfer.image->Write(offset_bytes, static_cast<const std::byte*>(piece.data), part_bytes);
    offset_bytes += part_bytes;
    left_bytes -= part_bytes;
  }
  if (completion.status.ok()) completion.transferred_bytes = request.length_bytes;
}

void SimEngine::Sync(SimTransfer& transfer, io::IoCompletion& completion) {
  completion.status = Failure(transfer, rates_.sync_error, Fault::kSyncError);
  if (!transfer.lost) transfer.image->EndSync(completion.status.ok());
}

// ---- The end of the world ----

void SimEngine::CountEvent() {
  if (events_to_go_ > 0 && --events_to_go_ == 0) PowerOff();
}

void SimEngine::PowerOff() {
  if (off_) return;
  off_ = true;
  bool writes = false;
  for (const auto& transfer : transfers_) {
    transfer->end_ns = environment_->NowNs();
    transfer->lost = true;
    if (transfer->request.operation != IoOperation::kWrite) continue;
    writes = true;
    uint64_t offset_bytes = transfer->request.offset_bytes;
    for (const io::IoPiece& piece : transfer->pieces) {
      const auto* data = static_cast<const std::byte*>(piece.data);
      for (size_t at = 0; at < piece.length_bytes; at += kSectorBytes) {
        if (offset_bytes + at + kSectorBytes > transfer->image->most_bytes()) break;
        if (random_->Chance(500))
          transfer->image->Write(offset_bytes + at, data + at, kSectorBytes);
      }
      offset_bytes += piece.length_bytes;
    }
  }
  if (writes) verdict_->counts().Add(Fault::kCrashDuringAWrite);
  observer_->OnPowerOff();
}

io::EngineReport SimEngine::Report() const {
  io::EngineReport report;
  report.level = io::EngineLevel::kThreads;
  report.downgrade_reason = "simulated";
  report.depth = depth_;
  return report;
}

}  // namespace fixpool::simulation
