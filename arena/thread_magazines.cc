#include "fixpool/arena/thread_magazines.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "fixpool/io/check.h"
#include "fixpool/io/fork_guard.h"
#include "fixpool/io/process_barrier.h"

namespace fixpool::arena {
namespace {

std::atomic<uint64_t> next_serial{1};

// Who is alive, for threads that exit. Never destroyed: threads may outlive main().
struct Directory {
  io::Mutex mutex;
  std::vector<std::pair<uint64_t, ThreadMagazines*>> alive ABSL_GUARDED_BY(mutex);
  const io::ForkGuard fork_guard;
};

// A forked child has one of its own: in that of its parent the lock may be held for ever, and
// the parent's arenas are no concern of the child's threads.
Directory& TheDirectory() {
  static std::atomic<Directory*> directory{new Directory};
  Directory* current = directory.load(std::memory_order_acquire);
  if (current->fork_guard.forked()) {
    auto* const fresh = new Directory;
    if (directory.compare_exchange_strong(current, fresh, std::memory_order_acq_rel)) {
      return *fresh;
    }
    delete fresh;
  }
  return *current;
}

}  // namespace

constinit thread_local std::array<ThreadMagazines::Entry, ThreadMagazines::kEntries>
    ThreadMagazines::entries_{};
constinit thread_local ThreadMagazines::Entry ThreadMagazines::last_{};
constinit thread_local bool ThreadMagazines::exiting_ = false;

// A key and not a thread_local with a destructor, which would come to an allocation for each
// thread, and which runs before the destructors of some who may still free pages.
void ThreadMagazines::WatchForExit() {
  static const pthread_key_t key = [] {
    pthread_key_t made;
    const int error = pthread_key_create(&made, [](void*) {
      exiting_ = true;
      for (Entry& entry : entries_) GiveUp(entry);
    });
    FIXPOOL_CHECK(error == 0, "this process has used up its pthread keys");
    return made;
  }();
  pthread_setspecific(key, &entries_);
}

ThreadMagazines::ThreadMagazines(size_t count, std::function<void(Magazine&)> empty)
    : serial_(next_serial.fetch_add(1, std::memory_order_relaxed)),
      count_(count),
      empty_(std::move(empty)),
      magazines_(std::make_unique<Magazine[]>(count)),
      barrier_(io::ProcessBarrier::Register() ? Magazine::Barrier::kThief
                                              : Magazine::Barrier::kOwner) {
  spare_.reserve(count);
  Directory& directory = TheDirectory();
  io::MutexLock lock(directory.mutex);
  directory.alive.emplace_back(serial_, this);
}

ThreadMagazines::~ThreadMagazines() {
  Directory& directory = TheDirectory();
  io::MutexLock lock(directory.mutex);
  std::erase_if(directory.alive, [this](const auto& entry) { return entry.second == this; });
}

// True only if there was a moment in which they all were: a page that was freed into one that had
// been looked into, while another was allocated from one that had not, would be overlooked.
bool ThreadMagazines::OthersAreEmpty(const Magazine* mine) {
  while (true) {
    const uint64_t pushes = PushesOfOthers(mine);
    bool empty = true;
    ForEach([&](const Magazine& magazine) {
      if (&magazine != mine && !magazine.closed() && magazine.CountPages() > 0) empty = false;
    });
    if (!empty) return false;
    if (PushesOfOthers(mine) == pushes) return true;
  }
}

uint64_t ThreadMagazines::PushesOfOthers(const Magazine* mine) {
  uint64_t pushes = 0;
  ForEach([&](const Magazine& magazine) {
    if (&magazine != mine) pushes += magazine.pushes();
  });
  return pushes;
}

// False: owners that rely on the process's barrier may be inside, because there is none any more.
// They learn of it when they open their magazines again.
bool ThreadMagazines::CloseOthers(const Magazine* mine) {
  bool wants_barrier = false;
  ForEach([&](Magazine& magazine) {
    if (&magazine == mine || magazine.closed()) return;
    magazine.Close();
    if (magazine.barrier() == Magazine::Barrier::kThief) wants_barrier = true;
  });
  if (!wants_barrier) return barrier_ == Magazine::Barrier::kThief;
  if (barrier_ == Magazine::Barrier::kThief && !io::ProcessBarrier::Run()) {
    barrier_ = Magazine::Barrier::kOwner;
  }
  return barrier_ == Magazine::Barrier::kThief;
}

// Under the directory's lock, so that the arena cannot go away meanwhile.
void ThreadMagazines::GiveUp(Entry& entry) {
  const Entry given = std::exchange(entry, Entry());
  if (last_.serial == given.serial) last_ = Entry();
  if (given.magazine == nullptr) return;
  Directory& directory = TheDirectory();
  io::MutexLock lock(directory.mutex);
  const auto owner =
      std::find_if(directory.alive.begin(), directory.alive.end(),
                   [&](const auto& candidate) { return candidate.first == given.serial; });
  if (owner == directory.alive.end()) return;
  owner->second->empty_(*given.magazine);
  io::MutexLock spare_lock(owner->second->mutex_);
  owner->second->spare_.push_back(given.magazine);
}

Magazine* ThreadMagazines::MineSlow() {
  if (exiting_) return nullptr;  // nobody would give it up any more
  WatchForExit();
  Entry& entry = entries_[serial_ % kEntries];
  GiveUp(entry);
  entry.serial = serial_;
  io::MutexLock lock(mutex_);
  if (!spare_.empty()) {
    entry.magazine = spare_.back();
    spare_.pop_back();
  } else if (const size_t used = used_.load(std::memory_order_relaxed); used < count_) {
    entry.magazine = &magazines_[used];
    used_.store(used + 1, std::memory_order_release);
  }
  last_ = entry;
  return entry.magazine;
}

}  // namespace fixpool::arena
