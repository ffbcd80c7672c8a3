#ifndef FIXPOOL_TESTS_CRASH_ARGUMENTS_H_
#define FIXPOOL_TESTS_CRASH_ARGUMENTS_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

namespace fixpool::tests {

// The `--name=value` and `--name` of a command line, for programs of a dozen lines.
//
//   Arguments arguments(argc, argv);
//   const uint64_t seed = arguments.Number("seed", 1);
//   arguments.EndIfUnused();                  // what nobody asked for ends the program, code 2
//
// A value: thread-compatible.
class Arguments {
 public:
  Arguments(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      const std::string argument = argv[i];
      if (argument.rfind("--", 0) != 0) End(argument);
      const size_t equals = argument.find('=');
      given_[argument.substr(2, equals == std::string::npos ? equals : equals - 2)] =
          equals == std::string::npos ? "" : argument.substr(equals + 1);
    }
  }

  std::string Text(const std::string& name, const std::string& otherwise) {
    const auto found = given_.extract(name);
    return found.empty() ? otherwise : found.mapped();
  }
  uint64_t Number(const std::string& name, uint64_t otherwise) {
    return Parsed<uint64_t>(
        name, otherwise, [](const char* text, char** end) { return std::strtoull(text, end, 10); });
  }
  double Rate(const std::string& name) {
    return Parsed<double>(name, 0.0,
                          [](const char* text, char** end) { return std::strtod(text, end); });
  }
  bool Flag(const std::string& name) { return !given_.extract(name).empty(); }

  void EndIfUnused() const {
    if (!given_.empty()) End("--" + given_.begin()->first);
  }

 private:
  [[noreturn]] static void End(const std::string& argument) {
    std::fprintf(stderr, "not understood: %s\n", argument.c_str());
    std::exit(2);
  }
  template <typename T, typename Parse>
  T Parsed(const std::string& name, T otherwise, const Parse& parse) {
    const auto found = given_.extract(name);
    if (found.empty()) return otherwise;
    char* end = nullptr;
    const T value = parse(found.mapped().c_str(), &end);
    if (found.mapped().empty() || *end != '\0') End("--" + name + "=" + found.mapped());
    return value;
  }

  std::map<std::string, std::string> given_;
};

}  // namespace fixpool::tests

#endif  // FIXPOOL_TESTS_CRASH_ARGUMENTS_H_
