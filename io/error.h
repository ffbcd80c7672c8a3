#ifndef FIXPOOL_IO_ERROR_H_
#define FIXPOOL_IO_ERROR_H_

#include "fixpool/io/require_cpp20.h"

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace fixpool::io {

// How errors travel. Every boundary of the library returns absl::Status; nothing
// throws. Two facts that a program may want to branch on, beyond the canonical
// code, ride along as payloads and are read with the functions below.
//
//   absl::Status status = engine->AddFile(file).status();
//   if (ErrnoOf(status) == EOPNOTSUPP) ...
//
// All functions here are thread-safe.

// What exactly is wrong with a (region, address, length) triple.
enum class ValidationError {
  kUnknownRegion,    // NotFound: no such slot, or a generation that its slot has not come to
  kStaleGeneration,  // FailedPrecondition: the region was (or is being) unregistered
  kForeignRegistry,  // PermissionDenied: the id was issued by another registry
  kOutOfRegion,      // OutOfRange: bytes outside the region, or pointer + length wraps
  kMisaligned,       // InvalidArgument: address or length is not a multiple of the alignment
};

// "stale_generation" and the like: stable, for logs and payloads.
absl::string_view ValidationErrorName(ValidationError error);

// A Status with the code of the table above, `message`, and the kind as payload.
absl::Status ValidationStatus(ValidationError error, absl::string_view message);

// The kind, if `status` came out of a validation.
std::optional<ValidationError> ValidationErrorOf(const absl::Status& status);

// A Status for a failed system call. The code is the canonical one for the errno,
// with these exceptions, where the canonical code would mislead the caller:
//   ENOMEM, EAGAIN on registration -> ResourceExhausted (see the registry)
//   EIO                            -> DataLoss is *not* used: Unavailable; the page
//                                     may be readable later or from a replica
//   ENOSYS, EOPNOTSUPP             -> Unimplemented
// `context` names the operation and its object: "pread of data.db at offset 4096".
absl::Status ErrnoStatus(int error_number, absl::string_view context);

// The payloads of `status` under another code and message.
absl::Status Reworded(const absl::Status& status, absl::StatusCode code, absl::string_view message);

// The errno behind a Status made by ErrnoStatus, or 0.
int ErrnoOf(const absl::Status& status);

// "EPERM", or "errno 4095" for a number without a name; empty for 0.
std::string ErrnoName(int error_number);

}  // namespace fixpool::io

#endif  // FIXPOOL_IO_ERROR_H_
