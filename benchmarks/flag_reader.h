#ifndef FIXPOOL_BENCHMARKS_FLAG_READER_H_
#define FIXPOOL_BENCHMARKS_FLAG_READER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace fixpool::benchmarks {

// The flags of a program: those of Abseil's that it defines, and not what another library that
// happens to be linked in does.
struct FlagSet {
  absl::string_view program;
  absl::Span<const absl::string_view> flags;  // their names, in the order of --help
};

// Sets the flags that `arguments`, those behind the program's name, give. True: --help was among
// them, and the rest was not looked at.
// UsageError, with one sentence: an unknown flag, a flag without a value, a value that is none, a
// positional argument. Abseil's own parser would do this too, but with exit code 1 and several
// lines. Values stay set, so one call a process, or an absl::FlagSaver around each.
// Not thread-safe.
absl::StatusOr<bool> ReadFlags(const FlagSet& set, absl::Span<const char* const> arguments);

// For --help: each flag with its default and its text.
std::string FlagsHelp(absl::Span<const absl::string_view> flags);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_FLAG_READER_H_
