#include "tests/simulation/simulation.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/storage/cache_stats.h"

namespace fixpool::simulation {
namespace {

struct Weight {
  Action action;
  uint32_t weight;
};

// Of what is done from outside of tasks. Varied from life to life.
constexpr Weight kWeights[] = {
    {Action::kRunTasks, 200},  {Action::kPassTime, 130},   {Action::kSpawnTask, 60},
    {Action::kAbandonTask, 4}, {Action::kResumeTask, 60},  {Action::kRead, 40},
    {Action::kWrite, 40},      {Action::kMake, 12},        {Action::kTryRead, 30},
    {Action::kTryWrite, 25},   {Action::kTryHint, 25},     {Action::kLookBegin, 25},
    {Action::kLookEnd, 25},    {Action::kChange, 30},      {Action::kDowngrade, 10},
    {Action::kUpgrade, 15},    {Action::kDrop, 90},        {Action::kReadMany, 12},
    {Action::kPrefetch, 15},   {Action::kFlush, 12},       {Action::kFlushAll, 4},
    {Action::kCheckpoint, 10}, {Action::kClose, 4},        {Action::kCloseDiscarding, 2},
    {Action::kOpen, 8},        {Action::kOpenReadOnly, 1}, {Action::kOpenTwice, 1},
    {Action::kResize, 3},      {Action::kBackground, 30},  {Action::kUseStale, 4},
    {Action::kStaleFrame, 1},  {Action::kPageCount, 3},
};

}  // namespace

Simulation::Simulation(SimRandom random, uint64_t seed, uint64_t steps)
    : random_(random),
      options_(SimOptions::FromSeed(seed, steps, random_)),
      disk_(SimOptions::kFiles, options_.most_pages, &random_, &verdict_.counts()),
      model_(seed, options_.most_pages, &disk_, &verdict_),
      environment_(&random_, &verdict_),
      log_(&environment_, this, &random_, &verdict_, options_.log_error, options_.log_slow),
      recovery_(options_.most_pages, &disk_, &verdict_) {
  for (const Weight& weight : kWeights) {
    constexpr uint32_t kTimes[] = {0, 2, 4, 4, 4, 8, 16};
    const uint32_t times = kTimes[random_.Below(std::size(kTimes))];
    // Tasks and time must go on.
    const bool needed = weight.action <= Action::kSpawnTask || weight.action == Action::kDrop;
    weights_[static_cast<size_t>(weight.action)] =
        weight.weight * (needed ? std::max(times, 2u) : times);
  }
  if (!options_.log) weights_[static_cast<size_t>(Action::kCheckpoint)] = 0;
  weights_[static_cast<size_t>(Action::kArmCrash)] = 4 * options_.crash;
  weights_[static_cast<size_t>(Action::kCrash)] = options_.crash;
  if (options_.double_writes) disk_.AddAreas(160, &random_, &verdict_.counts());
  for (size_t file = 0; file < disk_.file_count(); ++file) {
    const uint64_t most_sectors = options_.most_pages * kSectors;
    uint64_t sectors = random_.Below(most_sectors + 1);
    if (random_.Chance(600)) sectors = sectors / kSectors * kSectors;
    if (random_.Chance(100)) sectors = 0;
    if (options_.sealed[file]) {
      sectors = sectors / kSectors * kSectors;
      model_.Seal(file);
      if (options_.double_writes) model_.Protect(file);
    }
    model_.Begin(file, sectors * kSectorBytes);
  }
  Boot();
}

Simulation::~Simulation() { LosePower(); }

void Simulation::CountEvents() {
  const storage::CacheStats stats = cache().Stats();
  SimCounts& counts = verdict_.counts();
  counts.Add(Event::kHit, stats.hits);
  counts.Add(Event::kMiss, stats.misses);
  counts.Add(Event::kMade, stats.made);
  counts.Add(Event::kWait, stats.waits);
  counts.Add(Event::kEviction, stats.evictions);
  counts.Add(Event::kEvictionWrite, stats.eviction_writes);
  counts.Add(Event::kWrite, stats.writes);
  counts.Add(Event::kBackgroundWrite, stats.background_writes);
  counts.Add(Event::kJoinedWrite, stats.joined_writes);
  counts.Add(Event::kLogCall, stats.log_calls);
  counts.Add(Event::kSync, stats.syncs);
  counts.Add(Event::kPrefetch, stats.prefetches);
  counts.Add(Event::kReadAhead, stats.read_ahead);
  counts.Add(Event::kJoinedRead, stats.joined_reads);
  counts.Add(Event::kMove, stats.moves);
  counts.Add(Event::kSealError, stats.seal_errors);
  counts.Add(Event::kDoubleWrite, stats.double_writes);
  counts.Add(Event::kPageRecovered, stats.pages_recovered);
  counts.Add(Event::kLostWriteFound, stats.lost_writes);
}

void Simulation::LosePower() {
  if (!machine_.has_value()) return;
  CountEvents();
  engine().PowerOff();
  looks_.clear();
  dying_ = true;
  machine_.reset();
  dying_ = false;
}

void Simulation::Boot() {
  machine_.emplace(&environment_, static_cast<TransferObserver*>(this), &random_, &verdict_,
                   options_.log ? &log_ : nullptr, options_);
  if (kind_) engine().BeKind();
  for (size_t file = 0; file < model_.file_count(); ++file) {
    Open(file, /*read_only=*/random_.Chance(60));
  }
}

void Simulation::CrashAndReboot() {
  verdict_.counts().Add(Fault::kCrash);
  LosePower();
  disk_.Crash();
  log_.Crash();
  if (options_.log) recovery_.CheckRedo(log_.durable());
  recovery_.Restart();
  for (size_t file = 0; file < model_.file_count(); ++file) {
    model_.OnCrash(file);
    PageModel::File& lost = model_.file(file);
    if (lost.open) stale_files_.push_back(lost.id);
    lost = PageModel::File();
  }
  if (!verdict_.failed()) Boot();
}

void Simulation::Run() {
  while (!verdict_.failed() && verdict_.counts().steps < options_.steps && !random_.exhausted()) {
    Step();
  }
  if (!verdict_.failed()) WindDown();
}

Action Simulation::ChooseAction() {
  uint64_t sum = 0;
  for (const uint32_t weight : weights_) sum += weight;
  uint64_t at = random_.Below(sum);
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (at < weights_[i]) return static_cast<Action>(i);
    at -= weights_[i];
  }
  return Action::kRunTasks;
}

void Simulation::Step() {
  environment_.BeginStep();
  const Action action = ChooseAction();
  verdict_.Note(static_cast<uint64_t>(action));
  verdict_.counts().Add(action);
  Do(action);
  verdict_.Note(static_cast<uint64_t>(environment_.NowNs()));
  AfterStep(/*outside_of_tasks=*/true);
  if (verdict_.failed() || !engine().off()) return;
  if (action != Action::kCrash && action != Action::kStaleFrame) {
    verdict_.counts().Add(Fault::kCrashInsideACall);
  }
  CrashAndReboot();
}

void Simulation::Do(Action action) {
  switch (action) {
    case Action::kRunTasks:
      return RunTasks();
    case Action::kPassTime:
      return PassTime();
    case Action::kSpawnTask:
      return SpawnTask();
    case Action::kAbandonTask:
      return AbandonTask();
    case Action::kResumeTask:
      (void)machine_->pauses.ResumeOne();
      return;
    case Action::kRead:
      return BlockingAccess(Intent::kRead);
    case Action::kWrite:
      return BlockingAccess(Intent::kWrite);
    case Action::kMake:
      return BlockingAccess(Intent::kMake);
    case Action::kTryRead:
      return TryAccess(/*exclusive=*/false);
    case Action::kTryWrite:
      return TryAccess(/*exclusive=*/true);
    case Action::kTryHint:
      return TryHint();
    case Action::kLookBegin:
      return BeginLook();
    case Action::kLookEnd:
      return EndLook();
    case Action::kChange:
    case Action::kDowngrade:
    case Action::kUpgrade:
    case Action::kDrop:
      return UseGuard(action);
    case Action::kReadMany:
      return ReadMany();
    case Action::kPrefetch:
      return Prefetch();
    default:
      return DoToAll(action);
  }
}

// What is about whole files, or the whole machine.
void Simulation::DoToAll(Action action) {
  switch (action) {
    case Action::kFlush:
      return Flush();
    case Action::kFlushAll:
      return FlushAll();
    case Action::kCheckpoint:
      return Checkpoint();
    case Action::kClose:
      return Close(/*discard=*/false);
    case Action::kCloseDiscarding:
      return Close(/*discard=*/true);
    case Action::kOpen:
      return Open(random_.Below(model_.file_count()), /*read_only=*/false);
    case Action::kOpenReadOnly:
      return Open(random_.Below(model_.file_count()), /*read_only=*/true);
    case Action::kOpenTwice:
      return OpenTwice();
    case Action::kResize:
      return Resize();
    case Action::kBackground:
      (void)machine_->background.Step();
      return;
    case Action::kUseStale:
      return UseStale();
    case Action::kStaleFrame:
      return UseStaleFrame();
    case Action::kPageCount:
      return CheckPageCount();
    case Action::kArmCrash:
      return engine().PowerOffAfter(random_.Between(1, 12));
    case Action::kCrash:
      return engine().PowerOff();
    default:  // what tasks do, by themselves
      return;
  }
}

void Simulation::AfterStep(bool outside_of_tasks) {
  ++verdict_.counts().steps;
  if (verdict_.failed()) return;
  known_.clear();
  for (size_t file = 0; file < model_.file_count(); ++file) {
    const PageModel::File& one = model_.file(file);
    if (one.open) known_.push_back({.file = one.id, .pages = options_.most_pages});
  }
  const storage::CacheInspector& inspector = machine_->inspector;
  inspector.CheckTables(known_, engine().transfers(), &verdict_);
  inspector.CheckHeld(machine_->book.all(), &verdict_);
  if (outside_of_tasks && machine_->scheduler.CountReady() == 0) {
    inspector.CheckWaiters(&verdict_);
  }
  CheckSample();
  if (options_.log && random_.Chance(125)) CheckOldest();
}

void Simulation::CheckSample() {
  const auto sample = machine_->inspector.SampleOf(random_.Below(1u << 16));
  if (!sample.has_value()) return;
  const std::optional<size_t> file = model_.Find(sample->page.file);
  const bool known = file.has_value() && sample->page.page_number < options_.most_pages;
  if (!verdict_.Check(Invariant::kOnePlace, known)) {
    return Fail(Invariant::kOnePlace, "a frame holds a page that was never asked for");
  }
  model_.CheckShown(*file, sample->page.page_number, sample->data);
  if (sample->clean) model_.CheckOnDisk(*file, sample->page.page_number);
}

bool Simulation::LetTasksEnd() {
  constexpr int kManyRounds = 20'000;
  for (int round = 0; round < kManyRounds && !verdict_.failed(); ++round) {
    environment_.BeginStep();
    if (machine_->scheduler.CountUnfinished() == 0) return true;
    while (machine_->pauses.ResumeOne()) {
    }
    RunTasks();
    (void)machine_->background.Step();
    PassTime();
    AfterStep(/*outside_of_tasks=*/true);
  }
  return false;
}

// With no more faults: all tasks end, all that is dirty can be written, and all frames are free.
void Simulation::WindDown() {
  kind_ = true;
  if (engine().off()) CrashAndReboot();
  if (verdict_.failed()) return;
  engine().PowerOffAfter(0);
  engine().BeKind();
  log_.BeKind();
  machine_->guards.clear();
  looks_.clear();
  bool ended = LetTasksEnd();
  if (verdict_.failed()) return;
  machine_->tasks.clear();
  for (size_t i = 0; i < model_.file_count(); ++i) {
    PageModel::File& file = model_.file(i);
    if (!file.open) continue;
    const absl::Status closed =
        cache().CloseFile(file.id, {.discard_changes = file.poisoned || file.doubtful});
    if (!closed.ok()) {
      return Fail(Invariant::kAllEnds, absl::StrCat("the last CloseFile: ", closed.message()));
    }
    file.poisoned || file.doubtful ? Discard(i) : model_.OnFlushed(i);
    OnClosed(i);
  }
  AfterStep(/*outside_of_tasks=*/true);
  if (!verdict_.Check(Invariant::kOldestDirty, !cache().OldestDirtyLsn().has_value())) {
    Fail(Invariant::kOldestDirty, "a record is wanted, and no file is open");
  }
  const storage::CacheStats stats = cache().Stats();
  ended = ended && stats.free_frames == stats.frame_count && stats.pinned_frames == 0;
  if (!verdict_.Check(Invariant::kAllEnds, ended)) {
    Fail(Invariant::kAllEnds, absl::StrCat("in the end: ", stats.ToString()));
  }
  verdict_.Note(stats.ToString());
  CountEvents();
}

}  // namespace fixpool::simulation
