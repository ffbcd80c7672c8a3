#include "fixpool/storage/transfer.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "fixpool/io/error.h"
#include "fixpool/storage/mutation.h"

namespace fixpool::storage {

absl::Status CheckHandle(const CacheState& state, FrameIndex index, const arena::PageHandle& handle,
                         absl::string_view operation) {
  const std::optional<io::ValidationError> error = state.arena->Check(handle);
  if (!error.has_value() || Mutated(Mutation::kAcceptStaleHandle)) return absl::OkStatus();
  return io::ValidationStatus(
      *error, absl::StrCat(operation, " of ", state.NameOf(state.PageIn(index)),
                           ": refused, because the handle of its frame is not valid (",
                           io::ValidationErrorName(*error),
                           "): ", state.arena->Validate(handle).message()));
}

void AddTransfer(CacheState& state, TransferKind kind, FrameIndex index,
                 const arena::PageHandle& handle, IoBatch& batch) {
  PageFile& file = state.FileOf(index);
  ++file.in_flight;
  ++state.transfers;
  if (kind == TransferKind::kWrite) ++state.writes_in_flight;
  batch.Add(
      {.operation = kind == TransferKind::kRead ? io::IoOperation::kRead : io::IoOperation::kWrite,
       .file = file.handle,
       .region = handle.region,
       .data = state.DataOf(index),
       .length_bytes = state.page_bytes,
       .offset_bytes = state.frames[index].page_number() * state.page_bytes,
       .user_data = UserData(kind, ToInt(index)),
       .atomic = kind == TransferKind::kWrite && file.protection == TornPageProtection::kAtomic});
}

}  // namespace fixpool::storage
