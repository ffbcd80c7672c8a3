#include "tests/support/scratch.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace fixpool::tests {
namespace {

[[noreturn]] void Die(const char* what, const std::string& object) {
  std::perror((std::string(what) + " " + object).c_str());
  std::abort();
}

}  // namespace

ScratchDirectory::ScratchDirectory() {
  const char* parent = std::getenv("TEST_TMPDIR");
  std::string path = std::string(parent != nullptr ? parent : "/var/tmp") + "/fixpool.XXXXXX";
  if (mkdtemp(path.data()) == nullptr) Die("mkdtemp", path);
  path_ = path;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string ScratchDirectory::MakeFile(const std::string& name, const std::string& contents) const {
  const std::string path = File(name);
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(contents.data(), static_cast<std::streamsize>(contents.size()));
  out.close();
  if (!out) Die("writing", path);
  return path;
}

std::string ReadWholeFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream contents;
  contents << in.rdbuf();
  if (!in) Die("reading", path);
  return contents.str();
}

std::string PatternBytes(uint64_t salt, size_t size_bytes) {
  std::string bytes(size_bytes, '\0');
  for (size_t i = 0; i < size_bytes; i += 8) {
    uint64_t word = (salt * 0x9e3779b97f4a7c15u) ^ ((i / 8 + 1) * 0xbf58476d1ce4e5b9u);
    word ^= word >> 29;
    std::memcpy(bytes.data() + i, &word, size_bytes - i < 8 ? size_bytes - i : 8);
  }
  return bytes;
}

ScratchMemory::ScratchMemory(size_t size_bytes) : size_bytes_(size_bytes) {
  void* const base = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (base == MAP_FAILED) Die("mmap", std::to_string(size_bytes));
  base_ = static_cast<std::byte*>(base);
}

ScratchMemory::~ScratchMemory() {
  if (base_ != nullptr) munmap(base_, size_bytes_);
}

void ScratchMemory::MakeInaccessible() {
  if (mprotect(base_, size_bytes_, PROT_NONE) != 0) Die("mprotect", std::to_string(size_bytes_));
}

}  // namespace fixpool::tests
