#include "benchmarks/generated_trace.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

namespace fixpool::benchmarks {
namespace {

PageTrace ZipfScan(uint64_t seed) {
  constexpr uint32_t kPages = 10'000, kHotPages = 2'000, kHotReferences = 200'000;
  constexpr uint32_t kScanPerHot = 4;
  const ZipfDistribution zipf(kHotPages, 0.99);
  FastRandom random(seed);
  PageTrace trace;
  uint32_t scanned = 0;
  for (uint32_t i = 0; i < kHotReferences; ++i) {
    (void)trace.AddReference(zipf.Next(random));
    if (i < kHotReferences / 4 || i >= kHotReferences / 4 * 3) continue;
    for (uint32_t k = 0; k < kScanPerHot; ++k) {
      (void)trace.AddReference(kHotPages + scanned);
      scanned = (scanned + 1) % (kPages - kHotPages);
    }
  }
  return trace;
}

PageTrace Loop() {
  PageTrace trace;
  for (int round = 0; round < 200; ++round) {
    for (uint64_t page = 0; page < 1'100; ++page) (void)trace.AddReference(page);
  }
  return trace;
}

// Tables are ranges of pages, one after the other; those that grow have the last.
class Tpcc {
 public:
  explicit Tpcc(uint64_t seed) : random_(seed) {}

  PageTrace Run() {
    constexpr int kTransactions = 40'000;
    for (int i = 0; i < kTransactions; ++i) {
      const uint64_t dice = random_.Below(100);
      if (dice < 45) {
        NewOrder();
      } else if (dice < 88) {
        Payment();
      } else if (dice < 92) {
        OrderStatus();
      } else if (dice < 96) {
        Delivery();
      } else {
        StockLevel();
      }
    }
    return std::move(trace_);
  }

 private:
  static constexpr uint64_t kWarehouses = 4;
  static constexpr uint64_t kDistrictsAt = 100, kItemsAt = 1'000, kCustomersAt = 5'000,
                            kStockAt = 25'000, kOrdersAt = 100'000;
  static constexpr uint32_t kItems = 2'500, kCustomers = 5'000;  // pages
  static constexpr uint64_t kOrdersPerPage = 5;

  // The rows of one page are looked up one by one.
  void Read(uint64_t page) { (void)trace_.AddReference(page); }
  void Change(uint64_t page) {
    Read(page);
    Read(page);
    (void)trace_.AddWrite(page);
  }
  // The root, an inner page, and the leaf itself.
  void Lookup(uint64_t table, uint64_t leaf) {
    Read(table - 60);
    Read(table - 59 + leaf / 250);
    Read(table + leaf);
  }
  // The non-uniform random of TPC-C: an OR of two numbers.
  uint64_t Uneven(uint64_t limit, uint64_t mask) {
    return (random_.Below(mask + 1) | random_.Below(limit)) % limit;
  }
  uint64_t NewestOrderPage() const { return kOrdersAt + orders_ / kOrdersPerPage; }
  uint64_t RecentOrderPage(uint64_t within) {
    return NewestOrderPage() - random_.Below(std::min(within, orders_ / kOrdersPerPage + 1));
  }
  void BeginAt(uint64_t warehouse) {
    Read(warehouse);
    Change(kDistrictsAt + warehouse);
  }

  void NewOrder() {
    BeginAt(random_.Below(kWarehouses));
    Lookup(kCustomersAt, Uneven(kCustomers, 1023));
    const uint64_t lines = 5 + random_.Below(11);
    for (uint64_t line = 0; line < lines; ++line) {
      const uint64_t item = Uneven(kItems, 511);
      Lookup(kItemsAt, item);
      const uint64_t stock = item * 4 + random_.Below(kWarehouses);
      Lookup(kStockAt, stock);
      Change(kStockAt + stock);
      Change(NewestOrderPage());
    }
    ++orders_;
  }
  void Payment() {
    BeginAt(random_.Below(kWarehouses));
    const uint64_t customer = Uneven(kCustomers, 1023);
    Lookup(kCustomersAt, customer);
    Change(kCustomersAt + customer);
  }
  void OrderStatus() {
    Lookup(kCustomersAt, Uneven(kCustomers, 1023));
    Read(RecentOrderPage(2'000));
  }
  void Delivery() {
    for (int district = 0; district < 10; ++district) {
      delivered_ = std::min(delivered_ + 1, orders_);
      Change(kOrdersAt + delivered_ / kOrdersPerPage);
    }
  }
  void StockLevel() {
    for (int order = 0; order < 20; ++order) {
      Read(RecentOrderPage(5));
      Lookup(kStockAt, Uneven(kItems, 511) * 4);
    }
  }

  FastRandom random_;
  PageTrace trace_;
  uint64_t orders_ = 0;
  uint64_t delivered_ = 0;
};

}  // namespace

ZipfDistribution::ZipfDistribution(uint32_t limit, double exponent) : cumulative_(limit) {
  double sum = 0;
  for (uint32_t rank = 0; rank < limit; ++rank) {
    sum += std::pow(rank + 1.0, -exponent);
    cumulative_[rank] = sum;
  }
}

uint32_t ZipfDistribution::Next(FastRandom& random) const {
  const double at = static_cast<double>(random.Next() >> 11) * 0x1p-53 * cumulative_.back();
  const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end(), at);
  const auto rank = static_cast<size_t>(found - cumulative_.begin());
  return static_cast<uint32_t>(std::min(rank, cumulative_.size() - 1));
}

PageTrace GenerateTrace(Workload workload, uint64_t seed) {
  switch (workload) {
    case Workload::kZipfScan:
      return ZipfScan(seed);
    case Workload::kLoop:
      return Loop();
    case Workload::kTpcc:
      break;
  }
  return Tpcc(seed).Run();
}

}  // namespace fixpool::benchmarks
