#ifndef FIXPOOL_IO_FIXED_BUFFER_REGISTRY_H_
#define FIXPOOL_IO_FIXED_BUFFER_REGISTRY_H_

#include "fixpool/io/require_cpp20.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fixpool/io/buffer_table.h"
#include "fixpool/io/environment.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fork_guard.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/mutex.h"
#include "fixpool/io/region_id.h"

namespace fixpool::io {

class FixedBufferRegistry;
class RegionLease;

// One region's place in a registry; giving it up unregisters the region.
//
// Move-only. Must be gone before the registry is. Thread-compatible.
class [[nodiscard]] Registration {
 public:
  Registration() = default;  // holds nothing
  Registration(Registration&& other) noexcept;
  Registration& operator=(Registration&& other) noexcept;
  // Release() with the registry's `release_timeout`. If that fails the region is leaked
  // on purpose (its slot stays closed, its backing is kept for ever) and the
  // environment's sink hears of it: memory that the kernel may still write to is never
  // given back. In a forked child: nothing.
  ~Registration();

  bool holds_region() const { return registry_ != nullptr; }
  RegionId id() const { return id_; }

  // Refuses new transfers, waits until nothing in flight uses the region, empties its
  // slot in every attached ring, and drops the backing. After OK this object holds
  // nothing and `id()` is stale for ever.
  // DeadlineExceeded: transfers were still in flight; the region is back in service as
  // if nobody had asked. FailedPrecondition: holds nothing, or in a forked child. Internal: a
  // ring would not empty the slot; the region stays closed and is leaked, as by the destructor.
  absl::Status Release(absl::Duration timeout);

 private:
  friend class FixedBufferRegistry;
  Registration(FixedBufferRegistry* registry, RegionId id) : registry_(registry), id_(id) {}

  FixedBufferRegistry* registry_ = nullptr;
  RegionId id_;
};

// Which memory the kernel may be given, under which number, and who still uses it.
//
//   auto registry = FixedBufferRegistry::Create({});
//   auto engine = OpenEngine(registry->get(), {});                  // attaches its ring
//   auto region = MemoryRegion::Create(memory, 1 << 30);
//   auto registration = (*registry)->Register(*region, {.backing = mapping});
//   (*registry)->Validate(registration->id(), p, 4096);             // may it have these bytes?
//
// Shape: up to `capacity` regions (at most kMaxRegions) of up to 1 GiB. A region has the
// same slot number in every attached ring. Slots are reused, generations are not.
//
// Rings share one registration of the memory where the kernel can (Linux 6.13), so that it
// is pinned, and charged to RLIMIT_MEMLOCK, once and not once for each ring.
//
// Transactional: Register and Attach either reach every ring or leave no trace in any.
//
// Ownership: a region's `backing` (the mapping, say) is kept from Register until the
// kernel can no longer reach the memory, whatever the owner of the Registration does.
// Memory without a backing must outlive its Registration. The registry must outlive
// its Registrations and the engines attached to it; CHECKed in the destructor.
//
// Threads: thread-safe. Validate and TryLease are wait-free. Register, Release,
// Attach and Detach take one lock between them; while it waits, Release holds it for about a
// millisecond at a time, to look after the rings.
//
// In a forked child: whatever returns a Status answers FailedPrecondition, but for Validate,
// which like Check and TryLease answers as in the parent at the time of the fork. Destructors
// leave everything as it is; a backing is never dropped there.
//
// In-flight leases: submitting takes a lease on the slot in the same step that
// validates (TryLease); Release waits until there is none. Validate alone is advice:
// the answer may be old by the time it is used.
//
// Source: io_uring_register(2); the kernel itself resolves a slot when it *issues* a
// request, checks nothing but the address range, and goes on writing into a buffer that
// was unregistered under it. Hence generations, leases and the order of Release.
class FixedBufferRegistry {
 public:
  static constexpr uint32_t kMaxRegions = 1u << 14;  // Linux: 16384 slots a ring

  struct Options {
    // Slots of the table. Each costs 64 bytes here and 8 in
    // the kernel for each ring. Default: 1 TiB of 1 GiB regions.
    uint32_t capacity = 1024;
    // How long ~Registration waits for the kernel before it leaks. Default: longer than
    // a disk's own timeout is rare, and shorter than an operator's patience.
    absl::Duration release_timeout = absl::Seconds(30);
    Environment* environment = Environment::Default();
  };

  enum class FixedPolicy {
    // If a ring refuses the buffer for lack of RLIMIT_MEMLOCK, the region is registered
    // here all the same and its transfers go the plain way; InfoOf() and the sink say so.
    kPrefer,
    // ... Register fails.
    kRequire,
  };

  struct RegisterOptions {
    // Kept until the kernel cannot reach the memory any more.
    std::shared_ptr<const void> backing = nullptr;
    // Transfers must start and end at multiples of this. Power of two. Default: the
    // smallest unit that O_DIRECT takes on common devices.
    uint32_t alignment_bytes = 512;
    FixedPolicy fixed = FixedPolicy::kPrefer;
  };

  // What is known of a region.
  struct RegionInfo {
    MemoryRegion region;
    uint32_t alignment_bytes;
    bool fixed;               // in the kernel's table of every attached ring
    int fixed_errno;          // why not, or 0
    uint32_t in_flight;       // leases out at this moment
  };

  // InvalidArgument: capacity 0 or above kMaxRegions.
  static absl::StatusOr<std::unique_ptr<FixedBufferRegistry>> Create(Options options);
  ~FixedBufferRegistry();
  FixedBufferRegistry(const FixedBufferRegistry&) = delete;
  FixedBufferRegistry& operator=(const FixedBufferRegistry&) = delete;

  // Adds a region, in every attached ring.
  // ResourceExhausted: no free slot; or (FixedPolicy::kRequire) RLIMIT_MEMLOCK, with the
  // bytes wanted, the limit and the remedy. InvalidArgument: bad alignment, or a base or
  // size that is not a multiple of it. Whatever else a ring answers (errno payload), e.g.
  // memory that is not mapped: nothing is registered anywhere.
  absl::StatusOr<Registration> Register(const MemoryRegion& region, RegisterOptions options);
  absl::StatusOr<Registration> Register(const MemoryRegion& region) {
    return Register(region, RegisterOptions());
  }

  // All of `regions`, or none: the startup case. Errors as Register.
  absl::StatusOr<std::vector<Registration>> RegisterAll(
      const std::vector<MemoryRegion>& regions, RegisterOptions options);

  // May the kernel have these bytes? OK, or one of the five ValidationErrors (see
  // error.h) with a message that names region, address and length. Advisory.
  absl::Status Validate(RegionId id, const void* data, size_t length_bytes) const;

  // The same without a message: nullopt is yes. A few nanoseconds.
  std::optional<ValidationError> Check(RegionId id, const void* data, size_t length_bytes) const;

  // Whether `id` names a region in service. A few nanoseconds; for handles whose bounds
  // were checked when they were made.
  bool IsCurrent(RegionId id) const;

  // Validates and takes an in-flight lease, as one step: while the lease is held the
  // region stays where it is. For engines. nullopt: `lease` holds it.
  std::optional<ValidationError> TryLease(RegionId id, const void* data, size_t length_bytes,
                                          RegionLease& lease);

  // The full sentence for a refusal by Check or TryLease.
  absl::Status Explain(ValidationError error, RegionId id, const void* data,
                       size_t length_bytes) const;

  // NotFound, FailedPrecondition, PermissionDenied, as Validate.
  absl::StatusOr<RegionInfo> InfoOf(RegionId id) const;

  // For engines. Attach registers every region in `table`, transactionally: on an error
  // (that of BufferTable::Set, with the slot named) the table is empty and not attached.
  // Detach empties the table; the engine has drained. A slot that cannot be emptied is an
  // Internal error and its region's memory is never given back.
  absl::Status Attach(BufferTable* table);
  absl::Status Detach(BufferTable* table);
  // Forgets `table` without touching it: its engine could not drain and leaks it. The
  // leases of its transfers stay, and with them the memory.
  void Abandon(BufferTable* table);

  uint32_t capacity() const { return options_.capacity; }
  uint32_t region_count() const;  // 0 in a forked child
  Environment* environment() const { return options_.environment; }
  // Whether this is the process that made the registry.
  const ForkGuard& fork_guard() const { return fork_guard_; }

 private:
  friend class Registration;
  friend class RegionLease;

  // state: generation in the high 32 bits, then kLive, kClosing, and 30 bits that count
  // leases. One word, so that a lease is one fetch_add whose result says if it counted.
  // base, size and alignment do not change while kLive is set.
  struct alignas(ABSL_CACHELINE_SIZE) Slot {
    std::atomic<uint64_t> state{0};
    std::atomic<uintptr_t> base{0};
    std::atomic<size_t> size_bytes{0};
    std::atomic<uint32_t> alignment_bytes{1};
    std::atomic<bool> fixed{false};
  };
  static_assert(sizeof(Slot) == ABSL_CACHELINE_SIZE);

  static constexpr uint64_t kLive = uint64_t{1} << 31;
  static constexpr uint64_t kClosing = uint64_t{1} << 30;
  static constexpr uint64_t kLeaseMask = kClosing - 1;
  // What a word must hold above its lease count for `generation` to be in service.
  static constexpr uint64_t InService(uint32_t generation) {
    return (uint64_t{generation} << 32) | kLive;
  }

  // What only the admin lock's holder looks at.
  struct Keeping {
    std::shared_ptr<const void> backing = nullptr;
    int fixed_errno = 0;
  };

  FixedBufferRegistry(Options options, uint16_t owner);

  std::optional<ValidationError> CheckSlow(RegionId id) const;
  std::optional<ValidationError> CheckBounds(const Slot& slot, const void* data,
                                             size_t length_bytes) const;
  void EndLease(Slot& slot);

  // The descriptor of an attached ring whose registrations another may share, or -1.
  int SharingDescriptor() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // `set` and `undone`: for the caller to report once the lock is free.
  absl::StatusOr<Registration> RegisterLocked(const MemoryRegion& region, RegisterOptions options,
                                              uint32_t generation, absl::Status& set,
                                              absl::Status& undone)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<uint16_t> ReserveSlot() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // On an error every ring is as before, unless `undone` says why not.
  absl::Status SetInAllTables(uint16_t slot, const MemoryRegion& region, absl::Status& undone)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ClearInAllTables(uint16_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool InKernelTables(uint16_t slot) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ClearTable(BufferTable* table, size_t slot_count)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Unregister(RegionId id, absl::Duration timeout);
  bool WaitForLeases(Slot& slot, Deadline deadline);
  void Leak(RegionId id, const absl::Status& why);
  // Keeps the slot closed, its region out of rings to come, and its backing for ever.
  void KeepForEver(uint16_t slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const uint16_t owner_;
  const ForkGuard fork_guard_;
  const std::unique_ptr<Slot[]> slots_;
  // Bumped and woken when a lease on a closing slot ends.
  std::atomic<uint32_t> released_{0};

  mutable Mutex mutex_;
  std::vector<BufferTable*> tables_ ABSL_GUARDED_BY(mutex_);
  std::vector<Keeping> keeping_ ABSL_GUARDED_BY(mutex_);      // by slot, up to the highest used
  std::vector<uint16_t> free_slots_ ABSL_GUARDED_BY(mutex_);  // below keeping_.size()
  uint32_t region_count_ ABSL_GUARDED_BY(mutex_) = 0;
};

// A transfer's claim on its region, from submission until the kernel is done.
//
// Move-only; ends when destroyed. Must not outlive the registry. Thread-compatible: may
// be taken on one thread and ended on another.
class [[nodiscard]] RegionLease {
 public:
  RegionLease() = default;
  RegionLease(RegionLease&& other) noexcept
      : registry_(other.registry_), slot_(other.slot_), index_(other.index_) {
    other.registry_ = nullptr;
  }
  RegionLease& operator=(RegionLease&& other) noexcept {
    if (this != &other) {
      End();
      registry_ = other.registry_;
      slot_ = other.slot_;
      index_ = other.index_;
      other.registry_ = nullptr;
    }
    return *this;
  }
  ~RegionLease() { End(); }

  bool held() const { return registry_ != nullptr; }
  // The index for the kernel.
  uint16_t slot() const { return index_; }
  // Whether the kernel's tables hold the region; else the transfer goes the plain way.
  bool fixed() const { return slot_->fixed.load(std::memory_order_relaxed); }

  void End() {
    if (registry_ == nullptr) return;
    registry_->EndLease(*slot_);
    registry_ = nullptr;
  }

 private:
  friend class FixedBufferRegistry;
  FixedBufferRegistry* registry_ = nullptr;
  FixedBufferRegistry::Slot* slot_ = nullptr;
  uint16_t index_ = 0;
};

inline bool FixedBufferRegistry::IsCurrent(RegionId id) const {
  if (ABSL_PREDICT_FALSE(id.owner() != owner_ || id.slot() >= options_.capacity)) return false;
  const uint64_t state = slots_[id.slot()].state.load(std::memory_order_acquire);
  return (state & ~kLeaseMask) == InService(id.generation());
}

// Forced: g++ 12 calls these two, and a call and an optional through memory cost twice the check.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline std::optional<ValidationError> FixedBufferRegistry::CheckBounds(
    const Slot& slot, const void* data, size_t length_bytes) const {
  // Acquire keeps the caller's second look at slot.state after these loads.
  const uintptr_t base = slot.base.load(std::memory_order_acquire);
  const size_t size_bytes = slot.size_bytes.load(std::memory_order_acquire);
  const uint32_t alignment_bytes = slot.alignment_bytes.load(std::memory_order_acquire);
  const uintptr_t address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t offset = address - base;
  if (ABSL_PREDICT_FALSE(offset > size_bytes || length_bytes > size_bytes - offset)) {
    return ValidationError::kOutOfRegion;
  }
  if (ABSL_PREDICT_FALSE(((address | length_bytes) & (alignment_bytes - 1)) != 0)) {
    return ValidationError::kMisaligned;
  }
  return std::nullopt;
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline std::optional<ValidationError> FixedBufferRegistry::Check(
    RegionId id, const void* data, size_t length_bytes) const {
  if (ABSL_PREDICT_FALSE(!IsCurrent(id))) {
    // A Release that gave up may have put the region back into service meanwhile; its
    // bounds were not looked at, so the answer is that of a moment ago.
    const std::optional<ValidationError> error = CheckSlow(id);
    return error.has_value() ? error : ValidationError::kStaleGeneration;
  }
  const Slot& slot = slots_[id.slot()];
  const std::optional<ValidationError> error = CheckBounds(slot, data, length_bytes);
  // The slot may have changed hands between the two looks; then the bounds were another's.
  const uint64_t state = slot.state.load(std::memory_order_relaxed);
  if (ABSL_PREDICT_FALSE((state & ~kLeaseMask) != InService(id.generation()))) {
    return ValidationError::kStaleGeneration;
  }
  return error;
}

inline std::optional<ValidationError> FixedBufferRegistry::TryLease(RegionId id, const void* data,
                                                                    size_t length_bytes,
                                                                    RegionLease& lease) {
  if (ABSL_PREDICT_FALSE(id.owner() != owner_ || id.slot() >= options_.capacity)) {
    return CheckSlow(id);
  }
  Slot& slot = slots_[id.slot()];
  // Pairs with Unregister, which sets kClosing and then reads the count: whichever comes
  // second sees the other.
  const uint64_t before = slot.state.fetch_add(1, std::memory_order_acq_rel);
  if (ABSL_PREDICT_FALSE((before & ~kLeaseMask) != InService(id.generation()))) {
    EndLease(slot);
    const std::optional<ValidationError> error = CheckSlow(id);
    return error.has_value() ? error : ValidationError::kStaleGeneration;
  }
  if (const auto error = CheckBounds(slot, data, length_bytes); ABSL_PREDICT_FALSE(!!error)) {
    EndLease(slot);
    return error;
  }
  lease.End();
  lease.registry_ = this;
  lease.slot_ = &slot;
  lease.index_ = id.slot();
  return std::nullopt;
}

inline void FixedBufferRegistry::EndLease(Slot& slot) {
  const uint64_t before = slot.state.fetch_sub(1, std::memory_order_acq_rel);
  if (ABSL_PREDICT_FALSE((before & kClosing) != 0 && (before & kLeaseMask) == 1)) {
    released_.fetch_add(1, std::memory_order_release);
    options_.environment->Wake(released_);
  }
}

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_FIXED_BUFFER_REGISTRY_H_
