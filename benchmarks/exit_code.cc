#include "benchmarks/exit_code.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_replace.h"
#include "absl/types/optional.h"

namespace fixpool::benchmarks {
namespace {

constexpr absl::string_view kPayloadUrl = "fixpool.benchmarks/exit_code";
constexpr absl::string_view kUsage = "usage";
constexpr absl::string_view kWrongData = "wrong data";

absl::Status WithPayload(absl::Status status, absl::string_view payload) {
  status.SetPayload(kPayloadUrl, absl::Cord(payload));
  return status;
}

}  // namespace

absl::Status UsageError(absl::string_view sentence) {
  return WithPayload(absl::InvalidArgumentError(sentence), kUsage);
}

absl::Status WrongDataError(absl::string_view sentence) {
  return WithPayload(absl::DataLossError(sentence), kWrongData);
}

int ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kExitOk;
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  if (!payload.has_value()) return kExitFailed;
  return *payload == kUsage ? kExitUsage : kExitWrongData;
}

std::string SentenceOf(const absl::Status& status) {
  return absl::StrReplaceAll(status.message(), {{"\n", " "}, {"\r", " "}});
}

}  // namespace fixpool::benchmarks
