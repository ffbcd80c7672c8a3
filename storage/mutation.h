#ifndef FIXPOOL_STORAGE_MUTATION_H_
#define FIXPOOL_STORAGE_MUTATION_H_

#include <cstdint>

#include "fixpool/io/require_cpp20.h"

namespace fixpool::storage {

// Ways to break a cache on purpose, one for each thing that it must never do, so that tests can
// show that they would notice. There is none in a build without FIXPOOL_MUTATIONS, where Mutated()
// is a constant and costs nothing.
enum class Mutation : uint8_t {
  kNone,
  kWriteBeforeLog,         // a page is written though the log is not durable up to its LSN
  kCleanAfterFailedSync,   // a failed sync does not poison its file
  kSkipSync,               // a flush says OK without a sync
  kCleanAfterFailedWrite,  // a page is taken for written though its write failed
  kEvictPinned,            // a page leaves its frame while somebody holds it
  kTwoFramesForAPage,      // a second miss does not find the first one's read
  kLostWaiter,             // who waits for a page is not told
  kWriteWhileHeld,         // a page is written while somebody changes it
  kReadWhileLoading,       // a page is shown before its read has ended
  kAcceptTornPage,         // a page whose seal does not fit is taken for good
  kAcceptStaleHandle,      // a frame's handle is not asked whether it is valid
  kAcceptStaleFile,        // a page of a file that was closed is found
  kForgetDirty,            // a change does not make its page dirty
  kCheckpointTooEarly,     // a page counts as durable when its write returns, before the sync
  kNoZeros,                // what lies behind the end of a file is not cleared
  kLeakFrame,              // a frame whose read failed is never free again
  kLoseDirtyInAMove,       // a page that changes frames is taken for written
  kUpgradeBesideReaders,   // a reader becomes the writer though there are others
  kCloseWithoutSync,       // a file is closed without a sync of what was written before
  kNoDoubleWrite,          // a page is written before its copy is on stable storage
  kSameVersion,            // a writer leaves without a trace for those who look
};

#ifdef FIXPOOL_MUTATIONS
// What is broken now. Set before there are caches.
inline Mutation g_mutation = Mutation::kNone;
inline bool Mutated(Mutation mutation) { return g_mutation == mutation; }
#else
constexpr bool Mutated(Mutation) { return false; }
#endif

}  // namespace fixpool::storage

#endif  // FIXPOOL_STORAGE_MUTATION_H_
