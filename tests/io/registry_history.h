#ifndef FIXPOOL_TESTS_IO_REGISTRY_HISTORY_H_
#define FIXPOOL_TESTS_IO_REGISTRY_HISTORY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "fixpool/io/error.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/region_id.h"
#include "tests/support/fake_buffer_table.h"

namespace fixpool::tests {

// The decisions of a history, out of bytes that a random generator or a fuzzer made. Bytes
// beyond the end are 0. Thread-compatible.
class Choices {
 public:
  explicit Choices(absl::Span<const uint8_t> bytes) : bytes_(bytes) {}

  bool exhausted() const { return next_ >= bytes_.size(); }
  uint8_t Byte() { return exhausted() ? 0 : bytes_[next_++]; }
  uint64_t Word() {
    uint64_t word = 0;
    for (int i = 0; i < 8; ++i) word = word << 8 | Byte();
    return word;
  }
  // 0 <= result < bound <= 256.
  uint32_t Below(uint32_t bound) { return Byte() % bound; }

 private:
  const absl::Span<const uint8_t> bytes_;
  size_t next_ = 0;
};

// Drives a FixedBufferRegistry through register, unregister, attach, detach and leases, with
// rings that refuse now and then, and compares every answer with that of a naive model, which
// knows what is live and what was ever issued, and searches.
//
//   Choices choices(bytes);
//   RegistryHistory history;
//   EXPECT_EQ(history.Run(choices), "");
//
// Whatever does not agree ends the history and is what Run answers. Thread-compatible.
class RegistryHistory {
 public:
  RegistryHistory();
  ~RegistryHistory();

  // "" if registry and model agreed to the last choice.
  std::string Run(Choices& choices);

  // How often a check was answered with yes (0) or each ValidationError (1 + its value).
  const std::array<uint64_t, 6>& answers() const { return answers_; }
  uint64_t regions_registered() const { return issued_.size(); }

 private:
  struct Live {
    io::Registration registration;
    uintptr_t base;
    size_t size_bytes;
    uint32_t alignment_bytes;
    bool fixed;
    uint32_t leases = 0;
  };
  struct Lease {
    io::RegionLease lease;
    io::RegionId id;
  };

  void Step(Choices& choices);
  void Register(Choices& choices);
  void RegisterSeveral(Choices& choices);
  void Add(io::Registration registration, uintptr_t base, size_t size_bytes,
           uint32_t alignment_bytes, bool fixed);
  void Release(Choices& choices);
  void AttachOrDetach(Choices& choices);
  void EndLease(Choices& choices);
  void CheckAnswers(Choices& choices);
  void CheckInvariants();

  Live* FindLive(io::RegionId id);
  std::optional<io::ValidationError> Model(io::RegionId id, uintptr_t address,
                                           size_t length_bytes);
  io::RegionId ChooseId(Choices& choices);
  void Expect(bool condition, const std::string& what);

  const std::unique_ptr<io::FixedBufferRegistry> registry_;
  const std::unique_ptr<io::FixedBufferRegistry> other_;
  uint16_t owner_ = 0;
  std::vector<io::Registration> foreign_;
  std::array<FakeBufferTable, 3> tables_;
  FakeBufferTable::Peers peers_;
  std::array<bool, 3> attached_{};
  std::vector<Live> live_;
  std::vector<Lease> leases_;
  std::vector<io::RegionId> issued_;
  std::map<uint16_t, uint32_t> newest_generation_;  // by slot
  std::array<uint64_t, 6> answers_{};
  std::string disagreement_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_IO_REGISTRY_HISTORY_H_
