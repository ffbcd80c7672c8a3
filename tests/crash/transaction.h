#ifndef FIXPOOL_TESTS_CRASH_TRANSACTION_H_
#define FIXPOOL_TESTS_CRASH_TRANSACTION_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/crash/account_page.h"

namespace fixpool::tests {

// A move of amounts between accounts of several pages. Number `n` of a seed is the same whoever
// asks, so that a verifier that knows how many there were knows every byte.
//
//   const Transaction transaction = Transaction::Make(seed, 12, page_count);
//   for (const Transaction::Change& change : transaction.changes) {
//     transaction.Apply(change, &pages[change.page]);
//   }
//
// A value: thread-compatible.
struct Transaction {
  struct Move {
    uint32_t account;
    int64_t amount;
  };
  struct Change {
    uint64_t page;
    std::vector<Move> moves;
  };

  uint64_t number = 0;
  std::vector<Change> changes;  // by page, ascending; all moves add up to 0

  static Transaction Make(uint64_t seed, uint64_t number, uint64_t page_count);
  void Apply(const Change& change, AccountPage* page) const;
};

// What all pages hold after the first `count` transactions.
std::vector<AccountPage> PagesAfter(uint64_t seed, uint64_t count, uint64_t page_count);

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_TRANSACTION_H_
