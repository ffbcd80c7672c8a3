#ifndef FIXPOOL_TESTS_CRASH_LOG_RECORD_H_
#define FIXPOOL_TESTS_CRASH_LOG_RECORD_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/crash/account_page.h"

namespace fixpool::tests {

// A transaction as it stands in the log: for each of its pages what it holds afterwards.
//
//   log->Append(record.Encode());
//   std::optional<LogRecord> record = LogRecord::Decode(&rest);   // and `rest` is what follows
//
// Shape: a page that is changed for the first time since the last checkpoint stands there whole
// (`image`), as the disk may have torn it; else only its changed accounts. A value:
// thread-compatible.
struct LogRecord {
  struct Balance {
    uint64_t account;
    int64_t balance;
  };
  struct Page {
    uint64_t number = 0;
    uint64_t version = 0;  // after the change
    std::vector<Balance> balances;
    std::optional<AccountPage> image;

    // False: the page is not what this record was made for.
    bool ApplyTo(uint64_t transaction, AccountPage* page) const;
  };

  uint64_t transaction = 0;
  std::vector<Page> pages;

  std::string Encode() const;
  // None, and `text` stays: what stands there is not a whole record.
  static std::optional<LogRecord> Decode(absl::string_view* text);
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_LOG_RECORD_H_
