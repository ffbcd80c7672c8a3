#include "benchmarks/page_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <cstddef>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "benchmarks/exit_code.h"

namespace fixpool::benchmarks {
namespace {

// A line of a .lis file that says more is not one.
constexpr uint64_t kMaxRun = uint64_t{1} << 24;

absl::StatusOr<PageTrace> ParseLe32(absl::string_view contents) {
  if (contents.size() % 4 != 0) {
    return UsageError(absl::StrCat("an le32 trace is whole numbers of 4 bytes, and this one has ",
                                   contents.size(), " bytes; is it compressed, or of format lis?"));
  }
  PageTrace trace;
  for (size_t at = 0; at < contents.size(); at += 4) {
    uint32_t number = 0;
    for (size_t byte = 0; byte < 4; ++byte) {
      number |= uint32_t{static_cast<unsigned char>(contents[at + byte])} << (8 * byte);
    }
    // 31 bits: there is room for all of them.
    if (PageTrace::IsWrite(number)) {
      (void)trace.AddWrite(PageTrace::IndexOf(number));
    } else {
      (void)trace.AddReference(number);
    }
  }
  return trace;
}

absl::Status BadLine(size_t line, absl::string_view why) {
  return UsageError(absl::StrCat("line ", line, " of the trace: ", why,
                                 "; a line of format lis is 'first count ignored request'"));
}

absl::Status ParseLine(absl::string_view text, size_t line, PageTrace& trace) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(text, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
  if (words.empty()) return absl::OkStatus();
  uint64_t first = 0, count = 0;
  if (words.size() != 4) return BadLine(line, absl::StrCat("it has ", words.size(), " words"));
  if (!absl::SimpleAtoi(words[0], &first) || !absl::SimpleAtoi(words[1], &count)) {
    return BadLine(line, "the first two words are not numbers");
  }
  if (count > kMaxRun || first + count < first) {
    return BadLine(line, absl::StrCat("a run of ", count, " pages from ", first, " is too long"));
  }
  for (uint64_t i = 0; i < count; ++i) {
    if (!trace.AddReference(first + i)) return BadLine(line, "more than 2^31 different pages");
  }
  return absl::OkStatus();
}

absl::StatusOr<PageTrace> ParseLis(absl::string_view contents) {
  PageTrace trace;
  size_t line = 0;
  for (absl::string_view text : absl::StrSplit(contents, '\n')) {
    if (absl::Status status = ParseLine(text, ++line, trace); !status.ok()) return status;
  }
  return trace;
}

}  // namespace

bool PageTrace::Add(uint64_t page, uint32_t bits) {
  if (pages_.size() == kMaxPages && index_of_.count(page) == 0) return false;
  const auto [at, is_new] = index_of_.try_emplace(page, static_cast<uint32_t>(pages_.size()));
  if (is_new) pages_.push_back(page);
  records_.push_back(at->second | bits);
  if (bits == 0) ++references_;
  return true;
}

absl::StatusOr<PageTrace> ParseTrace(absl::string_view contents, TraceFormat format) {
  absl::StatusOr<PageTrace> trace =
      format == TraceFormat::kLe32 ? ParseLe32(contents) : ParseLis(contents);
  if (trace.ok() && trace->references() == 0) return UsageError("the trace has no reference in it");
  return trace;
}

absl::StatusOr<PageTrace> ReadTrace(const std::string& path, TraceFormat format) {
  const bool standard_input = path == "-";
  const int descriptor = standard_input ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return UsageError(absl::StrCat("--trace=", path, " cannot be opened: ", strerror(errno)));
  }
  const absl::Cleanup closer = [descriptor, standard_input] {
    if (!standard_input) close(descriptor);
  };
  std::string contents;
  std::vector<char> buffer(size_t{1} << 20);
  while (true) {
    const ssize_t n = read(descriptor, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      return UsageError(absl::StrCat("--trace=", path, " cannot be read: ", strerror(errno)));
    }
    if (n == 0) return ParseTrace(contents, format);
    contents.append(buffer.data(), static_cast<size_t>(n));
  }
}

}  // namespace fixpool::benchmarks
