#ifndef FIXPOOL_TESTS_CRASH_ACCOUNT_PAGE_H_
#define FIXPOOL_TESTS_CRASH_ACCOUNT_PAGE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace fixpool::tests {

// The same bytes, the same number; for what a disk may have torn.
inline uint64_t ChecksumOf(const void* data, size_t size_bytes) {
  const char* const bytes = static_cast<const char*>(data);
  uint64_t sum = 0xcbf29ce484222325U ^ size_bytes;
  for (size_t at = 0; at < size_bytes;) {
    uint64_t word = 0;
    const size_t length = size_bytes - at < sizeof(word) ? size_bytes - at : sizeof(word);
    std::memcpy(&word, bytes + at, length);
    sum = (sum ^ word) * 0x9e3779b97f4a7c15U;
    sum ^= sum >> 29U;
    at += length;
  }
  return sum;
}

// What the crash test's pages hold: accounts, between which transactions move amounts, so that the
// sum over all pages stays.
//
//   AccountPage page = AccountPage::Initial(7);
//   page.balances[3] += 10;
//   page.Seal();
//
// A change touches the first sector (version, checksum) and those of its accounts, so that a torn
// page does not look whole. A value: thread-compatible.
struct AccountPage {
  static constexpr size_t kAccounts = 507;

  uint64_t number = 0;
  uint64_t version = 0;      // changes so far
  uint64_t transaction = 0;  // the last that changed it
  uint64_t checksum = 0;     // of all else
  uint64_t reserved = 0;
  std::array<int64_t, kAccounts> balances = {};

  static AccountPage Initial(uint64_t number) {
    AccountPage page;
    page.number = number;
    for (size_t i = 0; i < kAccounts; ++i) page.balances[i] = static_cast<int64_t>(number + i);
    page.Seal();
    return page;
  }
  static AccountPage Of(std::span<const std::byte> bytes) {
    AccountPage page;
    std::memcpy(&page, bytes.data(), sizeof(page));
    return page;
  }

  void Seal() { checksum = Checksum(); }
  bool Whole(uint64_t expected_number) const {
    return number == expected_number && checksum == Checksum();
  }
  int64_t Sum() const {
    int64_t sum = 0;
    for (const int64_t balance : balances) sum += balance;
    return sum;
  }
  friend bool operator==(const AccountPage&, const AccountPage&) = default;

 private:
  uint64_t Checksum() const {
    return ChecksumOf(this, offsetof(AccountPage, checksum)) ^
           ChecksumOf(balances.data(), sizeof(balances));
  }
};
static_assert(sizeof(AccountPage) == 4096);

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_ACCOUNT_PAGE_H_
