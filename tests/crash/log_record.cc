#include "tests/crash/log_record.h"

#include <cstring>
#include <utility>

namespace fixpool::tests {
namespace {

constexpr uint64_t kMagic = 0x6472636572676f6cU;

struct Header {
  uint64_t magic = kMagic;
  uint64_t transaction = 0;
  uint64_t page_count = 0;
  uint64_t body_bytes = 0;
  uint64_t checksum = 0;  // of the fields before and the body

  uint64_t Checksum(absl::string_view body) const {
    return ChecksumOf(this, offsetof(Header, checksum)) ^ ChecksumOf(body.data(), body.size());
  }
};

struct PageHeader {
  uint64_t number = 0;
  uint64_t version = 0;
  uint64_t balance_count = 0;
  uint64_t has_image = 0;
};

template <typename T>
void Put(const T& value, std::string* text) {
  text->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

template <typename T>
bool Take(absl::string_view* text, T* value) {
  if (text->size() < sizeof(*value)) return false;
  std::memcpy(value, text->data(), sizeof(*value));
  text->remove_prefix(sizeof(*value));
  return true;
}

bool TakePage(absl::string_view* text, LogRecord::Page* page) {
  PageHeader header;
  if (!Take(text, &header)) return false;
  page->number = header.number;
  page->version = header.version;
  for (uint64_t i = 0; i < header.balance_count; ++i) {
    LogRecord::Balance balance;
    if (!Take(text, &balance)) return false;
    page->balances.push_back(balance);
  }
  if (header.has_image == 0) return true;
  return Take(text, &page->image.emplace());
}

}  // namespace

bool LogRecord::Page::ApplyTo(uint64_t transaction, AccountPage* page) const {
  if (image.has_value()) {
    *page = *image;
    return page->Whole(number);
  }
  if (page->number == number && page->version >= version) return true;  // it was written since
  if (page->number != number || page->version + 1 != version) return false;
  page->version = version;
  page->transaction = transaction;
  for (const Balance& balance : balances) page->balances[balance.account] = balance.balance;
  page->Seal();
  return true;
}

std::string LogRecord::Encode() const {
  std::string body;
  for (const Page& page : pages) {
    Put(PageHeader{.number = page.number,
                   .version = page.version,
                   .balance_count = page.balances.size(),
                   .has_image = page.image.has_value() ? 1U : 0U},
        &body);
    for (const Balance& balance : page.balances) Put(balance, &body);
    if (page.image.has_value()) Put(*page.image, &body);
  }
  Header header{.transaction = transaction, .page_count = pages.size(), .body_bytes = body.size()};
  header.checksum = header.Checksum(body);
  std::string text;
  Put(header, &text);
  return text + body;
}

std::optional<LogRecord> LogRecord::Decode(absl::string_view* text) {
  absl::string_view rest = *text;
  Header header;
  if (!Take(&rest, &header) || header.magic != kMagic || header.body_bytes > rest.size()) {
    return std::nullopt;
  }
  absl::string_view body = rest.substr(0, header.body_bytes);
  if (header.checksum != header.Checksum(body)) return std::nullopt;
  LogRecord record{.transaction = header.transaction, .pages = {}};
  for (uint64_t i = 0; i < header.page_count; ++i) {
    if (!TakePage(&body, &record.pages.emplace_back())) return std::nullopt;
  }
  text->remove_prefix(sizeof(header) + header.body_bytes);
  return record;
}

}  // namespace fixpool::tests
