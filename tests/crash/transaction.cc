#include "tests/crash/transaction.h"

#include <set>

#include "tests/crash/dice.h"

namespace fixpool::tests {

Transaction Transaction::Make(uint64_t seed, uint64_t number, uint64_t page_count) {
  Dice dice(Dice::Mix(seed, number));
  Transaction transaction{.number = number, .changes = {}};
  std::set<uint64_t> pages;
  for (const size_t wanted = 2 + dice.Below(3); pages.size() < wanted;) {
    pages.insert(dice.Below(page_count));
  }
  int64_t sum = 0;
  for (const uint64_t page : pages) {
    std::set<uint32_t> accounts;
    for (const size_t wanted = 1 + dice.Below(6); accounts.size() < wanted;) {
      accounts.insert(static_cast<uint32_t>(dice.Below(AccountPage::kAccounts)));
    }
    Change change{.page = page, .moves = {}};
    for (const uint32_t account : accounts) {
      const int64_t amount = 1 + static_cast<int64_t>(dice.Below(1000));
      change.moves.push_back({.account = account, .amount = amount});
      sum += amount;
    }
    transaction.changes.push_back(std::move(change));
  }
  transaction.changes.back().moves.back().amount -= sum;
  return transaction;
}

void Transaction::Apply(const Change& change, AccountPage* page) const {
  ++page->version;
  page->transaction = number;
  for (const Move& move : change.moves) page->balances[move.account] += move.amount;
  page->Seal();
}

std::vector<AccountPage> PagesAfter(uint64_t seed, uint64_t count, uint64_t page_count) {
  std::vector<AccountPage> pages;
  for (uint64_t i = 0; i < page_count; ++i) pages.push_back(AccountPage::Initial(i));
  for (uint64_t number = 1; number <= count; ++number) {
    const Transaction transaction = Transaction::Make(seed, number, page_count);
    for (const Transaction::Change& change : transaction.changes) {
      transaction.Apply(change, &pages[change.page]);
    }
  }
  return pages;
}

}  // namespace fixpool::tests
