#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "fixpool/io/error.h"
#include "fixpool/io/file.h"
#include "fixpool/io/file_table.h"
#include "fixpool/io/fixed_buffer_registry.h"
#include "fixpool/io/io_engine.h"
#include "fixpool/io/memory_region.h"
#include "fixpool/io/operation.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/io/engine_kinds.h"
#include "tests/support/scratch.h"
#include "tests/support/xfs.h"

// Writes that a loss of power leaves done or undone as a whole: what is refused, on a file made up
// for it, and the real ones, on an XFS, which has them on any device.

namespace fixpool::io {
namespace {

using ::fixpool::tests::BytesAt;
using ::fixpool::tests::PatternBytes;
using ::fixpool::tests::ReadWholeFile;
using ::fixpool::tests::ScratchDirectory;
using ::fixpool::tests::ScratchMemory;
using ::fixpool::tests::Xfs;
using ::testing::HasSubstr;

class FileOfFacts final : public File {
 public:
  explicit FileOfFacts(AtomicWrites atomic_writes)
      : File({.path = "made up",
              .device = 1,
              .inode = 1,
              .alignment = {.memory_bytes = 512, .offset_bytes = 512},
              .atomic_writes = atomic_writes}) {}
};

// What Admit says to requests of a file with atomic writes from 4 to 64 KiB.
class AtomicAdmissionTest : public ::testing::Test {
 protected:
  AtomicAdmissionTest() {
    UseFile({.unit_min_bytes = 4096, .unit_max_bytes = 65536, .segments_max = 1});
  }
  void UseFile(File::AtomicWrites atomic_writes) {
    handle_ = *files_.Add(std::make_shared<FileOfFacts>(atomic_writes), /*fixed=*/true);
  }
  IoRequest Write(uint32_t length_bytes, uint64_t offset_bytes) {
    return {.operation = IoOperation::kWrite,
            .file = handle_,
            .region = registration_.id(),
            .data = memory_.base(),
            .length_bytes = length_bytes,
            .offset_bytes = offset_bytes,
            .atomic = true};
  }
  absl::Status AdmitIt(const IoRequest& request) {
    const uint32_t index = operations_.Take(request);
    Operation& operation = operations_[index];
    const TransferMeans means{.level = EngineLevel::kUringFixed, .joined_fixed = true};
    absl::Status status = Admit(*registry_, files_, means, request, operation);
    if (status.ok()) {
      fixed_ = operation.fixed;
      Count(operation, counters_);
      Conclude(operation, files_);
    }
    operations_.Return(index);
    return status;
  }
  void ExpectRefused(const IoRequest& request, const std::string& why) {
    const absl::Status status = AdmitIt(request);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(why));
    EXPECT_EQ(registry_->InfoOf(registration_.id())->in_flight, 0u);
  }

  std::unique_ptr<FixedBufferRegistry> registry_ = *FixedBufferRegistry::Create({});
  ScratchMemory memory_{256 << 10};
  Registration registration_ =
      *registry_->Register(*MemoryRegion::Create(memory_.base(), memory_.size_bytes()));
  FileTable files_{8};
  OperationPool operations_{4, 2};
  EngineCounters counters_;
  FileHandle handle_;
  bool fixed_ = false;
};

TEST_F(AtomicAdmissionTest, WhatTheFileTakesGoesWithoutFixedBuffers) {
  for (const uint32_t length_bytes : {4096u, 8192u, 65536u}) {
    EXPECT_TRUE(AdmitIt(Write(length_bytes, 3 * length_bytes)).ok()) << length_bytes;
    EXPECT_FALSE(fixed_);
  }
  EXPECT_EQ(counters_.atomic_transfers, 3u);
  EXPECT_EQ(counters_.plain_transfers, 3u);
  IoRequest ordinary = Write(4096, 0);
  ordinary.atomic = false;
  EXPECT_TRUE(AdmitIt(ordinary).ok());
  EXPECT_TRUE(fixed_);
  EXPECT_EQ(counters_.atomic_transfers, 3u);
}

TEST_F(AtomicAdmissionTest, LengthsThatAreNoUnitAreRefused) {
  for (const uint32_t length_bytes : {2048u, 12288u, 131072u}) {
    ExpectRefused(Write(length_bytes, 0), "power of two from 4096 to 65536");
  }
}

TEST_F(AtomicAdmissionTest, OffsetOffItsUnitIsRefused) {
  ExpectRefused(Write(8192, 4096), "multiple of its length");
  ExpectRefused(Write(4096, 512), "multiple of its length");
}

TEST_F(AtomicAdmissionTest, FileWithoutThemIsRefused) {
  UseFile({});
  ExpectRefused(Write(4096, 0), "no atomic writes");
}

TEST_F(AtomicAdmissionTest, ReadIsRefused) {
  IoRequest read = Write(4096, 0);
  read.operation = IoOperation::kRead;
  ExpectRefused(read, "only writes");
}

TEST_F(AtomicAdmissionTest, PiecesAreAllowedAsFarAsTheyAreSoManyInMemory) {
  IoPiece pieces[] = {{registration_.id(), memory_.at(4096), 4096},
                      {registration_.id(), memory_.at(8192), 4096}};
  IoRequest joined = Write(8192, 8192);
  joined.pieces = pieces;
  EXPECT_TRUE(AdmitIt(joined).ok()) << "one after the other";
  EXPECT_FALSE(fixed_);
  pieces[1].data = memory_.at(16384);
  ExpectRefused(joined, "2 stretches of memory");
  UseFile({.unit_min_bytes = 4096, .unit_max_bytes = 65536, .segments_max = 2});
  joined.file = handle_;
  EXPECT_TRUE(AdmitIt(joined).ok());
}

TEST(AtomicAdvanceTest, ShortAtomicWriteIsAnErrorAndNotContinued) {
  ScratchDirectory scratch;
  const auto file = *File::Open(scratch.MakeFile("data", "x"));
  ScratchMemory memory(8192);
  EngineCounters counters;
  Operation operation;
  operation.request = {.operation = IoOperation::kWrite,
                       .data = memory.base(),
                       .length_bytes = 8192,
                       .atomic = true};
  EXPECT_EQ(Advance(operation, *file, -EAGAIN, counters), Progress::kAgain);
  EXPECT_EQ(Advance(operation, *file, 4096, counters), Progress::kFinished);
  EXPECT_EQ(operation.error_number, EIO);
  EXPECT_EQ(counters.resumed, 0u);
  EXPECT_EQ(counters.failed, 1u);
}

class AtomicWriteTest : public tests::EngineKindTest {
 protected:
  // A file of 64 KiB on an XFS, or a skipped test.
  void StartOnXfs() {
    xfs_ = std::make_unique<Xfs>(scratch_.path());
    if (!xfs_->works()) GTEST_SKIP() << xfs_->why_not();
    path_ = xfs_->path() + "/data.db";
    const auto file = File::Open(path_, {.create = true});
    ASSERT_TRUE(file.ok()) << file.status();
    file_ = *file;
    if (file_->atomic_write_unit_max() == 0) {
      GTEST_SKIP() << "this kernel's XFS has no atomic writes on a loop device (Linux 6.16 has)";
    }
    ASSERT_TRUE(file_->Preallocate(0, 65536).ok());
    handle_ = Add(file_);
  }
  void TearDown() override {
    engine_.reset();
    file_.reset();
    xfs_.reset();
  }
  static IoRequest Atomic(IoRequest request) {
    request.atomic = true;
    return request;
  }

  std::unique_ptr<Xfs> xfs_;
  std::string path_;
  std::shared_ptr<File> file_;
  FileHandle handle_;
};

#define FIXPOOL_START_ON_XFS_OR_SKIP()       \
  do {                                       \
    StartOnXfs();                            \
    if (IsSkipped() || HasFailure()) return; \
  } while (false)

INSTANTIATE_TEST_SUITE_P(AllKinds, AtomicWriteTest, tests::AllEngineKinds(), tests::EngineKindName);

TEST_P(AtomicWriteTest, KernelTakesWhatTheFileSaysItTakes) {
  FIXPOOL_START_ON_XFS_OR_SKIP();
  ScratchMemory memory(65536);
  Registration registration = Register(memory);
  const std::string bytes = PatternBytes(31, memory.size_bytes());
  std::memcpy(memory.base(), bytes.data(), bytes.size());
  const uint32_t unit_min = file_->atomic_write_unit_min();
  ASSERT_LE(unit_min, kPage);
  uint64_t count = 0;
  for (uint32_t length = unit_min; length <= 65536 && length <= file_->atomic_write_unit_max();
       length *= 2) {
    const IoCompletion written =
        Do(Atomic(Write(handle_, registration.id(), memory.base(), length, 65536 - length)));
    EXPECT_TRUE(written.status.ok()) << written.status;
    EXPECT_EQ(written.transferred_bytes, length);
    EXPECT_TRUE(ReadWholeFile(path_).substr(65536 - length) == bytes.substr(0, length));
    ++count;
  }
  const EngineCounters counters = engine_->Report().counters;
  EXPECT_EQ(counters.atomic_transfers, count);
  EXPECT_EQ(counters.plain_transfers, count);
  EXPECT_EQ(counters.fixed_transfers, 0u);
}

TEST_P(AtomicWriteTest, PastTheEndTheFileGrows) {
  FIXPOOL_START_ON_XFS_OR_SKIP();
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  std::memset(memory.base(), 'a', kPage);
  const IoCompletion written =
      Do(Atomic(Write(handle_, registration.id(), memory.base(), kPage, 1 << 20)));
  EXPECT_TRUE(written.status.ok()) << written.status;
  EXPECT_EQ(*file_->SizeBytes(), (1 << 20) + kPage);
}

TEST_P(AtomicWriteTest, JoinedInOneStretchOfMemory) {
  FIXPOOL_START_ON_XFS_OR_SKIP();
  ScratchMemory memory(4 * kPage);
  Registration registration = Register(memory);
  const std::string bytes = PatternBytes(32, memory.size_bytes());
  std::memcpy(memory.base(), bytes.data(), bytes.size());
  std::vector<IoPiece> pieces;
  for (size_t i = 0; i < 4; ++i) {
    pieces.push_back({registration.id(), memory.at(i * kPage), kPage});
  }
  IoRequest joined = Atomic(Write(handle_, {}, nullptr, 4 * kPage, 4 * kPage));
  joined.pieces = pieces;
  const IoCompletion written = Do(joined);
  EXPECT_TRUE(written.status.ok()) << written.status;
  EXPECT_TRUE(ReadWholeFile(path_).substr(4 * kPage, bytes.size()) == bytes);
}

TEST_P(AtomicWriteTest, FileWithoutThemIsRefusedBeforeTheKernelSeesIt) {
  const std::string bytes = PatternBytes(33, 2 * kPage);
  const std::shared_ptr<File> buffered = OpenNew("data", bytes, File::DirectIo::kNever);
  EXPECT_EQ(buffered->atomic_write_unit_max(), 0u);
  const FileHandle handle = Add(buffered);
  ScratchMemory memory(kPage);
  Registration registration = Register(memory);
  const SubmitResult result =
      Submit(Atomic(Write(handle, registration.id(), memory.base(), kPage, 0)));
  EXPECT_EQ(result.accepted, 0u);
  EXPECT_TRUE(absl::IsInvalidArgument(result.status)) << result.status;
  EXPECT_TRUE(ReadWholeFile(buffered->path()) == bytes);
}

}  // namespace
}  // namespace fixpool::io
