#include "fixpool/storage/file_sync.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "fixpool/io/check.h"
#include "fixpool/storage/double_write_area.h"
#include "fixpool/storage/mutation.h"

namespace fixpool::storage {

void BeginSync(CacheState&, PageFile& file) {
  FIXPOOL_CHECK(!file.sync_in_flight(), "two syncs of one file at once");
  ++file.in_flight;
  ++file.syncs_started;
  file.unsynced = false;
  file.unsynced_lsns.BeginSync();
  if (file.area != nullptr) file.area->ring.BeginSync();
}

void EndSync(CacheState& state, FileId id, const absl::Status& status,
             std::vector<std::string>& messages) {
  PageFile& file = state.files.at(id);
  --file.in_flight;
  ++file.syncs_ended;
  file.unsynced_lsns.EndSync(status.ok());
  if (file.area != nullptr) file.area->ring.EndSync(status.ok());
  if (status.ok()) {
    ++state.counters.syncs;
    return;
  }
  ++state.counters.sync_errors;
  file.unsynced = true;
  Poison(state, file, "a sync of it failed", status, messages);
}

void Poison(CacheState& state, PageFile& file, absl::string_view what, const absl::Status& why,
            std::vector<std::string>& messages) {
  if (!file.poison.ok() || Mutated(Mutation::kCleanAfterFailedSync)) return;
  std::string message =
      absl::StrCat(file.path(), " takes no more writes, because ", what, " and it cannot be known ",
                   "which of the pages written before are on disk; close it with ",
                   "CloseOptions::discard_changes and open it again: ", why.message());
  file.poison = absl::Status(why.code(), message);
  state.UpdateWritable(file);
  state.waiters.WakeAll();  // among them those who want to write the file
  state.WakeThrottled();
  why.ForEachPayload([&file](absl::string_view url, const absl::Cord& payload) {
    file.poison.SetPayload(url, payload);
  });
  messages.push_back(std::move(message));
}

}  // namespace fixpool::storage
