// How a simulated life asks for pages, and what it makes of the answers.

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"
#include "tests/simulation/simulation.h"

namespace fixpool::simulation {

using storage::Hint;
using storage::PageId;
using storage::ReadGuard;
using storage::WriteGuard;

namespace {

constexpr absl::Duration kAccessTimeout = absl::Seconds(2);

}  // namespace

// ---- What to ask for ----

std::optional<absl::Duration> Simulation::ChooseTimeout() {
  switch (random_.Below(10)) {
    case 0:
      return absl::ZeroDuration();
    case 1:
    case 2:
      return absl::Microseconds(random_.Between(20, 400));
    case 3:
    case 4:
    case 5:
      return absl::Milliseconds(random_.Between(1, 60));
    default:
      return std::nullopt;
  }
}

// Some pages much more often than others, and now and then what lies behind the end.
uint64_t Simulation::ChoosePage(size_t file) {
  const uint64_t there = model_.file(file).page_count;
  uint64_t count = options_.most_pages;
  if (there > 0 && random_.Chance(900)) count = there;
  if (random_.Chance(500)) count = std::min<uint64_t>(count, 3);
  return random_.Below(count);
}

Simulation::Access Simulation::ChooseAccess(Intent intent) {
  const size_t file = random_.Below(model_.file_count());
  constexpr Hint kHints[] = {Hint::kNormal, Hint::kNormal,   Hint::kNormal,
                             Hint::kScan,   Hint::kPrefetch, Hint::kKeep};
  Access access{
      .file = file,
      .page = {model_.file(file).id, ChoosePage(file)},
      .intent = intent,
      .options = {.timeout = ChooseTimeout(), .hint = kHints[random_.Below(std::size(kHints))]},
      .begun_ns = environment_.NowNs()};
  verdict_.Note(access.page.page_number << 8 | file);
  const bool expects = options_.log && options_.sealed[file] && intent != Intent::kMake;
  if (expects && random_.Chance(400)) {
    access.options.expected_lsn = model_.LsnOf(file, access.page.page_number);
  }
  return access;
}

// ---- What the answer is worth ----

void Simulation::OnGranted(const Access& access, bool exclusive, const std::byte* data) {
  PageModel::File& file = model_.file(access.file);
  const bool right_id = file.open && file.id == access.page.file;
  if (!verdict_.Check(Invariant::kStaleRefused, right_id)) {
    return Fail(Invariant::kStaleRefused,
                absl::StrCat(access.page.ToString(), " is had, and the file is not open"));
  }
  const bool writable = !file.read_only && !file.poisoned;
  if (!verdict_.Check(Invariant::kPoisoned, !exclusive || writable)) {
    return Fail(Invariant::kPoisoned,
                absl::StrCat(access.page.ToString(), " may be changed, and the file is ",
                             file.read_only ? "read-only" : "poisoned"));
  }
  const uint64_t page = access.page.page_number;
  made_ = false;
  if (access.intent == Intent::kMake || (exclusive && page >= file.page_count)) {
    model_.SetZeros(access.file, page);
    made_ = true;
    file.page_count = std::max(file.page_count, page + 1);
  }
  if (!verdict_.Check(Invariant::kErrorHasCause, page < file.page_count)) {
    return Fail(Invariant::kErrorHasCause,
                absl::StrCat(access.page.ToString(), " is had, and lies behind the end"));
  }
  for (const auto& transfer : engine().transfers()) {
    for (const io::IoPiece& piece : transfer->pieces) {
      const bool mine = piece.data == data;
      const bool reads = transfer->request.operation == io::IoOperation::kRead;
      if (!verdict_.Check(Invariant::kNobodySeesRead, !mine || !reads)) {
        return Fail(Invariant::kNobodySeesRead, "a page is had that is still being read");
      }
      if (!verdict_.Check(Invariant::kNobodyChangesWrite, !mine || !exclusive)) {
        return Fail(Invariant::kNobodyChangesWrite, "a page may be changed that is being written");
      }
    }
  }
  for (const GuardBook::Held* held : machine_->book.all()) {
    if (held->page == access.page && (exclusive || held->exclusive)) {
      return Fail(Invariant::kHeldInPlace,
                  absl::StrCat(access.page.ToString(), " is had by two, and one may change it"));
    }
  }
  model_.CheckShown(access.file, page, data);
  if (access.options.expected_lsn == storage::Lsn::kNone) return;
  const storage::Lsn found = model_.LsnOf(access.file, page);
  if (verdict_.Check(Invariant::kLostWriteFound, found >= access.options.expected_lsn)) return;
  Fail(Invariant::kLostWriteFound,
       absl::StrCat(access.page.ToString(), " is shown with LSN ", ToInt(found), ", and ",
                    ToInt(access.options.expected_lsn), " was expected"));
}

void Simulation::CheckMayWait(const absl::Status& status, int64_t begun_ns,
                              std::optional<absl::Duration> timeout, absl::Duration otherwise) {
  const int64_t end_ns = begun_ns + absl::ToInt64Nanoseconds(timeout.value_or(otherwise));
  if (verdict_.Check(Invariant::kErrorHasCause, environment_.NowNs() >= end_ns)) return;
  Fail(Invariant::kErrorHasCause, absl::StrCat("too early: ", status.ToString()));
}

bool Simulation::HasCause(const Access& access, const absl::Status& status, bool blocking) {
  const PageModel::File& file = model_.file(access.file);
  if (!file.open || file.id != access.page.file) return absl::IsNotFound(status);
  if (absl::IsOutOfRange(status)) {
    return access.intent == Intent::kRead && access.page.page_number >= file.page_count;
  }
  if (absl::IsDataLoss(status)) {
    return model_.sealed(access.file) && model_.MayBeLost(access.file, access.page.page_number);
  }
  if (file.poisoned || file.doubtful || engine().off()) return true;
  if (absl::IsFailedPrecondition(status)) {
    if (file.read_only && access.intent != Intent::kRead) return true;
    return blocking && machine_->book.CountOf(access.page) > 0;
  }
  if (absl::IsDeadlineExceeded(status)) return true;
  // Of no errno: there was no frame.
  if (absl::IsResourceExhausted(status) && io::ErrnoOf(status) == 0) return true;
  return io::ErrnoOf(status) != 0 && engine().errors() > 0;
}

void Simulation::OnRefused(const Access& access, const absl::Status& status, bool blocking) {
  verdict_.Note(static_cast<uint64_t>(status.code()));
  if (!verdict_.Check(Invariant::kErrorHasCause, HasCause(access, status, blocking))) {
    return Fail(Invariant::kErrorHasCause, absl::StrCat("without a cause: ", status.ToString()));
  }
  const bool of_waiting = absl::IsDeadlineExceeded(status) ||
                          (absl::IsResourceExhausted(status) && io::ErrnoOf(status) == 0);
  if (!of_waiting) return;
  CheckMayWait(status, access.begun_ns, access.options.timeout, kAccessTimeout);
  if (!absl::IsResourceExhausted(status)) return;
  // Who has been refused may have waited for copies of others' pages since.
  if (options_.double_writes) return;
  // What is clean is kept for those who read.
  if (access.intent != Intent::kRead && machine_->inspector.IsThrottled()) return;
  if (verdict_.Check(Invariant::kFrameAtHand, !machine_->inspector.HasFrameAtHand())) return;
  Fail(Invariant::kFrameAtHand, absl::StrCat("there is a frame: ", status.ToString()));
}

// ---- Guards ----

HeldPage& Simulation::NewGuard() {
  if (machine_->guards.size() >= options_.guards) machine_->guards.pop_front();
  return machine_->guards.emplace_back(&machine_->book);
}

void Simulation::Change(HeldPage& page, size_t sectors) {
  const std::optional<size_t> file = model_.Find(page.held().page.file);
  if (!file.has_value()) return Fail(Invariant::kHeldInPlace, "a page is held of a closed file");
  const uint64_t number = page.held().page.page_number;
  // The record usually comes after the page is dirty; and if not, the guard hears of it at once.
  storage::Lsn lsn = storage::Lsn::kNone;
  const bool record_first = options_.log && random_.Chance(200);
  if (record_first) lsn = log_.Append();
  const std::span<std::byte> bytes = page.write_guard().mutable_bytes();
  if (options_.log && !record_first) lsn = log_.Append();
  if (options_.log) {
    model_.SetLsn(*file, number, lsn);
    page.SetLsn(lsn, /*now=*/record_first || random_.Chance(500));
  }
  for (size_t i = 0; i < sectors; ++i) {
    const size_t sector = sectors == kSectors ? i : random_.Below(kSectors);
    const Tag tag = model_.SetSector(*file, number, sector);
    FillSector(model_.KeyOf(*file, number), sector, tag, bytes.data() + sector * kSectorBytes);
    if (options_.log) recovery_.Note(*file, number, sector, lsn, tag);
  }
}

void Simulation::Remember(const HeldPage& page) {
  hints_[random_.Below(hints_.size())] = page.hint();
}

void Simulation::BlockingAccess(Intent intent) {
  const Access access = ChooseAccess(intent);
  if (intent == Intent::kRead) {
    reading_ = access.page;
    absl::StatusOr<ReadGuard> guard = cache().Read(access.page, access.options);
    reading_.reset();
    if (!guard.ok()) return OnRefused(access, guard.status(), /*blocking=*/true);
    OnGranted(access, /*exclusive=*/false, guard->bytes().data());
    NewGuard().Take(*std::move(guard));
  } else {
    absl::StatusOr<WriteGuard> guard = intent == Intent::kMake
                                           ? cache().Make(access.page, access.options)
                                           : cache().Write(access.page, access.options);
    if (!guard.ok()) return OnRefused(access, guard.status(), /*blocking=*/true);
    OnGranted(access, /*exclusive=*/true, guard->bytes().data());
    if (verdict_.failed()) return;
    HeldPage& held = NewGuard();
    held.Take(*std::move(guard));
    if (made_) LogZeros(held);
    if (random_.Chance(800)) Change(held, random_.Chance(500) ? kSectors : 2);
  }
  HeldPage& held = machine_->guards.back();
  Remember(held);
  if (random_.Chance(500)) machine_->guards.pop_back();
}

void Simulation::TryAccess(bool exclusive) {
  Access access = ChooseAccess(exclusive ? Intent::kWrite : Intent::kRead);
  access.options.expected_lsn = storage::Lsn::kNone;
  if (!exclusive) {
    std::optional<ReadGuard> guard = cache().TryRead(access.page, access.options.hint);
    if (!guard.has_value()) return;
    OnGranted(access, exclusive, guard->bytes().data());
    NewGuard().Take(*std::move(guard));
  } else {
    std::optional<WriteGuard> guard = cache().TryWrite(access.page, access.options.hint);
    if (!guard.has_value()) return;
    OnGranted(access, exclusive, guard->bytes().data());
    NewGuard().Take(*std::move(guard));
    if (!verdict_.failed() && random_.Chance(800)) Change(machine_->guards.back(), 3);
  }
  Remember(machine_->guards.back());
}

void Simulation::TryHint() {
  const storage::PageHint hint = hints_[random_.Below(hints_.size())];
  std::optional<ReadGuard> guard = cache().TryRead(hint);
  if (!guard.has_value()) return;
  const std::optional<size_t> file = model_.Find(hint.page().file);
  const bool right = file.has_value() && guard->page_id() == hint.page();
  if (!verdict_.Check(Invariant::kStaleRefused, right)) {
    return Fail(Invariant::kStaleRefused, "a stale hint leads to a page");
  }
  const Access access{.file = *file,
                      .page = hint.page(),
                      .intent = Intent::kRead,
                      .options = {},
                      .begun_ns = environment_.NowNs()};
  OnGranted(access, /*exclusive=*/false, guard->bytes().data());
}

void Simulation::UseGuard(Action action) {
  if (machine_->guards.empty()) return;
  // Whichever is in front comes to the back.
  const size_t number = random_.Below(machine_->guards.size());
  HeldPage& page = machine_->guards[number];
  if (action == Action::kDrop) {
    page.Drop();
    while (!machine_->guards.empty() && !machine_->guards.front().holds()) {
      machine_->guards.pop_front();
    }
    return;
  }
  if (!page.holds()) return;
  const std::optional<size_t> file = model_.Find(page.held().page.file);
  if (!file.has_value()) return Fail(Invariant::kHeldInPlace, "a page is held of a closed file");
  if (action == Action::kChange && page.exclusive()) return Change(page, 1);
  if (action == Action::kDowngrade && page.exclusive()) {
    page.Downgrade();
  } else if (action == Action::kUpgrade && !page.exclusive()) {
    const size_t guards = machine_->book.CountOf(page.held().page);
    if (!page.TryUpgrade()) return;
    const PageModel::File& of = model_.file(*file);
    if (!verdict_.Check(Invariant::kPoisoned, !of.read_only && !of.poisoned)) {
      return Fail(Invariant::kPoisoned, "TryUpgrade of a page that may not be changed");
    }
    if (!verdict_.Check(Invariant::kHeldInPlace, guards == 1)) {
      return Fail(Invariant::kHeldInPlace, "TryUpgrade beside other readers");
    }
    if (random_.Chance(500)) Change(page, 2);
  }
  model_.CheckShown(*file, page.held().page.page_number, page.held().data);
}

// ---- Looks ----

void Simulation::BeginLook() {
  const Access access = ChooseAccess(Intent::kRead);
  storage::OptimisticGuard guard;
  if (random_.Chance(300)) {
    absl::StatusOr<storage::OptimisticGuard> waited =
        cache().ReadOptimistic(access.page, access.options);
    if (!waited.ok()) return OnRefused(access, waited.status(), /*blocking=*/true);
    guard = *waited;
  } else {
    guard = cache().TryReadOptimistic(access.page, access.options.hint);
  }
  if (!guard.has_page()) return;
  if (looks_.size() >= 6) looks_.erase(looks_.begin());
  Look look{.file = access.file, .guard = guard, .seen = {}};
  for (size_t i = 0; i < kSectors; ++i) look.seen[i] = guard.view().Load<Tag>(i * kSectorBytes);
  looks_.push_back(look);
}

void Simulation::EndLook() {
  if (looks_.empty()) return;
  const size_t number = random_.Below(looks_.size());
  const Look look = looks_[number];
  looks_.erase(looks_.begin() + static_cast<ptrdiff_t>(number));
  PageTags now{};
  for (size_t i = 0; i < kSectors; ++i) now[i] = look.guard.view().Load<Tag>(i * kSectorBytes);
  std::array<std::byte, kPageBytes> bytes{};
  look.guard.view().CopyTo(0, std::span(bytes).first(look.guard.view().size_bytes()));
  if (!look.guard.StillValid()) return;
  // What the disk has damaged may be shown first to one who looks.
  if (model_.Find(look.guard.page_id().file) == look.file) {
    model_.CheckShown(look.file, look.guard.page_id().page_number, bytes.data());
  }
  const PageModel::File& file = model_.file(look.file);
  const PageId page = look.guard.page_id();
  const bool right = file.open && file.id == page.file &&
                     look.seen == model_.Newest(look.file, page.page_number) && now == look.seen;
  if (verdict_.Check(Invariant::kLookWasTrue, right)) return;
  Fail(Invariant::kLookWasTrue,
       absl::StrCat("a look at ", page.ToString(), " is valid, and showed what it does not hold"));
}

// ---- Many ----

void Simulation::ReadMany() {
  std::array<PageId, 6> pages;
  std::array<absl::StatusOr<ReadGuard>, 6> guards;
  const size_t count = random_.Between(1, std::min<size_t>(pages.size(), cache().frame_count()));
  Access access = ChooseAccess(Intent::kRead);
  access.options.expected_lsn = storage::Lsn::kNone;  // they are of different ages
  const bool adjacent = random_.Chance(500);
  for (size_t i = 0; i < count; ++i) {
    const uint64_t page = adjacent ? access.page.page_number + i : ChoosePage(access.file);
    pages[i] = {access.page.file, page};
  }
  (void)cache().ReadMany(absl::MakeSpan(pages).first(count), absl::MakeSpan(guards).first(count),
                         access.options);
  for (size_t i = 0; i < count && !verdict_.failed(); ++i) {
    access.page = pages[i];
    if (guards[i].ok()) {
      OnGranted(access, /*exclusive=*/false, guards[i]->bytes().data());
    } else {
      verdict_.Note(static_cast<uint64_t>(guards[i].status().code()));
      const bool cause = HasCause(access, guards[i].status(), /*blocking=*/true) ||
                         absl::IsFailedPrecondition(guards[i].status());
      if (!verdict_.Check(Invariant::kErrorHasCause, cause)) {
        Fail(Invariant::kErrorHasCause,
             absl::StrCat("without a cause: ", guards[i].status().ToString()));
      }
    }
  }
}

void Simulation::Prefetch() {
  const Access access = ChooseAccess(Intent::kRead);
  std::array<PageId, 12> pages;
  const size_t count = random_.Between(1, pages.size());
  for (size_t i = 0; i < count; ++i) {
    const uint64_t page =
        random_.Chance(850) ? access.page.page_number + i : ChoosePage(access.file);
    pages[i] = {access.page.file, page};
  }
  const PageModel::File& file = model_.file(access.file);
  const bool was_poisoned = file.poisoned;
  prefetches_ = true;
  const absl::StatusOr<size_t> started = cache().Prefetch(absl::MakeSpan(pages).first(count));
  prefetches_ = false;
  verdict_.Note(started.value_or(99));
  if (started.ok()) {
    const bool right = file.open && !was_poisoned && *started <= count;
    if (!verdict_.Check(Invariant::kStaleRefused, right || engine().off())) {
      Fail(Invariant::kStaleRefused, "Prefetch of a file that is not open, or poisoned");
    }
  } else if (!verdict_.Check(Invariant::kErrorHasCause,
                             !file.open || file.poisoned || file.doubtful)) {
    Fail(Invariant::kErrorHasCause, absl::StrCat("Prefetch: ", started.status().ToString()));
  }
}

}  // namespace fixpool::simulation
