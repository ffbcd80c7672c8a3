#ifndef FIXPOOL_BENCHMARKS_SUPPORT_NOT_HERE_H_
#define FIXPOOL_BENCHMARKS_SUPPORT_NOT_HERE_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace fixpool::benchmarks {

// Ends a benchmark that this machine cannot run, for want of io_uring or huge pages, say: the
// reason appears in its place. What went wrong, though it could have gone well, is for
// State::SkipWithError. `State` is benchmark::State.
//
// Google Benchmark tells the two apart from 1.8 on. Before, both are errors, and this one is
// known by its first words.
template <typename State>
void SkipNotHere(State& state, absl::string_view reason) {
  const std::string message = absl::StrCat("not on this machine: ", reason);
  if constexpr (requires { state.SkipWithMessage(message); }) {
    state.SkipWithMessage(message);
  } else {
    state.SkipWithError(message.c_str());
  }
}

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_SUPPORT_NOT_HERE_H_
