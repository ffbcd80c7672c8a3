#include <liburing.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "tests/support/scratch.h"
#include "tests/support/slow_pipe.h"

// What the kernel does that the design rests on, tried on the kernel itself and without the
// library. Where one of these fails, see docs/registered_regions.md.

namespace fixpool::io {
namespace {

using ::fixpool::tests::ScratchMemory;
using ::fixpool::tests::SlowPipe;

constexpr size_t kPage = 4096;
constexpr uint32_t kBytes = 512;
constexpr uint64_t kTag = 0x7a6;
constexpr uint64_t kRead = 0x4ead;
constexpr uint8_t kReadvFixed = 60;  // IORING_OP_READV_FIXED (Linux 6.15)

// A ring with a table of one buffer. Where it cannot be had, `error` says why.
class Ring {
 public:
  Ring() {
    error_ = -io_uring_queue_init(4, &ring_, 0);
    if (error_ != 0) return;
    has_ring_ = true;
    error_ = -io_uring_register_buffers_sparse(&ring_, 1);
  }
  ~Ring() {
    if (has_ring_) io_uring_queue_exit(&ring_);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  int error() const { return error_; }

  void SetBuffer(void* base, size_t size_bytes, uint64_t tag) {
    const iovec buffer{.iov_base = base, .iov_len = size_bytes};
    const __u64 tags = tag;
    ASSERT_EQ(io_uring_register_buffers_update_tag(&ring_, 0, &buffer, &tags, 1), 1);
  }
  void ClearBuffer() { SetBuffer(nullptr, 0, 0); }

  // Takes over the buffer of `source`; 0 or the errno. (linux/io_uring.h, 6.13; liburing has
  // no name for it before 2.8.)
  int CloneFrom(const Ring& source) {
    const struct {
      uint32_t source_descriptor;
      uint32_t flags;
      uint32_t source_offset;
      uint32_t destination_offset;
      uint32_t count;
      uint32_t reserved[3];
    } argument{.source_descriptor = static_cast<uint32_t>(source.ring_.ring_fd),
               .flags = 2,  // IORING_REGISTER_DST_REPLACE
               .source_offset = 0,
               .destination_offset = 0,
               .count = 1,
               .reserved = {}};
    constexpr unsigned kCloneBuffers = 30;  // IORING_REGISTER_CLONE_BUFFERS
    return syscall(__NR_io_uring_register, ring_.ring_fd, kCloneBuffers, &argument, 1) == 0 ? 0
                                                                                            : errno;
  }

  void SubmitFixedRead(int descriptor, void* data) {
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
    ASSERT_NE(sqe, nullptr);
    io_uring_prep_read_fixed(sqe, descriptor, data, kBytes, 0, 0);
    sqe->user_data = kRead;
    ASSERT_EQ(io_uring_submit(&ring_), 1);
  }

  // 0, or the errno with which the kernel says that it knows no READV_FIXED.
  int HasReadvFixed() {
    io_uring_probe* const probe = io_uring_get_probe_ring(&ring_);
    const bool known = probe != nullptr && io_uring_opcode_supported(probe, kReadvFixed) != 0;
    io_uring_free_probe(probe);
    return known ? 0 : EOPNOTSUPP;
  }
  void SubmitFixedReadv(int descriptor, const iovec* pieces, unsigned count) {
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
    ASSERT_NE(sqe, nullptr);
    io_uring_prep_readv(sqe, descriptor, pieces, count, 0);
    sqe->opcode = kReadvFixed;
    sqe->buf_index = 0;
    sqe->user_data = kRead;
    ASSERT_EQ(io_uring_submit(&ring_), 1);
  }

  struct Completion {
    uint64_t user_data = 0;
    int result = 0;
  };
  bool HasCompletion() {
    io_uring_cqe* cqe = nullptr;
    return io_uring_peek_cqe(&ring_, &cqe) == 0;
  }
  Completion NextCompletion() {
    io_uring_cqe* cqe = nullptr;
    int waited;
    do {
      waited = io_uring_wait_cqe(&ring_, &cqe);
    } while (waited == -EINTR);
    EXPECT_EQ(waited, 0);
    if (waited != 0) return {};
    const Completion completion{.user_data = cqe->user_data, .result = cqe->res};
    io_uring_cqe_seen(&ring_, cqe);
    return completion;
  }

 private:
  io_uring ring_{};
  bool has_ring_ = false;
  int error_ = 0;
};

class KernelFactsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (ring_.error() != 0)
      GTEST_SKIP() << "no registered buffers: " << std::strerror(ring_.error());
  }
  std::string Start() const { return std::string(memory_.chars(), 2 * kBytes); }

  Ring ring_;
  ScratchMemory memory_{kPage};
  SlowPipe pipe_ = SlowPipe::ToReadFrom();
};

// A buffer may be taken out of the table under a transfer. The kernel says nothing, and the data
// lands in the old memory: memory must not go when the table says so.
TEST_F(KernelFactsTest, DataLandsInABufferThatWasUnregisteredUnderTheTransfer) {
  ring_.SetBuffer(memory_.base(), kPage, 0);
  ring_.SubmitFixedRead(pipe_.file()->descriptor(), memory_.base());
  ring_.ClearBuffer();
  EXPECT_FALSE(ring_.HasCompletion());
  EXPECT_EQ(Start(), std::string(2 * kBytes, '\0'));
  pipe_.Feed(std::string(kBytes, 'k'));
  const Ring::Completion read = ring_.NextCompletion();
  EXPECT_EQ(read.user_data, kRead);
  EXPECT_EQ(read.result, static_cast<int>(kBytes));
  EXPECT_EQ(Start(), std::string(kBytes, 'k') + std::string(kBytes, '\0'));
}

// One transfer may scatter into a registered buffer, in any order, and to pieces of any length ...
TEST_F(KernelFactsTest, ReadvFixedScattersIntoARegisteredBuffer) {
  if (ring_.HasReadvFixed() != 0) GTEST_SKIP() << "the kernel has no READV_FIXED";
  ring_.SetBuffer(memory_.base(), kPage, 0);
  const iovec pieces[] = {{memory_.at(3 * kBytes), 100}, {memory_.at(0), 200}};
  ring_.SubmitFixedReadv(pipe_.file()->descriptor(), pieces, 2);
  pipe_.Feed(std::string(100, 'a') + std::string(200, 'b'));
  EXPECT_EQ(ring_.NextCompletion().result, 300);
  EXPECT_EQ(std::string(memory_.chars(3 * kBytes), 101), std::string(100, 'a') + '\0');
  EXPECT_EQ(std::string(memory_.chars(), 201), std::string(200, 'b') + '\0');
}

// ... of which each must lie in it: the kernel looks, and reads nothing if one does not.
TEST_F(KernelFactsTest, ReadvFixedRefusesAPieceOutsideTheBuffer) {
  if (ring_.HasReadvFixed() != 0) GTEST_SKIP() << "the kernel has no READV_FIXED";
  ring_.SetBuffer(memory_.base(), kBytes, 0);
  pipe_.Feed(std::string(kBytes, 'x'));
  const iovec pieces[] = {{memory_.at(0), 100}, {memory_.at(kBytes - 50), 100}};
  ring_.SubmitFixedReadv(pipe_.file()->descriptor(), pieces, 2);
  EXPECT_EQ(ring_.NextCompletion().result, -EFAULT);
  EXPECT_EQ(Start(), std::string(2 * kBytes, '\0'));
}

// Within one ring a tag does tell when a buffer is used no more ...
TEST_F(KernelFactsTest, TagComesAfterTheLastTransferOfItsOwnRing) {
  ring_.SetBuffer(memory_.base(), kPage, kTag);
  ring_.SubmitFixedRead(pipe_.file()->descriptor(), memory_.base());
  ring_.ClearBuffer();
  EXPECT_FALSE(ring_.HasCompletion());
  pipe_.Feed(std::string(kBytes, 'k'));
  bool read_came = false;
  for (int i = 0; i < 2; ++i) {
    const Ring::Completion completion = ring_.NextCompletion();
    if (completion.user_data == kRead) read_came = true;
    if (completion.user_data == kTag) {
      EXPECT_TRUE(read_came || Start()[0] == 'k');
    }
  }
  EXPECT_TRUE(read_came);
}

// ... but it does not speak for a ring that shares the buffer: tags are not cloned. Hence the
// registry's count of leases, which is of all rings.
TEST_F(KernelFactsTest, TagComesWhileAnotherRingIsStillReadingIntoTheSharedBuffer) {
  ring_.SetBuffer(memory_.base(), kPage, kTag);
  Ring other;
  ASSERT_EQ(other.error(), 0);
  if (const int error = other.CloneFrom(ring_); error != 0) {
    GTEST_SKIP() << "this kernel cannot share buffers between rings (Linux 6.13): "
                 << std::strerror(error);
  }
  other.SubmitFixedRead(pipe_.file()->descriptor(), memory_.base());
  ring_.ClearBuffer();
  const Ring::Completion tag = ring_.NextCompletion();
  EXPECT_EQ(tag.user_data, kTag);
  EXPECT_EQ(tag.result, 0);
  EXPECT_FALSE(other.HasCompletion()) << "its read has nothing to return yet";
  EXPECT_EQ(Start(), std::string(2 * kBytes, '\0'));
  pipe_.Feed(std::string(kBytes, 'k'));
  const Ring::Completion read = other.NextCompletion();
  EXPECT_EQ(read.user_data, kRead);
  EXPECT_EQ(read.result, static_cast<int>(kBytes));
  EXPECT_EQ(Start(), std::string(kBytes, 'k') + std::string(kBytes, '\0'));
  other.ClearBuffer();
  EXPECT_FALSE(other.HasCompletion()) << "no tag of its own";
}

}  // namespace
}  // namespace fixpool::io
