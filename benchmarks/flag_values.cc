#include "benchmarks/flag_values.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace fixpool::benchmarks {
namespace {

template <typename T>
struct Word {
  absl::string_view text;
  T value;
};

constexpr std::array<Word<Pattern>, 2> kPatterns = {
    {{"random", Pattern::kRandom}, {"sequential", Pattern::kSequential}}};

constexpr std::array<Word<Operation>, 3> kOperations = {
    {{"read", Operation::kRead}, {"write", Operation::kWrite}, {"mixed", Operation::kMixed}}};

constexpr std::array<Word<Layer>, 2> kLayers = {
    {{"engine", Layer::kEngine}, {"cache", Layer::kCache}}};

constexpr std::array<Word<Access>, 2> kAccesses = {
    {{"batches", Access::kBatches}, {"tasks", Access::kTasks}}};

std::array<Word<EngineChoice>, 4> Engines() {
  const auto word = [](io::EngineLevel level) {
    return Word<EngineChoice>{io::EngineLevelName(level), {level}};
  };
  return {{{"auto", {}},
           word(io::EngineLevel::kUringFixed),
           word(io::EngineLevel::kUringPlain),
           word(io::EngineLevel::kThreads)}};
}

std::array<Word<PagesChoice>, 5> Pages() {
  const auto word = [](arena::PageBacking backing) {
    return Word<PagesChoice>{arena::PageBackingName(backing), {backing}};
  };
  return {{{"auto", {}},
           word(arena::PageBacking::k1GiB),
           word(arena::PageBacking::k2MiB),
           word(arena::PageBacking::kTransparent),
           word(arena::PageBacking::k4KiB)}};
}

template <typename T, size_t kCount>
bool ParseWord(const std::array<Word<T>, kCount>& words, absl::string_view text, T* value,
               std::string* error) {
  *error = "it is one of";
  for (const Word<T>& word : words) {
    if (word.text == text) {
      *value = word.value;
      error->clear();
      return true;
    }
    absl::StrAppend(error, &word == &words[0] ? " " : ", ", word.text);
  }
  return false;
}

template <typename T, size_t kCount>
std::string UnparseWord(const std::array<Word<T>, kCount>& words, T value) {
  for (const Word<T>& word : words) {
    if (word.value == value) return std::string(word.text);
  }
  return "";
}

// How far the unit behind a number shifts it: "" 0, "k" and "KiB" 10, ...; -1: no unit.
int ShiftOf(absl::string_view unit) {
  constexpr absl::string_view kUnits = "kmgt";
  if (unit.empty()) return 0;
  const size_t index = kUnits.find(absl::ascii_tolower(static_cast<unsigned char>(unit[0])));
  const absl::string_view rest = unit.substr(1);
  if (index == absl::string_view::npos) return -1;
  if (!rest.empty() && !absl::EqualsIgnoreCase(rest, "ib")) return -1;
  return 10 * static_cast<int>(index + 1);
}

}  // namespace

bool AbslParseFlag(absl::string_view text, ByteSize* value, std::string* error) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const int shift = ShiftOf(text.substr(digits));
  uint64_t number = 0;
  if (digits == 0 || shift < 0) {
    *error = "a size is a whole number, of bytes or with k, m, g or t behind it";
    return false;
  }
  if (!absl::SimpleAtoi(text.substr(0, digits), &number) ||
      number > std::numeric_limits<uint64_t>::max() >> shift) {
    *error = "that is more than 64 bits can count";
    return false;
  }
  if (number == 0) {
    *error = "a size is more than 0";
    return false;
  }
  value->bytes = number << shift;
  return true;
}

std::string AbslUnparseFlag(ByteSize value) {
  return value.bytes == 0 ? "" : absl::StrCat(value.bytes);
}

bool AbslParseFlag(absl::string_view text, Pattern* value, std::string* error) {
  return ParseWord(kPatterns, text, value, error);
}
bool AbslParseFlag(absl::string_view text, Operation* value, std::string* error) {
  return ParseWord(kOperations, text, value, error);
}
bool AbslParseFlag(absl::string_view text, Layer* value, std::string* error) {
  return ParseWord(kLayers, text, value, error);
}
bool AbslParseFlag(absl::string_view text, Access* value, std::string* error) {
  return ParseWord(kAccesses, text, value, error);
}
bool AbslParseFlag(absl::string_view text, EngineChoice* value, std::string* error) {
  return ParseWord(Engines(), text, value, error);
}
bool AbslParseFlag(absl::string_view text, PagesChoice* value, std::string* error) {
  return ParseWord(Pages(), text, value, error);
}

std::string AbslUnparseFlag(Pattern value) { return UnparseWord(kPatterns, value); }
std::string AbslUnparseFlag(Operation value) { return UnparseWord(kOperations, value); }
std::string AbslUnparseFlag(Layer value) { return UnparseWord(kLayers, value); }
std::string AbslUnparseFlag(Access value) { return UnparseWord(kAccesses, value); }
std::string AbslUnparseFlag(EngineChoice value) { return UnparseWord(Engines(), value); }
std::string AbslUnparseFlag(PagesChoice value) { return UnparseWord(Pages(), value); }

}  // namespace fixpool::benchmarks
