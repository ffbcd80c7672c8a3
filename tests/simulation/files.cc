// What a simulated life does with whole files, and with the size of its cache.

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"
#include "fixpool/storage/file_options.h"
#include "fixpool/storage/torn_pages.h"
#include "tests/simulation/sim_file.h"
#include "tests/simulation/simulation.h"

namespace fixpool::simulation {

using storage::FileId;
using storage::PageId;

namespace {

constexpr absl::Duration kFlushTimeout = absl::Seconds(10);

}  // namespace

std::optional<size_t> Simulation::ChooseOpenFile() {
  const size_t first = random_.Below(model_.file_count());
  for (size_t i = 0; i < model_.file_count(); ++i) {
    const size_t file = (first + i) % model_.file_count();
    if (model_.file(file).open) return file;
  }
  return std::nullopt;
}

// ---- Opening ----

void Simulation::Open(size_t number, bool read_only) {
  PageModel::File& file = model_.file(number);
  if (file.open) return;
  SimFileImage& image = disk_.file(number);
  auto opened = std::make_shared<SimFile>(
      &image,
      SimFile::Options{.read_only = read_only, .error = kind_ ? 0 : options_.rates.open_error},
      &random_, &verdict_.counts());
  storage::FileOptions options{.read_only = read_only};
  if (options_.sealed[number]) {
    options.seal = model_.seal();
    options.identity = PageModel::IdentityOf(number);
  }
  if (model_.IsProtected(number)) {
    options.torn_pages = storage::TornPageProtection::kDoubleWrite;
    options.double_write_bytes = options_.area_pages * kPageBytes;
    options.double_write_area = std::make_shared<SimFile>(&disk_.area(number), SimFile::Options{},
                                                          &random_, &verdict_.counts());
  }
  if (!read_only && random_.Chance(150)) {
    options.preallocate_bytes = random_.Between(1, options_.most_pages) * kPageBytes;
  }
  opens_ = number;
  const absl::StatusOr<FileId> id = cache().OpenFile(std::move(opened), options);
  opens_.reset();
  if (!id.ok()) {
    const bool torn = read_only && model_.IsProtected(number);
    const bool cause =
        io::ErrnoOf(id.status()) != 0 || (torn && absl::IsFailedPrecondition(id.status()));
    if (!verdict_.Check(Invariant::kErrorHasCause, cause)) {
      Fail(Invariant::kErrorHasCause, absl::StrCat("OpenFile: ", id.status().ToString()));
    }
    return;
  }
  file = {.id = *id,
          .open = true,
          .read_only = read_only,
          .page_count = (image.size_bytes() + kPageBytes - 1) / kPageBytes};
  // Recovery may have written pages behind the end.
  if (model_.IsProtected(number)) file.page_count = *cache().PageCount(*id);
  model_.OnOpened(number);
}

void Simulation::OpenTwice() {
  const std::optional<size_t> file = ChooseOpenFile();
  if (!file.has_value()) return;
  auto again = std::make_shared<SimFile>(&disk_.file(*file), SimFile::Options{}, &random_,
                                         &verdict_.counts());
  const absl::StatusOr<FileId> id = cache().OpenFile(std::move(again));
  const bool refused = absl::IsFailedPrecondition(id.status()) || io::ErrnoOf(id.status()) != 0;
  if (verdict_.Check(Invariant::kStaleRefused, refused)) return;
  Fail(Invariant::kStaleRefused, "a file was opened twice");
}

// ---- Flushing and closing ----

void Simulation::CheckFileCall(const absl::Status& status, size_t number, int64_t begun_ns,
                               std::optional<absl::Duration> timeout, bool guards_matter) {
  verdict_.Note(static_cast<uint64_t>(status.code()));
  const PageModel::File& file = model_.file(number);
  if (!status.ok()) {
    if (file.poisoned || file.doubtful || engine().off()) return;
    if (absl::IsDeadlineExceeded(status)) {
      return CheckMayWait(status, begun_ns, timeout, kFlushTimeout);
    }
    bool cause = io::ErrnoOf(status) != 0 && engine().errors() > 0;
    if (absl::IsUnavailable(status) && log_.errors() > 0) cause = true;
    if (absl::IsFailedPrecondition(status)) {
      cause = machine_->book.CountExclusiveOf(file.id) > 0 ||
              (guards_matter && (machine_->book.CountOf(file.id) > 0 || !machine_->tasks.empty()));
    }
    if (!verdict_.Check(Invariant::kErrorHasCause, cause)) {
      Fail(Invariant::kErrorHasCause, absl::StrCat("without a cause: ", status.ToString()));
    }
    return;
  }
  if (!verdict_.Check(Invariant::kPoisoned, !file.poisoned)) {
    Fail(Invariant::kPoisoned, "a flush of a file says OK after a sync of it has failed");
  }
}

void Simulation::Flush() {
  const std::optional<size_t> file = ChooseOpenFile();
  if (!file.has_value()) return;
  const std::optional<absl::Duration> timeout = ChooseTimeout();
  const int64_t begun_ns = environment_.NowNs();
  const absl::Status status = cache().Flush(model_.file(*file).id, timeout);
  CheckFileCall(status, *file, begun_ns, timeout, /*guards_matter=*/false);
  if (status.ok()) model_.OnFlushed(*file);
}

void Simulation::FlushAll() {
  const absl::Status status = cache().FlushAll(ChooseTimeout());
  verdict_.Note(static_cast<uint64_t>(status.code()));
  if (!status.ok()) return;
  for (size_t number = 0; number < model_.file_count(); ++number) {
    const PageModel::File& file = model_.file(number);
    if (!file.open || file.read_only) continue;
    if (!verdict_.Check(Invariant::kPoisoned, !file.poisoned)) {
      return Fail(Invariant::kPoisoned, "FlushAll says OK, and a sync of a file has failed");
    }
    model_.OnFlushed(number);
  }
}

void Simulation::OnClosed(size_t number) {
  PageModel::File& file = model_.file(number);
  if (!verdict_.Check(Invariant::kHeldInPlace, machine_->book.CountOf(file.id) == 0)) {
    Fail(Invariant::kHeldInPlace, "a file was closed while its pages were held");
  }
  stale_files_.push_back(file.id);
  if (stale_files_.size() > 16) stale_files_.erase(stale_files_.begin());
  file = PageModel::File();
}

// The newest versions of its pages are given up, and so are the records that tell of them: who has
// a log would go through it again for this file.
void Simulation::Discard(size_t file) {
  for (uint64_t page = 0; page < options_.most_pages; ++page) {
    if (model_.HasChanged(file, page)) recovery_.Forget(file, page);
  }
  model_.OnDiscarded(file);
}

void Simulation::Close(bool discard) {
  std::optional<size_t> file = ChooseOpenFile();
  if (!file.has_value()) return;
  // What takes no writes any more can only be opened anew.
  for (size_t i = 0; i < model_.file_count(); ++i) {
    if (model_.file(i).poisoned || model_.file(i).doubtful) file = i;
  }
  const bool failed = model_.file(*file).poisoned || model_.file(*file).doubtful;
  if (failed && random_.Chance(700)) discard = true;
  const std::optional<absl::Duration> timeout = ChooseTimeout();
  const int64_t begun_ns = environment_.NowNs();
  const absl::Status status =
      cache().CloseFile(model_.file(*file).id, {.discard_changes = discard, .timeout = timeout});
  if (!status.ok() || !discard) {
    CheckFileCall(status, *file, begun_ns, timeout, /*guards_matter=*/true);
  }
  if (!status.ok()) return;
  if (discard) {
    Discard(*file);
  } else {
    model_.OnFlushed(*file);
  }
  OnClosed(*file);
}

// ---- What is out of date ----

void Simulation::UseStale() {
  FileId id(static_cast<uint32_t>(random_.Below(4)), static_cast<uint32_t>(random_.Below(1000)));
  if (!stale_files_.empty() && random_.Chance(800)) {
    id = stale_files_[random_.Below(stale_files_.size())];
  }
  if (model_.Find(id).has_value()) return;
  const PageId page{id, random_.Below(options_.most_pages)};
  const bool found = cache().TryRead(page).has_value() || cache().TryWrite(page).has_value() ||
                     cache().TryReadOptimistic(page).StillValid() || cache().Read(page).ok() ||
                     cache().Write(page).ok() || cache().Make(page).ok() ||
                     cache().ReadOptimistic(page).ok() || cache().Prefetch({&page, 1}).ok() ||
                     cache().Flush(id).ok() || cache().PageCount(id).ok() ||
                     cache().CloseFile(id, {.discard_changes = true}).ok();
  if (!verdict_.Check(Invariant::kStaleRefused, !found)) {
    Fail(Invariant::kStaleRefused, absl::StrCat("something is found under ", id.ToString()));
  }
  const absl::Status refusal = cache().Read(page).status();
  if (!verdict_.Check(Invariant::kStaleRefused, absl::IsNotFound(refusal))) {
    Fail(Invariant::kStaleRefused, absl::StrCat("not NotFound: ", refusal.ToString()));
  }
}

// As if somebody had freed memory that is the cache's: it must not be read into. The cache is good
// for nothing afterwards.
void Simulation::UseStaleFrame() {
  machine_->progress.Submit();
  const std::optional<size_t> number = ChooseOpenFile();
  if (!number.has_value() || engine().in_flight() > 0) return;
  const PageModel::File& file = model_.file(*number);
  uint64_t page = 0;
  while (page < file.page_count && machine_->inspector.IsInMemory({file.id, page})) ++page;
  if (page >= file.page_count || file.poisoned || file.doubtful || engine().off()) return;
  if (machine_->inspector.MakeFreeFramesStale() == 0) return;
  verdict_.counts().Add(Fault::kStaleFrame);
  const absl::Status status = cache().Read({file.id, page}).status();
  const bool refused = io::ValidationErrorOf(status) == io::ValidationError::kStaleGeneration;
  if (!verdict_.Check(Invariant::kStaleRefused, refused)) {
    Fail(Invariant::kStaleRefused,
         absl::StrCat("a page was read into memory that was freed: ", status.ToString()));
  }
  engine().PowerOff();
}

// ---- Sizes ----

void Simulation::CheckPageCount() {
  const std::optional<size_t> file = ChooseOpenFile();
  if (!file.has_value()) return;
  const absl::StatusOr<uint64_t> count = cache().PageCount(model_.file(*file).id);
  const bool right = count.ok() && *count == model_.file(*file).page_count;
  if (verdict_.Check(Invariant::kErrorHasCause, right)) return;
  Fail(Invariant::kErrorHasCause, absl::StrCat("PageCount is ", count.value_or(0), " and not ",
                                               model_.file(*file).page_count));
}

void Simulation::Resize() {
  const uint64_t regions = options_.frames / options_.region_frames;
  const uint64_t frames =
      std::max<uint64_t>(random_.Between(1, regions + 2) * options_.region_frames, 4);
  const absl::Duration timeout = absl::Milliseconds(random_.Between(0, 40));
  const size_t before = cache().frame_count();
  const absl::Status status = cache().Resize(frames * kPageBytes, timeout);
  const size_t after = cache().frame_count();
  verdict_.Note(after << 8 | static_cast<uint64_t>(status.code()));
  bool right = absl::IsDeadlineExceeded(status) && after == before;
  if (status.ok()) right = after >= frames && after < frames + options_.region_frames;
  if (verdict_.Check(Invariant::kErrorHasCause, right)) return;
  Fail(Invariant::kErrorHasCause, absl::StrCat("Resize from ", before, " to ", frames,
                                               " frames: ", status.ToString(), " and ", after));
}

}  // namespace fixpool::simulation
