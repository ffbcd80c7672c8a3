// A process that changes pages until it is killed, or the file system under it is. See
// docs/crash_testing.md.
//
//   crash_writer --directory=DIR --seed=S --run_seed=S [--verify] [--no_page_images]
//     [--mutation=skip_sync]
//
// Says on stdout "recovered T R P" (transactions, of these replayed, torn pages) when it has
// recovered; then either "ack N" when all up to transaction N are durable, or "verified". Ends with
// its parent. Exit codes: writer_codes.h; the reason is on stderr.

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "fixpool/storage/mutation.h"
#include "tests/crash/arguments.h"
#include "tests/crash/writer.h"
#include "tests/crash/writer_codes.h"

namespace fixpool::tests {
namespace {

// In one piece, so that a kill leaves no half line.
void Say(const std::string& line) {
  const std::string text = line + "\n";
  if (write(STDOUT_FILENO, text.data(), text.size()) < 0) _exit(kWriterUsage);
}

int CodeOf(const absl::Status& status) {
  if (status.ok()) return kWriterDone;
  std::fprintf(stderr, "crash_writer: %s\n", status.ToString().c_str());
  if (absl::IsDataLoss(status)) return kWriterFoundWrong;
  return absl::IsInternal(status) ? kWriterStuck : kWriterStorageFailed;
}

bool Mutate(const std::string& name) {
  if (name.empty()) return true;
#ifdef FIXPOOL_MUTATIONS
  if (name == "skip_sync") {
    storage::g_mutation = storage::Mutation::kSkipSync;
    return true;
  }
#endif
  std::fprintf(stderr, "crash_writer: no mutation %s in this build\n", name.c_str());
  return false;
}

int Main(int argc, char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Arguments arguments(argc, argv);
  const bool verify = arguments.Flag("verify");
  const bool describe = arguments.Flag("describe");
  const std::string mutation = arguments.Text("mutation", "");
  const Writer::Options options{.directory = arguments.Text("directory", ""),
                                .seed = arguments.Number("seed", 1),
                                .run_seed = arguments.Number("run_seed", 1),
                                .page_images = !arguments.Flag("no_page_images"),
                                .ask_cache = mutation.empty()};
  arguments.EndIfUnused();
  if (!Mutate(mutation)) return kWriterCannotMutate;

  absl::StatusOr<std::unique_ptr<Writer>> writer = Writer::Open(options);
  if (!writer.ok()) return CodeOf(writer.status());
  if (describe) std::fprintf(stderr, "%s\n", (*writer)->Describe().c_str());
  const Writer::Recovery& recovery = (*writer)->recovery();
  Say(absl::StrCat("recovered ", recovery.transactions, " ", recovery.replayed, " ",
                   recovery.torn_pages));
  if (!verify) {
    return CodeOf((*writer)->Run([](uint64_t number) { Say(absl::StrCat("ack ", number)); }));
  }
  const absl::Status status = (*writer)->Verify();
  if (status.ok()) Say("verified");
  return CodeOf(status);
}

}  // namespace
}  // namespace fixpool::tests

int main(int argc, char** argv) { return fixpool::tests::Main(argc, argv); }
