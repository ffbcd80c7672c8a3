#include "benchmarks/page_io_options.h"

#include <string>
#include <vector>

#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "benchmarks/exit_code.h"
#include "gtest/gtest.h"

namespace fixpool::benchmarks {
namespace {

absl::StatusOr<PageIoCommand> Parse(std::vector<const char*> arguments) {
  const absl::FlagSaver flags_stay_as_they_are;
  return ParsePageIo(arguments);
}

PageIoOptions Options(std::vector<const char*> arguments) {
  arguments.push_back("--file=f");
  const absl::StatusOr<PageIoCommand> command = Parse(arguments);
  EXPECT_TRUE(command.ok()) << command.status();
  return command.ok() ? command->options : PageIoOptions();
}

// The sentence of a usage error.
std::string Refusal(std::vector<const char*> arguments) {
  const absl::StatusOr<PageIoCommand> command = Parse(arguments);
  EXPECT_FALSE(command.ok()) << arguments.front();
  EXPECT_EQ(ExitCodeOf(command.status()), kExitUsage);
  EXPECT_FALSE(absl::StrContains(command.status().message(), "\n"));
  return std::string(command.status().message());
}

TEST(PageIoOptionsTest, Defaults) {
  const PageIoOptions options = Options({});
  EXPECT_EQ(options.file, "f");
  EXPECT_EQ(options.file_bytes, 0u);
  EXPECT_EQ(options.page_bytes, 4096u);
  EXPECT_EQ(options.pattern, Pattern::kRandom);
  EXPECT_EQ(options.operation, Operation::kRead);
  EXPECT_EQ(options.depth, 1u);
  EXPECT_EQ(options.threads, 1u);
  EXPECT_EQ(options.engine, EngineChoice{});
  EXPECT_EQ(options.layer, Layer::kEngine);
  EXPECT_EQ(options.access, Access::kBatches);
  EXPECT_EQ(options.cache_bytes, 0u);
  EXPECT_EQ(options.read_ahead_bytes, 8u << 20);
  EXPECT_TRUE(options.keeper);
  EXPECT_EQ(options.pages, PagesChoice{});
  EXPECT_TRUE(options.direct);
  EXPECT_FALSE(options.verify);
  EXPECT_EQ(options.json, "");
}

TEST(PageIoOptionsTest, TakesValuesWithAndWithoutEquals) {
  const PageIoOptions options =
      Options({"--depth", "32", "-threads=2", "--file_bytes", "1g", "--page_bytes=64k",
               "--seconds=0.5", "--pattern", "sequential", "--operation=mixed", "--layer=cache",
               "--engine=threads", "--pages=4k", "--cache_bytes=10m", "--read_ahead_bytes=1m",
               "--nokeeper", "--access=tasks", "--seed=9", "--json=/x"});
  EXPECT_EQ(options.depth, 32u);
  EXPECT_EQ(options.threads, 2u);
  EXPECT_EQ(options.file_bytes, 1u << 30);
  EXPECT_EQ(options.page_bytes, 65536u);
  EXPECT_EQ(options.seconds, 0.5);
  EXPECT_EQ(options.pattern, Pattern::kSequential);
  EXPECT_EQ(options.operation, Operation::kMixed);
  EXPECT_EQ(options.layer, Layer::kCache);
  EXPECT_EQ(options.access, Access::kTasks);
  EXPECT_EQ(options.engine.required, io::EngineLevel::kThreads);
  EXPECT_EQ(options.pages.required, arena::PageBacking::k4KiB);
  EXPECT_EQ(options.cache_bytes, 10u << 20);
  EXPECT_EQ(options.read_ahead_bytes, 1u << 20);
  EXPECT_FALSE(options.keeper);
  EXPECT_EQ(options.seed, 9u);
  EXPECT_EQ(options.json, "/x");
}

TEST(PageIoOptionsTest, TakesTruthInAllItsForms) {
  EXPECT_TRUE(Options({"--verify"}).verify);
  EXPECT_TRUE(Options({"--verify=true"}).verify);
  EXPECT_TRUE(Options({"--verify=1"}).verify);
  EXPECT_FALSE(Options({"--verify", "--noverify"}).verify);
  EXPECT_FALSE(Options({"--nodirect"}).direct);
  EXPECT_FALSE(Options({"--direct=false"}).direct);
}

TEST(PageIoOptionsTest, TheLastOneCounts) {
  EXPECT_EQ(Options({"--depth=1", "--depth=2"}).depth, 2u);
}

TEST(PageIoOptionsTest, HelpNamesEveryFlag) {
  for (const char* flag : {"--help", "-help", "-h"}) {
    const auto command = Parse({"--depth=1", flag, "--nonsense"});
    ASSERT_TRUE(command.ok());
    EXPECT_TRUE(command->help);
  }
  const std::string help = PageIoHelp();
  for (absl::string_view line : absl::StrSplit(help, '\n')) EXPECT_LE(line.size(), 90u) << line;
  for (const char* flag :
       {"--file", "--file_bytes", "--page_bytes", "--pattern", "--operation", "--depth",
        "--threads", "--engine", "--layer", "--cache_bytes", "--read_ahead_bytes", "--keeper",
        "--access", "--pages", "--direct", "--seconds", "--seed", "--verify", "--json"}) {
    EXPECT_TRUE(absl::StrContains(help, absl::string_view(std::string(flag) + " ")) ||
                absl::StrContains(help, std::string(flag) + "\n"))
        << flag;
  }
}

TEST(PageIoOptionsTest, RefusesWhatIsNoFlag) {
  EXPECT_EQ(Refusal({"--file=f", "--wibble"}),
            "there is no flag '--wibble'; --help lists those there are");
  EXPECT_EQ(Refusal({"--wibble=3"}), "there is no flag '--wibble'; --help lists those there are");
  EXPECT_EQ(Refusal({"--nodepth"}), "there is no flag '--nodepth'; --help lists those there are");
  EXPECT_EQ(Refusal({"--nodirect=true"}),
            "there is no flag '--nodirect'; --help lists those there are");
  EXPECT_EQ(Refusal({"--=1"}), "there is no flag '--'; --help lists those there are");
  for (const char* text : {"f", "-", "--", ""}) {
    EXPECT_EQ(Refusal({"--file=f", text}),
              "'" + std::string(text) + "' is not a flag, and page_io takes flags only");
  }
  EXPECT_EQ(Refusal({"--direct", "false"}), "'false' is not a flag, and page_io takes flags only");
}

TEST(PageIoOptionsTest, RefusesAFlagWithoutAValue) {
  EXPECT_EQ(Refusal({"--file"}), "--file needs a value");
  EXPECT_EQ(Refusal({"--file", "--depth=1"}), "--file needs a value");
  EXPECT_EQ(Refusal({"--file="}), "--file needs a value");
  EXPECT_EQ(Refusal({"--file", ""}), "--file needs a value");
  EXPECT_EQ(Refusal({"--file=f", "--json="}), "--json needs a value");
  EXPECT_EQ(Refusal({"--depth="}), "--depth needs a value");
}

TEST(PageIoOptionsTest, RefusesValuesThatAreNone) {
  for (const char* bad :
       {"--depth=-1", "--depth=x", "--depth=1.5", "--depth=4294967296", "--threads=-1",
        "--file_bytes=-4096", "--file_bytes=99999999999999999999", "--page_bytes=4x",
        "--cache_bytes=lots", "--pattern=zigzag", "--operation=readwrite", "--engine=libaio",
        "--layer=disk", "--pages=8k", "--direct=perhaps", "--seconds=soon", "--seed=-1",
        "--verify=maybe", "--file_bytes=0"}) {
    EXPECT_FALSE(Refusal({"--file=f", bad}).empty()) << bad;
  }
}

TEST(PageIoOptionsTest, SaysWhatAValueHasToBe) {
  EXPECT_EQ(Refusal({"--file=f", "--depth=x"}), "--depth=x: it is a whole number");
  EXPECT_EQ(Refusal({"--file=f", "--seed", "-1"}), "--seed=-1: it is a whole number");
  EXPECT_EQ(Refusal({"--file=f", "--seconds=soon"}), "--seconds=soon: it is a number");
  EXPECT_EQ(Refusal({"--file=f", "--direct=perhaps"}), "--direct=perhaps: it is true or false");
  EXPECT_EQ(Refusal({"--file=f", "--layer=disk"}), "--layer=disk: it is one of engine, cache");
  EXPECT_EQ(Refusal({"--file=f", "--file_bytes=0"}), "--file_bytes=0: a size is more than 0");
}

TEST(PageIoOptionsTest, RefusesValuesOutOfRange) {
  EXPECT_EQ(Refusal({"--depth=1"}), "--file is required: the file to work on");
  EXPECT_EQ(Refusal({"--file=f", "--depth=0"}), "--depth is 1 to 4096, not 0");
  EXPECT_EQ(Refusal({"--file=f", "--depth=4097"}), "--depth is 1 to 4096, not 4097");
  EXPECT_EQ(Refusal({"--file=f", "--threads=0"}), "--threads is 1 to 256, not 0");
  EXPECT_EQ(Refusal({"--file=f", "--threads=257"}), "--threads is 1 to 256, not 257");
  for (const char* bad :
       {"--seconds=0", "--seconds=-1", "--seconds=nan", "--seconds=inf", "--seconds=1e7"}) {
    EXPECT_TRUE(absl::StartsWith(Refusal({"--file=f", bad}), "--seconds is more than 0")) << bad;
  }
  for (const char* bad :
       {"--page_bytes=512", "--page_bytes=2048", "--page_bytes=5000", "--page_bytes=2m"}) {
    EXPECT_TRUE(absl::StartsWith(Refusal({"--file=f", bad}), "--page_bytes is a power of two"))
        << bad;
  }
  EXPECT_EQ(Refusal({"--file=f", "--file_bytes=6000"}),
            "--file_bytes, 6000, is not a multiple of --page_bytes, 4096");
  EXPECT_EQ(Refusal({"--file=f", "--file_bytes=1000", "--page_bytes=4k"}),
            "--file_bytes, 1000, is not a multiple of --page_bytes, 4096");
  EXPECT_TRUE(absl::EndsWith(Refusal({"--file=f", "--file_bytes=16000000t"}),
                             "is more than any file can hold"));
}

}  // namespace
}  // namespace fixpool::benchmarks
