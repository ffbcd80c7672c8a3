#ifndef FIXPOOL_BENCHMARKS_FLAG_VALUES_H_
#define FIXPOOL_BENCHMARKS_FLAG_VALUES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "fixpool/arena/page_backing.h"
#include "fixpool/io/io_engine.h"

// The types of page_io's flags. Each has the two functions by which Abseil finds out how
// to read and how to print it; reading refuses with the words that the user gets to see.
namespace fixpool::benchmarks {

// A number of bytes: "4096", "64k", "1GiB". Never 0 when read from a flag, so that a 0
// in a default can mean "not given".
struct ByteSize {
  uint64_t bytes = 0;
  friend bool operator==(ByteSize, ByteSize) = default;
};

enum class Pattern { kRandom, kSequential };
enum class Operation { kRead, kWrite, kMixed };
enum class Layer { kEngine, kCache };
enum class Access { kBatches, kTasks };

// An engine that must be used, or the best there is ("auto").
struct EngineChoice {
  std::optional<io::EngineLevel> required;
  friend bool operator==(EngineChoice, EngineChoice) = default;
};

// A kind of memory that must be used, or the best there is ("auto").
struct PagesChoice {
  std::optional<arena::PageBacking> required;
  friend bool operator==(PagesChoice, PagesChoice) = default;
};

bool AbslParseFlag(absl::string_view text, ByteSize* value, std::string* error);
bool AbslParseFlag(absl::string_view text, Pattern* value, std::string* error);
bool AbslParseFlag(absl::string_view text, Operation* value, std::string* error);
bool AbslParseFlag(absl::string_view text, Layer* value, std::string* error);
bool AbslParseFlag(absl::string_view text, Access* value, std::string* error);
bool AbslParseFlag(absl::string_view text, EngineChoice* value, std::string* error);
bool AbslParseFlag(absl::string_view text, PagesChoice* value, std::string* error);

std::string AbslUnparseFlag(ByteSize value);
std::string AbslUnparseFlag(Pattern value);
std::string AbslUnparseFlag(Operation value);
std::string AbslUnparseFlag(Layer value);
std::string AbslUnparseFlag(Access value);
std::string AbslUnparseFlag(EngineChoice value);
std::string AbslUnparseFlag(PagesChoice value);

}  // namespace fixpool::benchmarks

#endif  // FIXPOOL_BENCHMARKS_FLAG_VALUES_H_
