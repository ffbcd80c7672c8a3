#include "tests/crash/writer.h"

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fixpool/io/error.h"
#include "tests/crash/raw_file.h"
#include "tests/crash/writer_codes.h"

namespace fixpool::tests {
namespace {

using storage::PageCache;
using storage::ReadGuard;
using storage::WriteGuard;

constexpr uint32_t kPageBytes = sizeof(AccountPage);
// Of a page or a flush, before an error is taken for one that stays.
constexpr int kTries = 10;
constexpr absl::Duration kPause = absl::Microseconds(200);

// As long as it may, and more than a disk needs that always answers within milliseconds.
constexpr absl::Duration kPatience = absl::Seconds(5);
bool TookTooLong(const absl::Status& status) {
  return io::ErrnoOf(status) == 0 &&
         (absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status));
}

void Store(const AccountPage& page, WriteGuard& guard) {
  std::memcpy(guard.mutable_bytes().data(), &page, sizeof(page));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Writer>> Writer::Open(Options options) {
  std::unique_ptr<Writer> writer(new Writer(std::move(options)));
  if (absl::Status status = writer->Start(); !status.ok()) return status;
  return writer;
}

Writer::~Writer() = default;

absl::Status Writer::Start() {
  absl::StatusOr<std::optional<Master>> master = ReadMaster();
  if (!master.ok()) return master.status();
  return master->has_value() ? Recover(**master) : Format();
}

absl::StatusOr<std::optional<Writer::Master>> Writer::ReadMaster() const {
  absl::StatusOr<std::string> text = ReadAll(options_.directory + "/master");
  if (absl::IsNotFound(text.status())) return std::nullopt;
  if (!text.ok()) return text.status();
  Master master;
  if (text->size() != sizeof(master)) return absl::DataLossError("master has another size");
  std::memcpy(&master, text->data(), sizeof(master));
  if (master.checksum != master.Checksum()) return absl::DataLossError("master is torn");
  return master;
}

absl::Status Writer::OpenLog(uint64_t segment, uint64_t transactions) {
  absl::StatusOr<std::unique_ptr<CrashLog>> log = CrashLog::Create(
      {.directory = options_.directory, .segment = segment, .last = storage::Lsn{transactions}});
  if (!log.ok()) return log.status();
  log_ = *std::move(log);
  return absl::OkStatus();
}

// Of a size that the seed chooses: with fewer frames than pages, changed pages leave by themselves.
absl::Status Writer::OpenCache() {
  const size_t frames = std::vector<size_t>{24, 48, 256}[dice_.Below(3)];
  PageCache::Options options;
  options.memory_bytes = frames * kPageBytes;
  options.page_bytes = kPageBytes;
  options.log = log_.get();
  options.free_frames = static_cast<uint32_t>(dice_.Below(frames / 4));
  options.engine.depth = 32;
  options.default_timeout = kPatience;
  options.default_flush_timeout = kPatience;
  absl::StatusOr<std::unique_ptr<PageCache>> cache = PageCache::Create(options);
  if (!cache.ok()) return cache.status();
  cache_ = *std::move(cache);
  absl::StatusOr<storage::FileId> file =
      cache_->OpenFile(options_.directory + "/data.db", {.create = true});
  if (!file.ok()) return file.status();
  file_ = *file;
  return absl::OkStatus();
}

// Nothing has been acknowledged before there is a master, so whatever is there is nobody's.
absl::Status Writer::Format() {
  absl::StatusOr<CrashLog::Contents> leftovers = CrashLog::Read(options_.directory, 0);
  if (!leftovers.ok()) return leftovers.status();
  absl::Status status = OpenLog(leftovers->last_segment + 1, /*transactions=*/0);
  if (status.ok()) status = OpenCache();
  if (!status.ok()) return status;
  for (uint64_t i = 0; i < options_.page_count; ++i) {
    absl::StatusOr<WriteGuard> guard = cache_->Make({file_, i});
    if (!guard.ok()) return guard.status();
    Store(AccountPage::Initial(i), *guard);
  }
  // No record tells of these pages, so there is no LSN to write them by.
  return Checkpoint(/*by_lsn=*/false);
}

absl::Status Writer::Recover(const Master& master) {
  absl::StatusOr<CrashLog::Contents> contents = CrashLog::Read(options_.directory, master.segment);
  if (!contents.ok()) return contents.status();
  recovery_.replayed = contents->records.size();
  recovery_.transactions = master.transactions + recovery_.replayed;
  CountTornPages();
  absl::Status status = OpenLog(contents->last_segment + 1, recovery_.transactions);
  if (status.ok()) status = OpenCache();
  if (status.ok()) status = Replay(contents->records, master.transactions);
  if (!status.ok()) return status;
  {
    io::MutexLock lock(mutex_);
    transactions_ = recovery_.transactions;
  }
  return Checkpoint(/*by_lsn=*/dice_.Chance(0.5));
}

absl::Status Writer::Replay(const std::vector<LogRecord>& records, uint64_t transactions) {
  for (const LogRecord& record : records) {
    if (record.transaction != ++transactions) {
      return absl::DataLossError(absl::StrCat("the log has transaction ", record.transaction,
                                              " where ", transactions, " is wanted"));
    }
    for (const LogRecord::Page& page : record.pages) {
      if (absl::Status status = ReplayPage(record.transaction, page); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status Writer::ReplayPage(uint64_t transaction, const LogRecord::Page& page) {
  absl::StatusOr<WriteGuard> guard = WritePage(page.number);
  if (!guard.ok()) return guard.status();
  AccountPage bytes = AccountPage::Of(guard->bytes());
  if (!page.ApplyTo(transaction, &bytes)) {
    return absl::DataLossError(absl::StrCat("page ", page.number, " is at version ", bytes.version,
                                            " and transaction ", transaction, " makes version ",
                                            page.version, " of it"));
  }
  Store(bytes, *guard);
  // Recovery needs this record until the page is durable.
  guard->set_lsn(storage::Lsn{transaction});
  return absl::OkStatus();
}

// For the figures; what cannot be read is not counted.
void Writer::CountTornPages() {
  absl::StatusOr<std::string> data = ReadAll(options_.directory + "/data.db");
  if (!data.ok()) return;
  for (size_t i = 0; (i + 1) * kPageBytes <= data->size(); ++i) {
    AccountPage page;
    std::memcpy(&page, data->data() + i * kPageBytes, sizeof(page));
    if (!page.Whole(i)) ++recovery_.torn_pages;
  }
}

std::string Writer::Describe() const { return cache_->Describe(); }

// ---- Transactions ----

// Where the log cannot be made durable, or pages cannot be written, there are no frames in the end.
absl::Status Writer::Explained(const absl::Status& late) const {
  const storage::CacheStats stats = cache_->Stats();
  if (stats.log_errors > 0 || stats.write_errors > 0 || stats.read_errors > 0) return late;
  return absl::InternalError(absl::StrCat("and nothing had failed: ", late.message()));
}

absl::StatusOr<WriteGuard> Writer::WritePage(uint64_t page) {
  absl::StatusOr<WriteGuard> guard;
  for (int i = 0; i < kTries && !stop_; ++i) {
    guard = cache_->Write({file_, page});
    if (guard.ok()) return guard;
    if (TookTooLong(guard.status())) return Explained(guard.status());
    absl::SleepFor(kPause);
  }
  return guard.status();
}

LogRecord::Page Writer::Change(const Transaction& transaction, const Transaction::Change& change,
                               AccountPage* page) {
  transaction.Apply(change, page);
  LogRecord::Page logged;
  logged.number = change.page;
  logged.version = page->version;
  if (logged_whole_.insert(change.page).second && options_.page_images) {
    logged.image = *page;
    return logged;
  }
  for (const Transaction::Move& move : change.moves) {
    logged.balances.push_back({.account = move.account, .balance = page->balances[move.account]});
  }
  return logged;
}

absl::Status Writer::Execute(const Transaction& transaction) {
  std::vector<WriteGuard> guards;
  for (const Transaction::Change& change : transaction.changes) {
    absl::StatusOr<WriteGuard> guard = WritePage(change.page);
    if (!guard.ok()) return guard.status();
    guards.push_back(*std::move(guard));
  }
  LogRecord record{.transaction = transaction.number, .pages = {}};
  std::vector<AccountPage> changed;
  for (size_t i = 0; i < guards.size(); ++i) {
    AccountPage& page = changed.emplace_back(AccountPage::Of(guards[i].mutable_bytes()));
    if (!page.Whole(transaction.changes[i].page)) {
      return absl::DataLossError(absl::StrCat("page ", transaction.changes[i].page, " is torn"));
    }
    record.pages.push_back(Change(transaction, transaction.changes[i], &page));
  }
  const storage::Lsn lsn = log_->Append(record.Encode());
  for (size_t i = 0; i < guards.size(); ++i) {
    Store(changed[i], guards[i]);
    guards[i].set_lsn(lsn);
  }
  transactions_ = transaction.number;
  return absl::OkStatus();
}

absl::Status Writer::Run(const std::function<void(uint64_t)>& acknowledge) {
  std::thread checkpoints([this, seed = dice_.Next()] { CheckpointWhenAsked(seed); });
  std::thread reader([this, seed = dice_.Next()] { ReadPages(seed); });
  const uint64_t between_checkpoints = 5 + dice_.Below(60);
  const uint64_t group = 1 + dice_.Below(kMostUnacknowledged);
  for (uint64_t number = recovery_.transactions + 1; !stop_; ++number) {
    const Transaction transaction = Transaction::Make(options_.seed, number, options_.page_count);
    absl::Status status;
    {
      io::MutexLock lock(mutex_);
      status = Execute(transaction);
    }
    const bool end_of_group = number % group == 0;
    if (status.ok() && end_of_group) status = log_->EnsureDurable(storage::Lsn{number});
    if (!status.ok()) {
      Fail(status);
      break;
    }
    if (end_of_group) acknowledge(number);
    if (number % between_checkpoints == 0) {
      ++checkpoints_wanted_;
      checkpoints_wanted_.notify_one();
    }
  }
  ++checkpoints_wanted_;
  checkpoints_wanted_.notify_one();
  checkpoints.join();
  reader.join();
  return failure();
}

void Writer::Fail(const absl::Status& status) {
  {
    io::MutexLock lock(failure_mutex_);
    failure_.Update(status);
    // Worse than what a broken disk can be the cause of.
    if (absl::IsDataLoss(status)) failure_ = status;
  }
  stop_ = true;
}

absl::Status Writer::failure() {
  io::MutexLock lock(failure_mutex_);
  return failure_;
}

// ---- Checkpoints ----

// Transactions go on but for the moment in which the log gets a new segment. All that was changed
// before it is written; what is changed after it stands in the new segment, whole.
absl::Status Writer::Checkpoint(bool by_lsn) {
  Master master;
  {
    io::MutexLock lock(mutex_);
    absl::StatusOr<uint64_t> segment = log_->Rotate();
    if (!segment.ok()) return segment.status();
    logged_whole_.clear();
    master.segment = *segment;
    master.transactions = transactions_;
  }
  const storage::Lsn last{master.transactions};
  if (absl::Status status = WritePagesUpTo(last, by_lsn); !status.ok()) return status;
  if (const std::optional<storage::Lsn> oldest = cache_->OldestDirtyLsn();
      options_.ask_cache && oldest.has_value() && *oldest <= last) {
    return absl::DataLossError(absl::StrCat("OldestDirtyLsn is ", storage::ToInt(*oldest),
                                            " after a checkpoint up to ", storage::ToInt(last)));
  }
  master.checksum = master.Checksum();
  const absl::string_view bytes(reinterpret_cast<const char*>(&master), sizeof(master));
  if (absl::Status status = ReplaceFile(options_.directory, "master", bytes); !status.ok()) {
    return status;
  }
  return CrashLog::RemoveBefore(options_.directory, master.segment);
}

// A write that failed may succeed the next time. A sync that failed must not seem to: then the
// cache says so again each time, and what follows from an OK here would be wrong.
absl::Status Writer::WritePagesUpTo(storage::Lsn lsn, bool by_lsn) {
  absl::Status status;
  for (int i = 0; i < kTries; ++i) {
    status = by_lsn ? cache_->Checkpoint(lsn) : cache_->Flush(file_);
    if (status.ok()) return status;
    if (TookTooLong(status)) return Explained(status);
    absl::SleepFor(kPause);
  }
  return status;
}

void Writer::CheckpointWhenAsked(uint64_t seed) {
  Dice dice(seed);
  uint32_t seen = 0;
  while (true) {
    checkpoints_wanted_.wait(seen);
    seen = checkpoints_wanted_;
    if (stop_) return;
    if (absl::Status status = Checkpoint(dice.Chance(0.5)); !status.ok()) return Fail(status);
  }
}

void Writer::ReadPages(uint64_t seed) {
  Dice dice(seed);
  while (!stop_) {
    const uint64_t number = dice.Below(options_.page_count);
    {
      absl::StatusOr<ReadGuard> guard = cache_->Read({file_, number});
      // A read that fails is nobody's loss; the next one is another.
      if (guard.ok() && !AccountPage::Of(guard->bytes()).Whole(number)) {
        Fail(absl::DataLossError(absl::StrCat("a reader saw page ", number, " torn")));
      }
    }
    absl::SleepFor(kPause);
  }
}

// ---- Verifying ----

absl::Status Writer::Verify() {
  const std::vector<AccountPage> pages =
      PagesAfter(options_.seed, recovery_.transactions, options_.page_count);
  if (absl::Status status = CheckPages(pages, /*on_disk=*/false); !status.ok()) return status;
  if (absl::Status status = cache_->CloseFile(file_); !status.ok()) return status;
  return CheckPages(pages, /*on_disk=*/true);
}

absl::Status Writer::CheckPages(const std::vector<AccountPage>& pages, bool on_disk) {
  absl::StatusOr<std::string> data = std::string();
  if (on_disk) data = ReadAll(options_.directory + "/data.db");
  if (!data.ok()) return data.status();
  if (on_disk && data->size() != pages.size() * kPageBytes) {
    return absl::DataLossError(absl::StrCat("data.db has ", data->size(), " bytes"));
  }
  int64_t sum = 0;
  int64_t expected_sum = 0;
  for (uint64_t i = 0; i < pages.size(); ++i) {
    AccountPage page;
    if (on_disk) {
      std::memcpy(&page, data->data() + i * kPageBytes, sizeof(page));
    } else {
      absl::StatusOr<ReadGuard> guard = cache_->Read({file_, i});
      if (!guard.ok()) return guard.status();
      page = AccountPage::Of(guard->bytes());
    }
    sum += page.Sum();
    expected_sum += AccountPage::Initial(i).Sum();
    if (page == pages[i]) continue;
    return absl::DataLossError(absl::StrCat(
        on_disk ? "on disk" : "in the cache", ", page ", i, " is at version ", page.version,
        " of transaction ", page.transaction, page.Whole(i) ? "" : " (torn)", " where version ",
        pages[i].version, " of transaction ", pages[i].transaction, " is wanted"));
  }
  if (sum != expected_sum) return absl::DataLossError("the balances do not add up");
  return absl::OkStatus();
}

}  // namespace fixpool::tests
