#ifndef FIXPOOL_BENCHMARKS_EXIT_CODE_H_
#define FIXPOOL_BENCHMARKS_EXIT_CODE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace fixpool::benchmarks {

// What page_io tells its caller. A script can branch on these; they do not change.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // the machine did not play along: I/O error, no such engine
inline constexpr int kExitUsage = 2;   // the command line asks for something that cannot be
inline constexpr int kExitWrongData = 3;  // --verify found a byte that should not be there

// Errors that end the program with the exit code of their name. The code rides along as
// a payload, because the library's own errors use the same canonical codes.
absl::Status UsageError(absl::string_view sentence);
absl::Status WrongDataError(absl::string_view sentence);

// kExitOk for OK, kExitFailed for any error that is not one of the two above.
int ExitCodeOf(const absl::Status& status);

// The message as one line, whatever it holds, for standard error.
std::string SentenceOf(const absl::Status& status);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_EXIT_CODE_H_
