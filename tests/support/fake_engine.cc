#include "tests/support/fake_engine.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/io/error.h"

namespace fixpool::tests {

using io::IoOperation;

FakeEngine::FakeEngine(io::FixedBufferRegistry* registry, Options options)
    : registry_(registry),
      environment_(registry->environment()),
      options_(options),
      depth_(options.depth) {}

FakeEngine::~FakeEngine() {
  io::MutexLock lock(mutex_);
  for (const auto& [path, descriptor] : descriptors_) close(descriptor);
}

void FakeEngine::Changed() {
  changes_.fetch_add(1);
  environment_->Wake(changes_);
}

void FakeEngine::Fail(const Match& match, absl::Status status, int times) {
  io::MutexLock lock(mutex_);
  failures_.push_back({match, std::move(status), times, /*torn=*/false});
}

void FakeEngine::FailTorn(const Match& match, absl::Status status, int times) {
  io::MutexLock lock(mutex_);
  failures_.push_back({match, std::move(status), times, /*torn=*/true});
}

void FakeEngine::Hold(const Match& match) {
  io::MutexLock lock(mutex_);
  holds_.push_back(match);
}

void FakeEngine::FailNothing() {
  io::MutexLock lock(mutex_);
  failures_.clear();
}

void FakeEngine::ReleaseAll() {
  {
    io::MutexLock lock(mutex_);
    holds_.clear();
  }
  Changed();
}

void FakeEngine::BeFull(int times) {
  io::MutexLock lock(mutex_);
  full_times_ = times;
}

void FakeEngine::TakeAtMost(size_t requests) {
  io::MutexLock lock(mutex_);
  take_at_most_ = requests;
}

void FakeEngine::RefuseNext(absl::Status status) {
  io::MutexLock lock(mutex_);
  refuse_next_ = std::move(status);
}

uint64_t FakeEngine::Count(IoOperation operation) const { return Offsets(operation).size(); }

uint64_t FakeEngine::Count(IoOperation operation, uint64_t offset_bytes) const {
  const std::vector<uint64_t> offsets = Offsets(operation);
  return static_cast<uint64_t>(std::count(offsets.begin(), offsets.end(), offset_bytes));
}

std::vector<uint64_t> FakeEngine::Offsets(IoOperation operation) const {
  io::MutexLock lock(mutex_);
  std::vector<uint64_t> offsets;
  for (const Accepted& accepted : history_) {
    if (accepted.operation == operation) offsets.push_back(accepted.offset_bytes);
  }
  return offsets;
}

std::vector<size_t> FakeEngine::Pieces(IoOperation operation) const {
  io::MutexLock lock(mutex_);
  std::vector<size_t> pieces;
  for (const Accepted& accepted : history_) {
    if (accepted.operation == operation) pieces.push_back(accepted.pieces);
  }
  return pieces;
}

uint64_t FakeEngine::atomic_writes() const {
  io::MutexLock lock(mutex_);
  return static_cast<uint64_t>(std::count_if(history_.begin(), history_.end(),
                                             [](const Accepted& one) { return one.atomic; }));
}

std::vector<FakeEngine::Done> FakeEngine::Performed() const {
  io::MutexLock lock(mutex_);
  return done_;
}

uint64_t FakeEngine::submits() const {
  io::MutexLock lock(mutex_);
  return submits_;
}

size_t FakeEngine::ready() const {
  io::MutexLock lock(mutex_);
  size_t ready = 0;
  for (const Operation& operation : operations_) ready += IsHeld(operation.request) ? 0 : 1;
  return ready;
}

absl::StatusOr<io::FileHandle> FakeEngine::AddFile(std::shared_ptr<io::File> file) {
  if (file == nullptr) return absl::InvalidArgumentError("AddFile: null");
  io::MutexLock lock(mutex_);
  files_[++last_generation_] = std::move(file);
  return io::FileHandle(0, last_generation_);
}

absl::Status FakeEngine::RemoveFile(io::FileHandle file, io::Deadline) {
  io::MutexLock lock(mutex_);
  for (const Operation& operation : operations_) {
    if (operation.request.file == file) return absl::DeadlineExceededError("still in flight");
  }
  return files_.erase(file.generation()) == 1 ? absl::OkStatus() : absl::NotFoundError("no file");
}

absl::StatusOr<io::EngineLevel> FakeEngine::LevelOf(io::FileHandle) const {
  return io::EngineLevel::kThreads;
}

bool FakeEngine::Matches(const Match& match, const io::IoRequest& request) const {
  if (match.operation.value_or(request.operation) != request.operation) return false;
  if (match.path.has_value()) {
    const auto file = files_.find(request.file.generation());
    if (file == files_.end() || file->second->path() != *match.path) return false;
  }
  if (!match.offset_bytes.has_value() || *match.offset_bytes == request.offset_bytes) return true;
  return !request.pieces.empty() && *match.offset_bytes > request.offset_bytes &&
         *match.offset_bytes - request.offset_bytes < request.length_bytes;
}

bool FakeEngine::IsHeld(const io::IoRequest& request) const {
  for (const Match& hold : holds_) {
    if (Matches(hold, request)) return true;
  }
  return false;
}

std::optional<FakeEngine::Failure> FakeEngine::TakeFailure(const io::IoRequest& request) {
  for (Failure& failure : failures_) {
    if (failure.times == 0 || !Matches(failure.match, request)) continue;
    if (failure.times > 0) --failure.times;
    return failure;
  }
  return std::nullopt;
}

absl::Status FakeEngine::Accept(const io::IoRequest& request) {
  const auto file = files_.find(request.file.generation());
  if (file == files_.end()) return absl::NotFoundError("no such file");
  Operation operation{request, {}, {}, file->second};
  if (request.operation != IoOperation::kSync) {
    operation.pieces.assign(request.pieces.begin(), request.pieces.end());
    if (request.pieces.empty()) {
      operation.pieces.push_back({request.region, request.data, request.length_bytes});
    }
    operation.leases.resize(operation.pieces.size());
  }
  for (size_t i = 0; i < operation.pieces.size(); ++i) {
    const io::IoPiece& piece = operation.pieces[i];
    if (piece.region.is_unregistered()) continue;
    const auto error =
        registry_->TryLease(piece.region, piece.data, piece.length_bytes, operation.leases[i]);
    if (!error.has_value()) continue;
    return registry_->Explain(*error, piece.region, piece.data, piece.length_bytes);
  }
  history_.push_back(
      {request.operation, request.offset_bytes, operation.pieces.size(), request.atomic});
  if (!request.pieces.empty()) ++joined_in_flight_;
  operations_.push_back(std::move(operation));
  // The caller's array is the caller's again.
  io::IoRequest& kept = operations_.back().request;
  if (!kept.pieces.empty()) kept.pieces = operations_.back().pieces;
  in_flight_.fetch_add(1);
  return absl::OkStatus();
}

io::SubmitResult FakeEngine::Submit(absl::Span<const io::IoRequest> requests) {
  if (before_submit_) before_submit_();
  io::SubmitResult result;
  {
    io::MutexLock lock(mutex_);
    ++submits_;
    if (full_times_ > 0) {
      --full_times_;
      return result;
    }
    for (const io::IoRequest& request : requests.subspan(0, take_at_most_)) {
      if (in_flight() >= depth()) break;
      if (!request.pieces.empty() && joined_in_flight_ >= options_.joined_depth) break;
      result.status = std::exchange(refuse_next_, absl::OkStatus());
      if (result.status.ok()) result.status = Accept(request);
      if (!result.status.ok()) break;
      ++result.accepted;
    }
  }
  Changed();
  return result;
}

size_t FakeEngine::TakeReady(absl::Span<io::IoCompletion> completions) {
  size_t count = 0;
  while (count < completions.size()) {
    auto chosen = operations_.end();
    for (auto it = operations_.begin(); it != operations_.end(); ++it) {
      if (IsHeld(it->request)) continue;
      chosen = it;
      if (!options_.last_in_first_out) break;
    }
    if (chosen == operations_.end()) break;
    Perform(*chosen, completions[count++]);
    if (!chosen->request.pieces.empty()) --joined_in_flight_;
    operations_.erase(chosen);
    in_flight_.fetch_sub(1);
  }
  return count;
}

void FakeEngine::Perform(Operation& operation, io::IoCompletion& completion) {
  const io::IoRequest& request = operation.request;
  completion = {.user_data = request.user_data, .status = {}, .transferred_bytes = 0};
  if (std::optional<Failure> failure = TakeFailure(request)) {
    if (failure->torn) (void)WriteSome(operation, request.length_bytes / 2, /*ok=*/false);
    completion.status = std::move(failure->status);
    return;
  }
  if (request.operation == IoOperation::kSync) {
    if (!options_.skip_syncs) completion.status = operation.file->Sync();
    if (options_.record) {
      done_.push_back({request.operation, operation.file->path(), 0, "", completion.status.ok()});
    }
  } else if (request.operation == IoOperation::kWrite) {
    completion.status = WriteSome(operation, request.length_bytes, /*ok=*/true);
    if (completion.status.ok()) completion.transferred_bytes = request.length_bytes;
  } else {
    Transfer(operation, completion);
  }
}

int FakeEngine::DescriptorOf(const io::File& file) {
  if (file.descriptor() >= 0) return file.descriptor();
  const auto known = descriptors_.find(file.path());
  if (known != descriptors_.end()) return known->second;
  return descriptors_[file.path()] = open(file.path().c_str(), O_RDWR | O_CLOEXEC);
}

absl::Status FakeEngine::WriteSome(Operation& operation, uint32_t length_bytes, bool ok) {
  std::string bytes;
  for (const io::IoPiece& piece : operation.pieces) {
    bytes.append(static_cast<const char*>(piece.data), piece.length_bytes);
  }
  bytes.resize(length_bytes);
  // Direct I/O wants it aligned.
  const std::unique_ptr<void, void (*)(void*)> aligned(
      std::aligned_alloc(4096, (length_bytes + 4095) / 4096 * 4096), std::free);
  std::memcpy(aligned.get(), bytes.data(), bytes.size());
  const ssize_t result = pwrite(DescriptorOf(*operation.file), aligned.get(), length_bytes,
                                static_cast<off_t>(operation.request.offset_bytes));
  if (result < 0) return io::ErrnoStatus(errno, "pwrite");
  FIXPOOL_CHECK(result == static_cast<ssize_t>(length_bytes), "a short write");
  if (!options_.record) return absl::OkStatus();
  done_.push_back({IoOperation::kWrite, operation.file->path(), operation.request.offset_bytes,
                   std::move(bytes), ok});
  return absl::OkStatus();
}

void FakeEngine::Transfer(Operation& operation, io::IoCompletion& completion) {
  const int descriptor = DescriptorOf(*operation.file);
  off_t offset = static_cast<off_t>(operation.request.offset_bytes);
  for (const io::IoPiece& piece : operation.pieces) {
    const ssize_t result = pread(descriptor, piece.data, piece.length_bytes, offset);
    if (result < 0) {
      completion.status = io::ErrnoStatus(errno, "pread");
      return;
    }
    offset += static_cast<off_t>(piece.length_bytes);
    completion.transferred_bytes += static_cast<uint32_t>(result);
    std::memset(static_cast<char*>(piece.data) + result, 0xee,
                piece.length_bytes - static_cast<size_t>(result));
  }
}

size_t FakeEngine::Reap(absl::Span<io::IoCompletion> completions, io::Deadline deadline) {
  while (true) {
    const uint32_t seen = changes_.load();
    {
      io::MutexLock lock(mutex_);
      if (const size_t count = TakeReady(completions); count > 0) return count;
      if (operations_.empty()) return 0;
    }
    if (environment_->Expired(deadline)) return 0;
    environment_->Wait(changes_, seen, deadline);
  }
}

io::EngineReport FakeEngine::Report() const {
  io::EngineReport report;
  report.level = io::EngineLevel::kThreads;
  report.downgrade_reason = "a fake";
  report.depth = depth();
  return report;
}

}  // namespace fixpool::tests
