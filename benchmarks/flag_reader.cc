#include "benchmarks/flag_reader.h"

#include <cstddef>
#include <cstdint>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "benchmarks/exit_code.h"

namespace fixpool::benchmarks {
namespace {

bool IsBool(const absl::CommandLineFlag& flag) { return flag.IsOfType<bool>(); }

// Why a value was refused. `error` is Abseil's sentence; the words of our own types are what
// comes after a semicolon in it, and for the other types there are none.
std::string ReasonOf(const absl::CommandLineFlag& flag, const std::string& error) {
  if (IsBool(flag)) return "it is true or false";
  if (flag.IsOfType<double>()) return "it is a number";
  if (flag.IsOfType<uint32_t>() || flag.IsOfType<uint64_t>()) return "it is a whole number";
  const size_t semicolon = error.find("; ");
  return semicolon == std::string::npos ? error : error.substr(semicolon + 2);
}

// Breaks `text` into lines of at most 80 characters, each with `indent` before it.
std::string Lines(absl::string_view text, absl::string_view indent) {
  constexpr size_t kWidth = 80;
  std::string lines;
  size_t width = kWidth;
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    const bool fits = width + 1 + word.size() <= kWidth;
    absl::StrAppend(&lines, fits ? " " : lines.empty() ? "" : "\n", fits ? "" : indent, word);
    width = (fits ? width + 1 : indent.size()) + word.size();
  }
  return lines + "\n";
}

// Reads arguments one by one and sets the flags that they name.
class ArgumentReader {
 public:
  ArgumentReader(const FlagSet& set, absl::Span<const char* const> arguments)
      : set_(set), arguments_(arguments) {}

  // True: --help was among them.
  absl::StatusOr<bool> ReadAll() {
    while (next_ < arguments_.size()) {
      const absl::string_view argument = arguments_[next_++];
      absl::string_view body = argument;
      if (!absl::ConsumePrefix(&body, "-") || body.empty() || argument == "--") {
        return UsageError(absl::StrCat("'", argument, "' is not a flag, and ", set_.program,
                                       " takes flags only"));
      }
      absl::ConsumePrefix(&body, "-");
      if (body == "help" || body == "h") return true;
      if (absl::Status status = ReadOne(argument, body); !status.ok()) return status;
    }
    return false;
  }

 private:
  absl::CommandLineFlag* FindFlag(absl::string_view name) const {
    for (absl::string_view known : set_.flags) {
      if (known == name) return absl::FindCommandLineFlag(name);
    }
    return nullptr;
  }

  absl::Status ReadOne(absl::string_view argument, absl::string_view body) {
    const size_t equals = body.find('=');
    const absl::string_view name = body.substr(0, equals);
    if (absl::CommandLineFlag* flag = FindFlag(name)) {
      if (equals != absl::string_view::npos) return Set(*flag, body.substr(equals + 1));
      if (IsBool(*flag)) return Set(*flag, "true");
      return SetFromNextArgument(*flag);
    }
    absl::string_view positive = name;
    if (absl::ConsumePrefix(&positive, "no") && equals == absl::string_view::npos) {
      absl::CommandLineFlag* flag = FindFlag(positive);
      if (flag != nullptr && IsBool(*flag)) return Set(*flag, "false");
    }
    return UsageError(absl::StrCat("there is no flag '", argument.substr(0, argument.find('=')),
                                   "'; --help lists those there are"));
  }

  absl::Status SetFromNextArgument(absl::CommandLineFlag& flag) {
    // A value that begins with two dashes can be given with '='.
    if (next_ == arguments_.size() || absl::StartsWith(arguments_[next_], "--")) {
      return UsageError(absl::StrCat("--", flag.Name(), " needs a value"));
    }
    return Set(flag, arguments_[next_++]);
  }

  static absl::Status Set(absl::CommandLineFlag& flag, absl::string_view value) {
    // An empty path is a script's unset variable, not a wish.
    if (value.empty()) return UsageError(absl::StrCat("--", flag.Name(), " needs a value"));
    std::string error;
    if (flag.ParseFrom(value, &error)) return absl::OkStatus();
    return UsageError(absl::StrCat("--", flag.Name(), "=", value, ": ", ReasonOf(flag, error)));
  }

  const FlagSet set_;
  const absl::Span<const char* const> arguments_;
  size_t next_ = 0;
};

}  // namespace

absl::StatusOr<bool> ReadFlags(const FlagSet& set, absl::Span<const char* const> arguments) {
  return ArgumentReader(set, arguments).ReadAll();
}

std::string FlagsHelp(absl::Span<const absl::string_view> flags) {
  std::string help;
  for (absl::string_view name : flags) {
    const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    const std::string value = flag->DefaultValue();
    absl::StrAppend(&help, "  --", name);
    if (!value.empty() && value != "\"\"") absl::StrAppend(&help, " (default ", value, ")");
    absl::StrAppend(&help, "\n", Lines(flag->Help(), "      "));
  }
  return help;
}

}  // namespace fixpool::benchmarks
