#include "tests/simulation/sim_counts.h"

namespace fixpool::simulation {
namespace {

constexpr std::array<absl::string_view, kKinds<Fault>> kFaults = {
    "read fails (EIO)",
    "write fails (EIO)",
    "write fails after a part of it",
    "no space (ENOSPC)",
    "try again (EAGAIN)",
    "file ends inside a page",
    "sync fails",
    "failed sync forgets a sector",
    "joined write fails",
    "log cannot be made durable",
    "log takes long",
    "engine takes nothing",
    "engine takes a part",
    "transfer of more than 10 ms",
    "transfers end out of order",
    "fewer reaped than there are",
    "wait ends for no reason",
    "depth lowered by a file",
    "file cannot be added",
    "size of a file unknown",
    "preallocation fails",
    "handle of a frame gone stale",
    "task destroyed",
    "crash",
    "crash inside a call",
    "crash with writes in flight",
    "unsynced sector survives a crash",
    "unsynced sector vanishes in a crash",
    "page torn by a crash",
    "end of a file lost in a crash",
    "bit flipped",
    "write lost",
    "write misdirected",
};

constexpr std::array<absl::string_view, kKinds<Invariant>> kInvariants = {
    "a page that is shown is whole, and its newest version",
    "a page that is held stays in its frame",
    "one frame per page, one page per frame",
    "frames = free + clean + dirty + in flight",
    "nobody has a page that is being read",
    "nobody changes a page that is being written",
    "what is written is what the last guard left behind",
    "a clean page is on disk",
    "each submission has one completion",
    "misses of one page share a read",
    "who waits for what is there has been told",
    "what is stale is refused",
    "what a flush said OK to is durable",
    "a crash leaves issued versions, none before the last flush",
    "after a failed sync nothing is believed",
    "an error has a cause",
    "a look that is valid was true",
    "nobody is refused a frame while there is a clean one",
    "in the end everything ends, and all frames are free",
    "a read does not wait for a write while there is a clean frame",
    "what is written carries its seal",
    "a page that is not what was sealed is not shown",
    "who expects an LSN is not shown an older page",
    "a crash tears no page that is protected",
    "the log is durable before a page is written",
    "the log is asked with no lock held, and may not ask back",
    "no record is forgotten that recovery needs",
    "what a checkpoint said OK to is durable",
    "redo since a checkpoint brings all back that is durable",
    "the library's own checks hold",
};

constexpr std::array<absl::string_view, kKinds<Event>> kEvents = {
    "hits",
    "misses",
    "pages made",
    "waits",
    "evictions",
    "writes for evictions",
    "writes",
    "writes in the background",
    "joined writes",
    "calls of the log",
    "syncs",
    "prefetches",
    "pages read ahead",
    "joined reads",
    "pages moved",
    "pages that were not what was sealed",
    "copies in double-write areas",
    "torn pages recovered from these",
    "lost writes found",
};

constexpr std::array<absl::string_view, kKinds<Action>> kActions = {
    "run tasks",
    "pass time",
    "spawn a task",
    "destroy a task",
    "resume a task",
    "task reads",
    "task writes",
    "task makes",
    "Read",
    "Write",
    "Make",
    "TryRead",
    "TryWrite",
    "Try with a hint",
    "begin a look",
    "end a look",
    "change",
    "Downgrade",
    "TryUpgrade",
    "drop a guard",
    "ReadMany",
    "Prefetch",
    "Flush",
    "FlushAll",
    "Checkpoint",
    "CloseFile",
    "discard",
    "OpenFile",
    "open to read",
    "open twice",
    "Resize",
    "background",
    "use what is stale",
    "stale frame",
    "PageCount",
    "arm a crash",
    "crash",
};

}  // namespace

absl::string_view NameOf(Fault fault) { return kFaults[static_cast<size_t>(fault)]; }
absl::string_view NameOf(Invariant invariant) {
  return kInvariants[static_cast<size_t>(invariant)];
}
absl::string_view NameOf(Event event) { return kEvents[static_cast<size_t>(event)]; }
absl::string_view NameOf(Action action) { return kActions[static_cast<size_t>(action)]; }

void SimCounts::Add(const SimCounts& other) {
  for (size_t i = 0; i < faults.size(); ++i) faults[i] += other.faults[i];
  for (size_t i = 0; i < invariants.size(); ++i) invariants[i] += other.invariants[i];
  for (size_t i = 0; i < events.size(); ++i) events[i] += other.events[i];
  for (size_t i = 0; i < actions.size(); ++i) actions[i] += other.actions[i];
  steps += other.steps;
  warnings += other.warnings;
}

}  // namespace fixpool::simulation
