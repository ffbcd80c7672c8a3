#include "benchmarks/trace_turns.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

namespace fixpool::benchmarks {

double VisitInTurns(const PageTrace& trace, uint32_t threads,
                    absl::FunctionRef<void(uint32_t thread, uint32_t record)> visit) {
  constexpr size_t kTurn = 64;
  const std::vector<uint32_t>& records = trace.records();
  std::atomic<size_t> next{0};
  const auto work = [&](uint32_t thread) {
    for (size_t begin; (begin = next.fetch_add(kTurn)) < records.size();) {
      const size_t end = std::min(begin + kTurn, records.size());
      for (size_t i = begin; i < end; ++i) visit(thread, records[i]);
    }
  };
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> others;
  for (uint32_t thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
  work(0);
  for (std::thread& thread : others) thread.join();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  return took.count();
}

}  // namespace fixpool::benchmarks
