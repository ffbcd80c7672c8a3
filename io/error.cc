#include "fixpool/io/error.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace fixpool::io {
namespace {

constexpr absl::string_view kValidationUrl = "fixpool/validation_error";
constexpr absl::string_view kErrnoUrl = "fixpool/errno";

constexpr ValidationError kAllErrors[] = {
    ValidationError::kUnknownRegion, ValidationError::kStaleGeneration,
    ValidationError::kForeignRegistry, ValidationError::kOutOfRegion,
    ValidationError::kMisaligned};

absl::StatusCode CodeOf(ValidationError error) {
  switch (error) {
    case ValidationError::kUnknownRegion:
      return absl::StatusCode::kNotFound;
    case ValidationError::kStaleGeneration:
      return absl::StatusCode::kFailedPrecondition;
    case ValidationError::kForeignRegistry:
      return absl::StatusCode::kPermissionDenied;
    case ValidationError::kOutOfRegion:
      return absl::StatusCode::kOutOfRange;
    case ValidationError::kMisaligned:
      return absl::StatusCode::kInvalidArgument;
  }
  return absl::StatusCode::kInternal;
}

absl::StatusCode CodeOfErrno(int error_number) {
  switch (error_number) {
    case ENOMEM:
    case EAGAIN:
      return absl::StatusCode::kResourceExhausted;
    case EIO:
      return absl::StatusCode::kUnavailable;
    case ENOSYS:
    case EOPNOTSUPP:
      return absl::StatusCode::kUnimplemented;
    default:
      return absl::ErrnoToStatusCode(error_number);
  }
}

}  // namespace

absl::string_view ValidationErrorName(ValidationError error) {
  switch (error) {
    case ValidationError::kUnknownRegion:
      return "unknown_region";
    case ValidationError::kStaleGeneration:
      return "stale_generation";
    case ValidationError::kForeignRegistry:
      return "foreign_registry";
    case ValidationError::kOutOfRegion:
      return "out_of_region";
    case ValidationError::kMisaligned:
      return "misaligned";
  }
  return "invalid";
}

absl::Status ValidationStatus(ValidationError error, absl::string_view message) {
  absl::Status status(CodeOf(error), message);
  status.SetPayload(kValidationUrl, absl::Cord(ValidationErrorName(error)));
  return status;
}

std::optional<ValidationError> ValidationErrorOf(const absl::Status& status) {
  const absl::optional<absl::Cord> name = status.GetPayload(kValidationUrl);
  if (!name.has_value()) return std::nullopt;
  for (const ValidationError error : kAllErrors) {
    if (*name == ValidationErrorName(error)) return error;
  }
  return std::nullopt;
}

absl::Status ErrnoStatus(int error_number, absl::string_view context) {
  // strerrordesc_np (glibc 2.32) is thread-safe, strerror is not.
  const char* description = strerrordesc_np(error_number);
  absl::Status status(CodeOfErrno(error_number),
                      absl::StrCat(context, ": ", description != nullptr ? description : "?", " (",
                                   ErrnoName(error_number), ")"));
  status.SetPayload(kErrnoUrl, absl::Cord(absl::string_view(absl::StrCat(error_number))));
  return status;
}

absl::Status Reworded(const absl::Status& status, absl::StatusCode code,
                      absl::string_view message) {
  absl::Status result(code, message);
  status.ForEachPayload(
      [&result](absl::string_view url, const absl::Cord& value) { result.SetPayload(url, value); });
  return result;
}

int ErrnoOf(const absl::Status& status) {
  const absl::optional<absl::Cord> text = status.GetPayload(kErrnoUrl);
  int error_number = 0;
  if (text.has_value() && absl::SimpleAtoi(std::string(*text), &error_number)) return error_number;
  return 0;
}

std::string ErrnoName(int error_number) {
  if (error_number == 0) return "";
  const char* name = strerrorname_np(error_number);
  return name != nullptr ? std::string(name) : absl::StrCat("errno ", error_number);
}

}  // namespace fixpool::io
