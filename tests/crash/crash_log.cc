#include "tests/crash/crash_log.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace fixpool::tests {
namespace {

std::string PathOf(const std::string& directory, uint64_t segment) {
  return absl::StrCat(directory, "/log.", segment);
}

absl::StatusOr<std::vector<uint64_t>> SegmentsIn(const std::string& directory) {
  absl::StatusOr<std::vector<std::string>> names = NamesIn(directory);
  if (!names.ok()) return names.status();
  std::vector<uint64_t> segments;
  for (const std::string& name : *names) {
    absl::string_view number = name;
    uint64_t segment;
    if (absl::ConsumePrefix(&number, "log.") && absl::SimpleAtoi(number, &segment)) {
      segments.push_back(segment);
    }
  }
  std::sort(segments.begin(), segments.end());
  return segments;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CrashLog>> CrashLog::Create(const Options& options) {
  std::unique_ptr<CrashLog> log(new CrashLog(options));
  io::MutexLock lock(log->file_mutex_);
  if (absl::Status status = log->Open(options.segment); !status.ok()) return status;
  return log;
}

absl::Status CrashLog::Open(uint64_t segment) {
  absl::StatusOr<std::unique_ptr<RawFile>> file = RawFile::Create(PathOf(directory_, segment));
  if (!file.ok()) return file.status();
  // Before any record is acknowledged, the file must have its name for good.
  if (absl::Status status = SyncDirectory(directory_); !status.ok()) return status;
  file_ = *std::move(file);
  segment_ = segment;
  return absl::OkStatus();
}

storage::Lsn CrashLog::Append(absl::string_view record) {
  io::MutexLock lock(mutex_);
  absl::StrAppend(&pending_, record);
  return storage::Lsn{++appended_};
}

storage::Lsn CrashLog::NextLsn() { return storage::Lsn{appended_ + 1}; }

absl::Status CrashLog::EnsureDurable(storage::Lsn lsn) {
  if (storage::ToInt(lsn) <= durable_) return absl::OkStatus();
  io::MutexLock lock(file_mutex_);
  return storage::ToInt(lsn) <= durable_ ? absl::OkStatus() : Write();
}

absl::Status CrashLog::Write() {
  if (!error_.ok()) return error_;
  std::string records;
  uint64_t last;
  {
    io::MutexLock lock(mutex_);
    records.swap(pending_);
    last = appended_;
  }
  error_ = file_->Append(records);
  if (error_.ok()) error_ = file_->Sync();
  if (error_.ok()) durable_ = last;
  return error_;
}

absl::StatusOr<uint64_t> CrashLog::Rotate() {
  io::MutexLock lock(file_mutex_);
  if (absl::Status status = Write(); !status.ok()) return status;
  error_ = Open(segment_ + 1);
  if (!error_.ok()) return error_;
  return segment_;
}

absl::StatusOr<CrashLog::Contents> CrashLog::Read(const std::string& directory, uint64_t segment) {
  absl::StatusOr<std::vector<uint64_t>> segments = SegmentsIn(directory);
  if (!segments.ok()) return segments.status();
  Contents contents{.records = {}, .last_segment = segment};
  for (const uint64_t number : *segments) {
    contents.last_segment = std::max(contents.last_segment, number);
    if (number < segment) continue;
    absl::StatusOr<std::string> text = ReadAll(PathOf(directory, number));
    if (!text.ok()) return text.status();
    absl::string_view rest = *text;
    while (std::optional<LogRecord> record = LogRecord::Decode(&rest)) {
      if (!contents.records.empty() &&
          record->transaction != contents.records.back().transaction + 1) {
        return absl::DataLossError(absl::StrCat("log.", number, " has transaction ",
                                                record->transaction, " after ",
                                                contents.records.back().transaction));
      }
      contents.records.push_back(*std::move(record));
    }
  }
  return contents;
}

absl::Status CrashLog::RemoveBefore(const std::string& directory, uint64_t segment) {
  absl::StatusOr<std::vector<uint64_t>> segments = SegmentsIn(directory);
  if (!segments.ok()) return segments.status();
  for (const uint64_t number : *segments) {
    if (number >= segment) continue;
    if (absl::Status status = RemoveFile(PathOf(directory, number)); !status.ok()) return status;
  }
  return SyncDirectory(directory);
}

}  // namespace fixpool::tests
