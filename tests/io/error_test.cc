#include "fixpool/io/error.h"

#include <cerrno>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fixpool::io {
namespace {

using ::testing::HasSubstr;

constexpr ValidationError kAll[] = {
    ValidationError::kUnknownRegion, ValidationError::kStaleGeneration,
    ValidationError::kForeignRegistry, ValidationError::kOutOfRegion, ValidationError::kMisaligned};

TEST(ErrorTest, EachValidationErrorHasItsOwnCodeAndName) {
  std::set<absl::StatusCode> codes;
  std::set<std::string> names;
  for (const ValidationError error : kAll) {
    const absl::Status status = ValidationStatus(error, "the message");
    EXPECT_EQ(status.message(), "the message");
    EXPECT_EQ(ValidationErrorOf(status), error);
    EXPECT_EQ(ErrnoOf(status), 0);
    codes.insert(status.code());
    names.insert(std::string(ValidationErrorName(error)));
  }
  EXPECT_EQ(codes.size(), 5u);
  EXPECT_EQ(names.size(), 5u);
  EXPECT_EQ(ValidationErrorName(static_cast<ValidationError>(99)), "invalid");
}

TEST(ErrorTest, ValidationErrorsHaveTheCodesOfTheHeader) {
  const auto code = [](ValidationError error) { return ValidationStatus(error, "").code(); };
  EXPECT_EQ(code(ValidationError::kUnknownRegion), absl::StatusCode::kNotFound);
  EXPECT_EQ(code(ValidationError::kStaleGeneration), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(ValidationError::kForeignRegistry), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code(ValidationError::kOutOfRegion), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(code(ValidationError::kMisaligned), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ValidationErrorName(ValidationError::kStaleGeneration), "stale_generation");
}

TEST(ErrorTest, OtherStatusesCarryNoKind) {
  EXPECT_FALSE(ValidationErrorOf(absl::OkStatus()).has_value());
  EXPECT_FALSE(ValidationErrorOf(absl::NotFoundError("plain")).has_value());
  EXPECT_FALSE(ValidationErrorOf(ErrnoStatus(EIO, "read")).has_value());
  EXPECT_EQ(ErrnoOf(absl::OkStatus()), 0);
  EXPECT_EQ(ErrnoOf(absl::InternalError("plain")), 0);
}

TEST(ErrorTest, ErrnoRoundTripsForEveryErrno) {
  for (int error_number = 1; error_number < 134; ++error_number) {
    const absl::Status status = ErrnoStatus(error_number, "pread of data.db");
    EXPECT_FALSE(status.ok()) << error_number;
    EXPECT_EQ(ErrnoOf(status), error_number);
    EXPECT_THAT(status.message(), HasSubstr("pread of data.db"));
    EXPECT_THAT(status.message(), HasSubstr(ErrnoName(error_number)));
  }
}

TEST(ErrorTest, ErrnosHaveTheCodesOfTheHeader) {
  const auto code = [](int error_number) { return ErrnoStatus(error_number, "").code(); };
  EXPECT_EQ(code(ENOMEM), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code(EAGAIN), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code(ENOSPC), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code(EIO), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code(ENOSYS), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(code(EOPNOTSUPP), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(code(ENOENT), absl::StatusCode::kNotFound);
  EXPECT_EQ(code(EACCES), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code(EPERM), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code(EINVAL), absl::StatusCode::kInvalidArgument);
}

TEST(ErrorTest, RewordedStatusKeepsItsErrno) {
  const absl::Status status =
      Reworded(ErrnoStatus(EBUSY, "first"), absl::StatusCode::kUnimplemented, "second");
  EXPECT_EQ(ErrnoOf(status), EBUSY);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(status.message(), "second");
  EXPECT_EQ(ErrnoOf(Reworded(absl::OkStatus(), absl::StatusCode::kUnknown, "")), 0);
}

TEST(ErrorTest, ErrnoWithoutANameKeepsItsNumber) {
  const absl::Status status = ErrnoStatus(4095, "odd");
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(ErrnoOf(status), 4095);
  EXPECT_THAT(status.message(), HasSubstr("errno 4095"));
}

TEST(ErrorTest, ErrnoNames) {
  EXPECT_EQ(ErrnoName(0), "");
  EXPECT_EQ(ErrnoName(EPERM), "EPERM");
  EXPECT_EQ(ErrnoName(ENOMEM), "ENOMEM");
  EXPECT_EQ(ErrnoName(4095), "errno 4095");
  EXPECT_EQ(ErrnoName(-1), "errno -1");
}

}  // namespace
}  // namespace fixpool::io
