#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "fixpool/io/error.h"
#include "fixpool/io/file.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/region_id.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/io/engine_kinds.h"
#include "tests/support/scratch.h"
#include "tests/support/seed.h"
#include "tests/support/slow_pipe.h"

// Joined transfers: one range of a file, several pieces of memory. On all kinds of engines.

namespace fixpool::io {
namespace {

using ::fixpool::tests::BytesAt;
using ::fixpool::tests::PatternBytes;
using ::fixpool::tests::ReadWholeFile;
using ::fixpool::tests::ScratchMemory;
using ::fixpool::tests::SlowPipe;
using ::testing::HasSubstr;

class IoEngineJoinedTest : public tests::EngineKindTest {
 protected:
  // Pages of `memory`, by their numbers there.
  static std::vector<IoPiece> Pages(const ScratchMemory& memory, RegionId region,
                                    const std::vector<size_t>& pages) {
    std::vector<IoPiece> pieces;
    for (const size_t page : pages) {
      pieces.push_back({.region = region, .data = memory.at(page * kPage), .length_bytes = kPage});
    }
    return pieces;
  }
  static IoRequest Join(IoRequest request, absl::Span<const IoPiece> pieces) {
    request.length_bytes = 0;
    for (const IoPiece& piece : pieces) request.length_bytes += piece.length_bytes;
    request.pieces = pieces;
    return request;
  }
  static IoRequest ReadTo(FileHandle file, absl::Span<const IoPiece> pieces, uint64_t offset_bytes,
                          uint64_t user_data = 0) {
    return Join(Read(file, {}, nullptr, 0, offset_bytes, user_data), pieces);
  }
  static IoRequest WriteFrom(FileHandle file, absl::Span<const IoPiece> pieces,
                             uint64_t offset_bytes) {
    return Join(Write(file, {}, nullptr, 0, offset_bytes), pieces);
  }
  bool HasJoinedFixed() const { return engine_->Report().joined_fixed.in_force; }

  void ExpectRefusal(const IoRequest& request, absl::StatusCode code, const std::string& text) {
    const SubmitResult result = Submit(request);
    EXPECT_EQ(result.accepted, 0u);
    EXPECT_EQ(result.status.code(), code) << result.status;
    EXPECT_THAT(result.status.message(), HasSubstr(text));
    EXPECT_EQ(engine_->in_flight(), 0u);
  }
};
INSTANTIATE_TEST_SUITE_P(AllKinds, IoEngineJoinedTest, tests::AllEngineKinds(),
                         tests::EngineKindName);

// ---- Moving bytes ----

TEST_P(IoEngineJoinedTest, ReadScattersAndWriteGathersDirectAndBuffered) {
  ScratchMemory memory(16 * kPage);
  Registration registration = Register(memory);
  const std::vector<IoPiece> pieces = Pages(memory, registration.id(), {9, 2, 3, 14, 0});
  for (const auto direct : {File::DirectIo::kPrefer, File::DirectIo::kNever}) {
    const std::string name = direct == File::DirectIo::kPrefer ? "direct" : "buffered";
    const std::string bytes = PatternBytes(21, 8 * kPage);
    const FileHandle file = Add(OpenNew(name, bytes, direct));
    std::memset(memory.chars(), 'm', memory.size_bytes());
    const IoCompletion read = Do(ReadTo(file, pieces, kPage, 5));
    EXPECT_TRUE(read.status.ok()) << read.status;
    EXPECT_EQ(read.transferred_bytes, 5 * kPage);
    EXPECT_EQ(read.user_data, 5u);
    std::string expected(16 * kPage, 'm');
    for (size_t i = 0; i < pieces.size(); ++i) {
      const size_t where = static_cast<const std::byte*>(pieces[i].data) - memory.base();
      expected.replace(where, kPage, bytes, (i + 1) * kPage, kPage);
    }
    EXPECT_TRUE(BytesAt(memory, 0, memory.size_bytes()) == expected) << name;
    // What was read goes to another place.
    const IoCompletion written = Do(WriteFrom(file, pieces, 3 * kPage));
    EXPECT_TRUE(written.status.ok()) << written.status;
    EXPECT_EQ(written.transferred_bytes, 5 * kPage);
    EXPECT_TRUE(ReadWholeFile(scratch_.File(name)) ==
                bytes.substr(0, 3 * kPage) + bytes.substr(kPage, 5 * kPage));
  }
  const EngineCounters counters = engine_->Report().counters;
  EXPECT_EQ(counters.joined_transfers, 4u);
  EXPECT_EQ(counters.fixed_transfers, HasJoinedFixed() ? 4u : 0u);
  EXPECT_EQ(counters.fixed_transfers + counters.plain_transfers, 4u);
  EXPECT_EQ(counters.peak_in_flight, 1u);
  EXPECT_EQ(registry_->InfoOf(registration.id())->in_flight, 0u);
}

// The kernel then has one buffer, and needs no vectored operation.
TEST_P(IoEngineJoinedTest, PiecesThatFollowEachOtherInMemoryAreOne) {
  ScratchMemory memory(8 * kPage);
  Registration registration = Register(memory);
  const std::string bytes = PatternBytes(22, 6 * kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  EXPECT_TRUE(
      Do(ReadTo(file, Pages(memory, registration.id(), {1, 2, 3, 4, 5, 6}), 0)).status.ok());
  EXPECT_TRUE(BytesAt(memory, kPage, bytes.size()) == bytes);
  EXPECT_EQ(engine_->Report().counters.fixed_transfers, ExpectedFixed(1));
}

TEST_P(IoEngineJoinedTest, AsManyPiecesAsThereMayBeInRandomOrder) {
  std::mt19937_64 random(tests::Seed());
  ScratchMemory memory(2 * kMaxPieces * kPage);
  Registration registration = Register(memory);
  std::vector<size_t> pages(2 * kMaxPieces);
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = i;
  std::shuffle(pages.begin(), pages.end(), random);
  pages.resize(kMaxPieces);
  const std::string bytes = PatternBytes(23, kMaxPieces * kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  const IoCompletion read = Do(ReadTo(file, Pages(memory, registration.id(), pages), 0));
  EXPECT_TRUE(read.status.ok()) << read.status;
  EXPECT_EQ(read.transferred_bytes, bytes.size());
  for (size_t i = 0; i < pages.size(); ++i) {
    ASSERT_TRUE(BytesAt(memory, pages[i] * kPage, kPage) == bytes.substr(i * kPage, kPage)) << i;
  }
}

// Two buffers to the kernel: READV_FIXED names one.
TEST_P(IoEngineJoinedTest, PiecesMayLieInSeveralRegionsAndInNone) {
  ScratchMemory one(4 * kPage), other(4 * kPage), none(kPage);
  Registration first = Register(one);
  Registration second = Register(other);
  const std::string bytes = PatternBytes(24, 5 * kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  const std::vector<IoPiece> pieces = {
      {first.id(), one.at(kPage), kPage},
      {second.id(), other.at(2 * kPage), kPage},
      {RegionId::kUnregistered, none.base(), kPage},
      {first.id(), one.base(), kPage},
      {second.id(), other.at(3 * kPage), kPage},
  };
  EXPECT_TRUE(Do(ReadTo(file, pieces, 0)).status.ok());
  const ScratchMemory* const memories[] = {&one, &other, &none, &one, &other};
  for (size_t i = 0; i < pieces.size(); ++i) {
    const size_t where = static_cast<const std::byte*>(pieces[i].data) - memories[i]->base();
    EXPECT_TRUE(BytesAt(*memories[i], where, kPage) == bytes.substr(i * kPage, kPage)) << i;
  }
  EXPECT_EQ(engine_->Report().counters.plain_transfers, 1u);
  EXPECT_EQ(registry_->InfoOf(first.id())->in_flight, 0u);
  EXPECT_EQ(registry_->InfoOf(second.id())->in_flight, 0u);
}

TEST_P(IoEngineJoinedTest, PiecesMayDifferInLengthAndOverlap) {
  ScratchMemory memory(8 * kPage);
  Registration registration = Register(memory);
  const RegionId id = registration.id();
  const std::string bytes = PatternBytes(25, 6 * kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  const std::vector<IoPiece> pieces = {{id, memory.at(4 * kPage), 3 * kPage},
                                       {id, memory.at(kPage), kPage},
                                       {id, memory.at(0), 2 * kPage}};
  EXPECT_TRUE(Do(WriteFrom(file, pieces, 0)).status.ok());
  EXPECT_TRUE(Do(ReadTo(file, pieces, 0)).status.ok());
  EXPECT_EQ(ReadWholeFile(scratch_.File("data")), std::string(6 * kPage, '\0'));
}

TEST_P(IoEngineJoinedTest, ArrayOfPiecesIsTheCallersAgainAfterSubmit) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(4 * kPage);
  Registration registration = Register(memory);
  auto pieces = std::make_unique<std::vector<IoPiece>>(Pages(memory, registration.id(), {3, 1}));
  SubmitAll({ReadTo(file, *pieces, 0)});
  pieces.reset();
  const std::string bytes = PatternBytes(26, 2 * kPage);
  pipe.Feed(bytes);
  const auto completions = ReapCount(1);
  EXPECT_TRUE(completions.at(0).status.ok()) << completions.at(0).status;
  EXPECT_TRUE(BytesAt(memory, 3 * kPage, kPage) + BytesAt(memory, kPage, kPage) == bytes);
}

// ---- Short transfers ----

TEST_P(IoEngineJoinedTest, EndOfTheFileInsideAPieceIsShortAndOk) {
  const std::string bytes = PatternBytes(27, 2 * kPage + 1000);
  ScratchMemory memory(8 * kPage);
  Registration registration = Register(memory);
  const std::vector<IoPiece> pieces = Pages(memory, registration.id(), {6, 4, 2, 0});
  for (const auto direct : {File::DirectIo::kPrefer, File::DirectIo::kNever}) {
    const FileHandle file =
        Add(OpenNew(direct == File::DirectIo::kPrefer ? "direct" : "buffered", bytes, direct));
    const IoCompletion read = Do(ReadTo(file, pieces, 0));
    EXPECT_TRUE(read.status.ok()) << read.status;
    EXPECT_EQ(read.transferred_bytes, bytes.size());
    EXPECT_TRUE(BytesAt(memory, 6 * kPage, kPage) + BytesAt(memory, 4 * kPage, kPage) +
                    BytesAt(memory, 2 * kPage, 1000) ==
                bytes);
    const IoCompletion past = Do(ReadTo(file, pieces, 4 * kPage));
    EXPECT_TRUE(past.status.ok()) << past.status;
    EXPECT_EQ(past.transferred_bytes, 0u);
  }
}

TEST_P(IoEngineJoinedTest, ReadThatComesInPortionsIsResumedInsidePieces) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(8 * kPage);
  Registration registration = Register(memory);
  const std::string bytes = PatternBytes(28, 4 * kPage);
  SubmitAll({ReadTo(file, Pages(memory, registration.id(), {7, 5, 1, 3}), 0)});
  std::vector<IoCompletion> some(1);
  for (size_t done = 0; done < bytes.size();) {
    EXPECT_EQ(engine_->Reap(absl::MakeSpan(some), Deadline::Past()), 0u);
    const size_t portion = std::min<size_t>(1500, bytes.size() - done);
    pipe.Feed(bytes.substr(done, portion));
    done += portion;
  }
  const auto completions = ReapCount(1);
  EXPECT_TRUE(completions.at(0).status.ok()) << completions.at(0).status;
  EXPECT_EQ(completions.at(0).transferred_bytes, bytes.size());
  std::string read;
  for (const size_t page : {7, 5, 1, 3}) read += BytesAt(memory, page * kPage, kPage);
  EXPECT_TRUE(read == bytes);
}

TEST_P(IoEngineJoinedTest, WriteLargerThanThePipeIsResumedToTheEnd) {
  SlowPipe pipe = SlowPipe::ToWriteTo();  // holds 64 KiB
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(128 * kPage);
  Registration registration = Register(memory);
  const std::string bytes = PatternBytes(29, 64 * kPage);
  std::vector<size_t> pages;
  for (size_t i = 0; i < 64; ++i) {
    pages.push_back((i * 37) % 128);
    std::memcpy(memory.chars(pages.back() * kPage), bytes.data() + i * kPage, kPage);
  }
  SubmitAll({WriteFrom(file, Pages(memory, registration.id(), pages), 0)});
  std::string drunk;
  std::thread drinker([&] { drunk = pipe.Drink(bytes.size()); });
  const auto completions = ReapCount(1);
  drinker.join();
  EXPECT_TRUE(completions.at(0).status.ok()) << completions.at(0).status;
  EXPECT_EQ(completions.at(0).transferred_bytes, bytes.size());
  EXPECT_TRUE(drunk == bytes);
}

// ---- Errors ----

TEST_P(IoEngineJoinedTest, RefusesMalformedRequests) {
  ScratchMemory memory((kMaxPieces + 1) * kPage);
  Registration registration = Register(memory);
  const RegionId id = registration.id();
  const FileHandle file = Add(OpenNew("data", PatternBytes(30, 4 * kPage)));
  const FileHandle read_only =
      Add(*File::Open(scratch_.MakeFile("read_only", PatternBytes(8, kPage)), {.read_only = true}));
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const std::vector<IoPiece> pieces = Pages(memory, id, {0, 2});

  const std::vector<IoPiece> too_many(kMaxPieces + 1, pieces[0]);
  ExpectRefusal(ReadTo(file, too_many, 0), invalid, "up to 256 pieces");
  const std::vector<IoPiece> empty_one = {pieces[0], {id, memory.at(kPage), 0}};
  ExpectRefusal(ReadTo(file, empty_one, 0), invalid, "at least one byte");
  IoRequest wrong_sum = ReadTo(file, pieces, 0);
  wrong_sum.length_bytes = kPage;
  ExpectRefusal(wrong_sum, invalid, "8192 bytes together");
  // None at all is an ordinary request, for no memory.
  ExpectRefusal(ReadTo(file, {}, 0), invalid, "1 to 1073741824 bytes");
  const std::vector<IoPiece> gib(2, {id, memory.base(), 1u << 30});
  ExpectRefusal(ReadTo(file, gib, 0), invalid, "1 to 1073741824 bytes");
  ExpectRefusal(ReadTo(file, pieces, uint64_t{INT64_MAX} - 4095), invalid, "largest offset");
  ExpectRefusal(WriteFrom(read_only, pieces, 0), absl::StatusCode::kFailedPrecondition,
                "read-only");
  ExpectRefusal(ReadTo(FileHandle(), pieces, 0), absl::StatusCode::kNotFound, "");
  EXPECT_EQ(registry_->InfoOf(id)->in_flight, 0u);
  EXPECT_TRUE(Do(ReadTo(file, pieces, 0)).status.ok());
}

TEST_P(IoEngineJoinedTest, RefusesWhatDirectIoWouldRefuse) {
  std::shared_ptr<File> file = OpenNew("data", PatternBytes(31, 4 * kPage));
  if (!file->direct() || file->alignment().memory_bytes < 2) {
    GTEST_SKIP() << "no direct I/O in " << scratch_.path();
  }
  const File::Alignment alignment = file->alignment();
  const FileHandle handle = Add(std::move(file));
  ScratchMemory memory(4 * kPage);
  Registration registration = *registry_->Register(
      *MemoryRegion::Create(memory.base(), memory.size_bytes()), {.alignment_bytes = 1});
  const RegionId id = registration.id();
  const IoPiece good = {id, memory.base(), kPage};
  const std::vector<IoPiece> two_good = {good, good};
  // The second is off, though the sum of the lengths is not.
  const std::vector<IoPiece> lengths = {{id, memory.base(), kPage - 1}, {id, memory.at(kPage), 1}};
  const std::vector<IoPiece> address = {good, {id, memory.at(kPage + 1), kPage}};
  for (const IoRequest& request :
       {ReadTo(handle, lengths, 0), ReadTo(handle, address, 0), WriteFrom(handle, address, 0),
        ReadTo(handle, two_good, alignment.offset_bytes / 2)}) {
    const SubmitResult result = Submit(request);
    EXPECT_EQ(result.accepted, 0u);
    EXPECT_EQ(ValidationErrorOf(result.status), ValidationError::kMisaligned) << result.status;
    EXPECT_THAT(result.status.message(), HasSubstr("direct I/O"));
  }
  EXPECT_EQ(registry_->InfoOf(id)->in_flight, 0u);
}

TEST_P(IoEngineJoinedTest, RefusesWhatTheRegistryRefusesWhicheverPieceItIs) {
  auto other = *FixedBufferRegistry::Create({.capacity = 4});
  ScratchMemory memory(4 * kPage), more(4 * kPage);
  Registration stale = Register(memory);
  const RegionId stale_id = stale.id();
  ASSERT_TRUE(stale.Release(absl::ZeroDuration()).ok());
  Registration live = Register(memory);
  Registration second = Register(more);
  Registration foreign =
      *other->Register(*MemoryRegion::Create(memory.base(), memory.size_bytes()));
  const FileHandle file = Add(OpenNew("data", PatternBytes(32, 8 * kPage), File::DirectIo::kNever));
  struct Case {
    IoPiece piece;
    ValidationError error;
  };
  const Case cases[] = {
      {{RegionId(), memory.base(), kPage}, ValidationError::kUnknownRegion},
      {{stale_id, memory.base(), kPage}, ValidationError::kStaleGeneration},
      {{foreign.id(), memory.base(), kPage}, ValidationError::kForeignRegistry},
      {{live.id(), memory.at(3 * kPage), 2 * kPage}, ValidationError::kOutOfRegion},
      {{live.id(), memory.base() - kPage, kPage}, ValidationError::kOutOfRegion},
      {{live.id(), reinterpret_cast<void*>(UINTPTR_MAX - 511), kPage},
       ValidationError::kOutOfRegion},
      {{live.id(), memory.at(100), kPage}, ValidationError::kMisaligned},
  };
  const IoPiece good = {live.id(), memory.base(), kPage};
  const IoPiece elsewhere = {second.id(), more.base(), kPage};
  for (const Case& c : cases) {
    for (const std::vector<IoPiece>& pieces :
         {std::vector<IoPiece>{c.piece, good}, {good, c.piece}, {elsewhere, good, c.piece, good}}) {
      const SubmitResult result = Submit(ReadTo(file, pieces, 0));
      EXPECT_EQ(result.accepted, 0u);
      EXPECT_EQ(ValidationErrorOf(result.status), c.error) << result.status;
      EXPECT_THAT(result.status.message(), HasSubstr("data"));
    }
  }
  EXPECT_EQ(registry_->InfoOf(live.id())->in_flight, 0u);
  EXPECT_EQ(registry_->InfoOf(second.id())->in_flight, 0u);
  EXPECT_EQ(engine_->in_flight(), 0u);
}

TEST_P(IoEngineJoinedTest, RegionsStayUntilTheKernelIsDone) {
  SlowPipe pipe = SlowPipe::ToReadFrom();
  const FileHandle file = Add(pipe.file());
  ScratchMemory memory(2 * kPage), more(kPage);
  Registration first = Register(memory);
  Registration second = Register(more);
  const std::vector<IoPiece> pieces = {{first.id(), memory.at(kPage), kPage},
                                       {second.id(), more.base(), kPage},
                                       {first.id(), memory.base(), kPage}};
  SubmitAll({ReadTo(file, pieces, 0)});
  EXPECT_TRUE(absl::IsDeadlineExceeded(second.Release(absl::Milliseconds(5))));
  EXPECT_TRUE(absl::IsDeadlineExceeded(first.Release(absl::Milliseconds(5))));
  pipe.Feed(std::string(3 * kPage, 'x'));
  EXPECT_TRUE(ReapCount(1).at(0).status.ok());
  EXPECT_TRUE(second.Release(absl::ZeroDuration()).ok());
  EXPECT_TRUE(first.Release(absl::ZeroDuration()).ok());
}

TEST_P(IoEngineJoinedTest, ErrorOfTheKernelIsThatOfTheWholeRequest) {
  ScratchMemory memory(4 * kPage);
  Registration registration = Register(memory);
  // This end can only be written to.
  SlowPipe pipe = SlowPipe::ToWriteTo();
  const FileHandle file = Add(pipe.file());
  const IoCompletion read = Do(ReadTo(file, Pages(memory, registration.id(), {2, 0}), 0, 9));
  EXPECT_EQ(ErrnoOf(read.status), EBADF) << read.status;
  EXPECT_EQ(read.user_data, 9u);
  EXPECT_EQ(registry_->InfoOf(registration.id())->in_flight, 0u);
}

// ---- Bounds ----

TEST_P(IoEngineJoinedTest, CountsAsOneRequestAndHasItsOwnBound) {
  Reopen({.depth = 4, .joined_depth = 2});
  EXPECT_EQ(engine_->joined_depth(), 2u);
  const std::string bytes = PatternBytes(33, 8 * kPage);
  const FileHandle file = Add(OpenNew("data", bytes));
  ScratchMemory memory(8 * kPage);
  Registration registration = Register(memory);
  const std::vector<IoPiece> pieces = Pages(memory, registration.id(), {0, 2});
  const IoRequest joined = ReadTo(file, pieces, 0, 1);
  const std::vector<IoPiece> other_pieces = Pages(memory, registration.id(), {1, 3});
  const IoRequest second = ReadTo(file, other_pieces, 0, 2);
  const IoRequest requests[] = {
      joined, second, Read(file, registration.id(), memory.at(4 * kPage), kPage, 0, 3), joined,
      Read(file, registration.id(), memory.at(5 * kPage), kPage, 0, 4)};
  const SubmitResult result = engine_->Submit(requests);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.accepted, 3u);
  EXPECT_EQ(engine_->in_flight(), 3u);
  ReapCount(3);
  EXPECT_EQ(engine_->Submit(absl::MakeSpan(requests).subspan(3)).accepted, 2u);
  ReapCount(2);
}

TEST_P(IoEngineJoinedTest, NoneAreTakenIfTheOptionsSaySo) {
  Reopen({.joined_depth = 0});
  EXPECT_EQ(engine_->joined_depth(), 0u);
  ScratchMemory memory(4 * kPage);
  Registration registration = Register(memory);
  const FileHandle file = Add(OpenNew("data", PatternBytes(34, 4 * kPage)));
  ExpectRefusal(ReadTo(file, Pages(memory, registration.id(), {0, 2}), 0),
                absl::StatusCode::kUnimplemented, "joined_depth is 0");
}

TEST_P(IoEngineJoinedTest, ReportTellsWhetherThereAreFixedBuffersForThem) {
  const EngineReport report = engine_->Report();
  EXPECT_EQ(report.joined_fixed.asked, level() == EngineLevel::kUringFixed);
  if (!report.joined_fixed.asked || report.joined_fixed.in_force) {
    EXPECT_EQ(report.joined_fixed.error_number, 0);
    EXPECT_THAT(report.ToString(), ::testing::Not(HasSubstr("joined")));
    return;
  }
  EXPECT_NE(report.joined_fixed.error_number, 0);
  EXPECT_THAT(report.joined_fixed.reason, HasSubstr("READV_FIXED"));
  EXPECT_THAT(report.ToString(), HasSubstr("joined transfers without fixed buffers"));
}

}  // namespace
}  // namespace fixpool::io
