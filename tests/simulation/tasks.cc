// The tasks of a simulated life: each wants a few pages, one after the other, and keeps some of
// them while it waits for others.

#include <algorithm>
#include <utility>

#include "tests/simulation/simulation.h"

namespace fixpool::simulation {

using storage::ReadGuard;
using storage::Task;
using storage::TaskScheduler;
using storage::WriteGuard;

Task<absl::Status> Simulation::AccessInTask(TaskScheduler& /*scheduler*/, Intent intent,
                                            HeldPage& page) {
  const Access access = ChooseAccess(intent);
  if (intent == Intent::kRead) {
    verdict_.counts().Add(Action::kTaskRead);
    absl::StatusOr<ReadGuard> guard = co_await cache().ReadAsync(access.page, access.options);
    if (guard.ok()) {
      OnGranted(access, /*exclusive=*/false, guard->bytes().data());
      page.Take(*std::move(guard));
    } else {
      OnRefused(access, guard.status(), /*blocking=*/false);
    }
  } else {
    absl::StatusOr<WriteGuard> guard;
    if (intent == Intent::kWrite) {
      verdict_.counts().Add(Action::kTaskWrite);
      guard = co_await cache().WriteAsync(access.page, access.options);
    } else {
      verdict_.counts().Add(Action::kTaskMake);
      guard = co_await cache().MakeAsync(access.page, access.options);
    }
    if (guard.ok()) {
      OnGranted(access, /*exclusive=*/true, guard->bytes().data());
      page.Take(*std::move(guard));
      if (made_) LogZeros(page);
    } else {
      OnRefused(access, guard.status(), /*blocking=*/false);
    }
  }
  if (page.holds()) Remember(page);
  AfterStep(/*outside_of_tasks=*/false);
  co_return absl::OkStatus();
}

Task<absl::Status> Simulation::Work(TaskScheduler& scheduler) {
  HeldPage pages[] = {HeldPage(&machine_->book), HeldPage(&machine_->book),
                      HeldPage(&machine_->book)};
  const uint64_t rounds = random_.Between(1, 6);
  for (uint64_t round = 0; round < rounds && !verdict_.failed(); ++round) {
    HeldPage& page = pages[random_.Below(std::size(pages))];
    page.Drop();
    const uint64_t kind = random_.Below(10);
    const Intent intent = kind < 5 ? Intent::kRead : kind < 9 ? Intent::kWrite : Intent::kMake;
    absl::Status done = co_await AccessInTask(scheduler, intent, page);
    if (!done.ok()) co_return done;
    if (verdict_.failed()) break;
    if (!page.holds()) continue;
    // What is half changed while it waits nobody else ever sees.
    if (page.exclusive() && random_.Chance(800)) Change(page, random_.Chance(500) ? kSectors : 2);
    if (random_.Chance(400)) co_await machine_->pauses.Pause();
    if (page.exclusive() && random_.Chance(300)) Change(page, 1);
    if (page.exclusive() && random_.Chance(200)) page.Downgrade();
    if (random_.Chance(600)) page.Drop();
  }
  co_return absl::OkStatus();
}

void Simulation::SpawnTask() {
  if (machine_->tasks.size() >= options_.tasks) return;
  absl::StatusOr<storage::SpawnedTask<absl::Status>> task =
      machine_->scheduler.Spawn(Work(machine_->scheduler));
  if (!verdict_.Check(Invariant::kErrorHasCause, task.ok())) {
    return Fail(Invariant::kErrorHasCause, task.status().ToString());
  }
  machine_->tasks.push_back(*std::move(task));
}

void Simulation::AbandonTask() {
  if (machine_->tasks.empty()) return;
  const size_t number = random_.Below(machine_->tasks.size());
  machine_->tasks.erase(machine_->tasks.begin() + static_cast<ptrdiff_t>(number));
  verdict_.counts().Add(Fault::kTaskAbandoned);
}

void Simulation::RunTasks() {
  (void)machine_->scheduler.RunReady();
  auto& tasks = machine_->tasks;
  for (auto& task : tasks) {
    if (!task.done()) continue;
    const absl::Status result = task.TakeResult();
    if (!verdict_.Check(Invariant::kErrorHasCause, result.ok())) {
      Fail(Invariant::kErrorHasCause, result.ToString());
    }
  }
  tasks.erase(std::remove_if(tasks.begin(), tasks.end(), [](auto& task) { return task.done(); }),
              tasks.end());
}

void Simulation::PassTime() {
  constexpr int64_t kMostNs[] = {50'000, 500'000, 5'000'000, 50'000'000, 3'000'000'000};
  const int64_t most_ns = kMostNs[random_.Below(std::size(kMostNs))];
  const int64_t until_ns = environment_.NowNs() + 1 +
                           static_cast<int64_t>(random_.Below(static_cast<uint64_t>(most_ns)));
  if (machine_->progress.Wait(io::Deadline::AtNs(until_ns))) return;
  // No task waits for the cache; prefetches and writes may be under way.
  environment_.AdvanceTo(std::min(until_ns, engine().NextEndNs()));
  machine_->progress.Poll();
}

}  // namespace fixpool::simulation
