#ifndef FIXPOOL_TESTS_SUPPORT_SCRATCH_H_
#define FIXPOOL_TESTS_SUPPORT_SCRATCH_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace fixpool::tests {

// A directory of the test's own, on the disk where Bazel keeps a test's files; removed with
// all that is in it. Thread-compatible.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::string& path() const { return path_; }
  // The path of a file in it, which is not made.
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  // The path of a file in it, made with `contents`.
  std::string MakeFile(const std::string& name, const std::string& contents) const;

 private:
  std::string path_;
};

// The bytes of a file, by read(2).
std::string ReadWholeFile(const std::string& path);

// Bytes that tell where they belong: the same for the same `salt` and position.
std::string PatternBytes(uint64_t salt, size_t size_bytes);

// Page-aligned anonymous memory, zeroed and faulted in; unmapped at the end, so that a late
// access is a fault and not a surprise. Move-only. Thread-compatible.
class ScratchMemory {
 public:
  explicit ScratchMemory(size_t size_bytes);
  ~ScratchMemory();
  ScratchMemory(ScratchMemory&& other) noexcept
      : base_(other.base_), size_bytes_(other.size_bytes_) {
    other.base_ = nullptr;
  }
  ScratchMemory& operator=(ScratchMemory&&) = delete;

  // Takes all access away; the addresses stay reserved, so that nothing else appears there.
  void MakeInaccessible();

  std::byte* base() const { return base_; }
  std::byte* at(size_t offset_bytes) const { return base_ + offset_bytes; }
  char* chars(size_t offset_bytes = 0) const {
    return reinterpret_cast<char*>(base_ + offset_bytes);
  }
  size_t size_bytes() const { return size_bytes_; }

 private:
  std::byte* base_;
  size_t size_bytes_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_SUPPORT_SCRATCH_H_
