#ifndef FIXPOOL_TESTS_SIMULATION_SIM_COUNTS_H_
#define FIXPOOL_TESTS_SIMULATION_SIM_COUNTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "absl/strings/string_view.h"

namespace fixpool::simulation {

// What is done to a cache, besides asking it for pages.
enum class Fault : uint8_t {
  kReadError,
  kWriteError,
  kWriteErrorAfterAPart,
  kNoSpace,
  kTryAgain,
  kEndInsideAPage,
  kSyncError,
  kSyncForgot,
  kJoinedWriteError,
  kLogError,
  kSlowLog,
  kEngineFull,
  kEngineTookAPart,
  kSlowTransfer,
  kOutOfOrder,
  kFewerReaped,
  kEarlyWake,
  kDepthLowered,
  kOpenRefused,
  kSizeUnknown,
  kPreallocateError,
  kStaleFrame,
  kTaskAbandoned,
  kCrash,
  kCrashInsideACall,
  kCrashDuringAWrite,
  kSectorSurvived,
  kSectorVanished,
  kPageTorn,
  kSizeLost,
  // Of sealed files.
  kBitFlip,
  kLostWrite,
  kMisdirectedWrite,
  kCount,
};

// What must be true whatever is done.
enum class Invariant : uint8_t {
  kShownPage,
  kHeldInPlace,
  kOnePlace,
  kFrameCounts,
  kNobodySeesRead,
  kNobodyChangesWrite,
  kWrittenPage,
  kCleanIsOnDisk,
  kOneCompletion,
  kOneRead,
  kWaiterTold,
  kStaleRefused,
  kFlushedIsDurable,
  kAfterCrash,
  kPoisoned,
  kErrorHasCause,
  kLookWasTrue,
  kFrameAtHand,
  kAllEnds,
  kReadNotHeldUp,
  // Of sealed files.
  kSealed,
  kSealTells,
  kLostWriteFound,
  kWhole,
  // Of caches with a log.
  kLogFirst,
  kLogUnlocked,
  kOldestDirty,
  kCheckpointed,
  kRecovered,
  kNoCheckFails,
  kCount,
};

// What a cache did by itself, as its own statistics have it.
enum class Event : uint8_t {
  kHit,
  kMiss,
  kMade,
  kWait,
  kEviction,
  kEvictionWrite,
  kWrite,
  kBackgroundWrite,
  kJoinedWrite,
  kLogCall,
  kSync,
  kPrefetch,
  kReadAhead,
  kJoinedRead,
  kMove,
  kSealError,
  kDoubleWrite,
  kPageRecovered,
  kLostWriteFound,
  kCount,
};

// What is asked of a cache.
enum class Action : uint8_t {
  kRunTasks,
  kPassTime,
  kSpawnTask,
  kAbandonTask,
  kResumeTask,
  kTaskRead,
  kTaskWrite,
  kTaskMake,
  kRead,
  kWrite,
  kMake,
  kTryRead,
  kTryWrite,
  kTryHint,
  kLookBegin,
  kLookEnd,
  kChange,
  kDowngrade,
  kUpgrade,
  kDrop,
  kReadMany,
  kPrefetch,
  kFlush,
  kFlushAll,
  kCheckpoint,
  kClose,
  kCloseDiscarding,
  kOpen,
  kOpenReadOnly,
  kOpenTwice,
  kResize,
  kBackground,
  kUseStale,
  kStaleFrame,
  kPageCount,
  kArmCrash,
  kCrash,
  kCount,
};

absl::string_view NameOf(Fault fault);
absl::string_view NameOf(Invariant invariant);
absl::string_view NameOf(Event event);
absl::string_view NameOf(Action action);

template <typename Kind>
inline constexpr size_t kKinds = static_cast<size_t>(Kind::kCount);

// How often each of these was. A value that may be copied as bytes, from process to process.
struct SimCounts {
  std::array<uint64_t, kKinds<Fault>> faults{};
  std::array<uint64_t, kKinds<Invariant>> invariants{};
  std::array<uint64_t, kKinds<Event>> events{};
  std::array<uint64_t, kKinds<Action>> actions{};
  uint64_t steps = 0;
  uint64_t warnings = 0;

  void Add(Fault fault, uint64_t times = 1) { faults[static_cast<size_t>(fault)] += times; }
  void Add(Invariant invariant) { ++invariants[static_cast<size_t>(invariant)]; }
  void Add(Event event, uint64_t times) { events[static_cast<size_t>(event)] += times; }
  void Add(Action action) { ++actions[static_cast<size_t>(action)]; }
  void Add(const SimCounts& other);
};
static_assert(std::is_trivially_copyable_v<SimCounts>);

}  // namespace fixpool::simulation

#endif  // FIXPOOL_TESTS_SIMULATION_SIM_COUNTS_H_
