// What it costs to seal a page and to verify one, beside copying as many bytes.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "benchmark/benchmark.h"
#include "fixpool/storage/crc32c_seal.h"
#include "fixpool/storage/page_seal.h"

namespace fixpool::storage {
namespace {

constexpr PageSeal::Place kPlace{.page_number = 42, .file_identity = 0x5eed};

std::vector<std::byte> RandomPage(size_t page_bytes) {
  std::mt19937_64 random(1);
  std::vector<std::byte> page(page_bytes);
  for (std::byte& byte : page) byte = std::byte(random());
  return page;
}

void BM_Crc32cSeal_Seal(benchmark::State& state) {
  const Crc32cSeal seal;
  std::vector<std::byte> page = RandomPage(static_cast<size_t>(state.range(0)));
  uint64_t lsn = 0;
  for (auto _ : state) {
    seal.Seal(page, kPlace, Lsn{++lsn});
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Crc32cSeal_Seal)->ArgName("page_bytes")->Arg(4096)->Arg(16384)->Arg(65536);

void BM_Crc32cSeal_Verify(benchmark::State& state) {
  const Crc32cSeal seal;
  std::vector<std::byte> page = RandomPage(static_cast<size_t>(state.range(0)));
  seal.Seal(page, kPlace, Lsn{1});
  for (auto _ : state) {
    const absl::StatusOr<Lsn> lsn = seal.Verify(page, kPlace);
    if (!lsn.ok()) return state.SkipWithError("the page does not verify");
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Crc32cSeal_Verify)->ArgName("page_bytes")->Arg(4096)->Arg(16384)->Arg(65536);

void BM_Memcpy(benchmark::State& state) {
  const std::vector<std::byte> page = RandomPage(static_cast<size_t>(state.range(0)));
  std::vector<std::byte> copy(page.size());
  for (auto _ : state) {
    std::memcpy(copy.data(), page.data(), page.size());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Memcpy)->ArgName("page_bytes")->Arg(4096)->Arg(16384)->Arg(65536);

}  // namespace
}  // namespace fixpool::storage
