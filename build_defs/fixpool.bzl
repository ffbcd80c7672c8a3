"""The rules that the BUILD files of Fixpool use.

    load("//build_defs:fixpool.bzl", "fixpool_cc_library", "fixpool_cc_test")

    fixpool_cc_library(
        name = "file",
        srcs = ["file.cc"],
        hdrs = ["file.h"],           # included as "fixpool/io/file.h"
        scope = "public",            # "package" (default), "project", "public"
        deps = [
            ":region_id",
            "@abseil-cpp//absl/status:statusor",
        ],
    )

    fixpool_cc_test(                 # in tests/io/BUILD.bazel
        name = "file_test",
        srcs = ["file_test.cc"],     # GoogleTest and its main() are added
        deps = ["//io:file"],
    )

    fixpool_cc_binary(...)           # a program
    fixpool_cc_benchmark(...)        # a Google Benchmark program, for `./run bench`
    fixpool_cc_fuzzer(...)           # a libFuzzer program, for `./run fuzz`

Scopes. "package": that package alone. "project": the layers above, tests and
benchmarks. "public": users as well. Never a layer below: a target of io/ that
depends on one of arena/ is refused by Bazel.

Headers. Those of io/, arena/ and storage/ are included with the prefix
`fixpool/`, here and by users. Helpers in tests/ and benchmarks/ are included by
their path from the root: "tests/io/fake_file.h". A header that is not part of
the target's interface still goes to `hdrs`, of a target with a narrower scope:
files in `srcs` get no prefix.

Tests run outside Bazel's sandbox (see .bazelrc). Tags that mean something here:
"exclusive", the test wants the machine to itself; "once", it says the same
whatever the compiler and its flags, and so runs in the default configuration
only.
"""

load("@rules_cc//cc:cc_binary.bzl", "cc_binary")
load("@rules_cc//cc:cc_library.bzl", "cc_library")
load("@rules_cc//cc:cc_test.bzl", "cc_test")
load("@rules_shell//shell:sh_test.bzl", "sh_test")
load(":layers.bzl", "is_layer", "visibility_of")

# Set per target because .bazelrc does not reach those who build Fixpool from
# their own workspace, and because other people's code is none of our warnings'
# business.
_COPTS = [
    "-std=c++20",
    "-Wall",
    "-Wextra",
]

def fixpool_cc_library(name, scope = "package", copts = [], **kwargs):
    """A cc_library with the project's flags, include prefix and visibility."""
    if "visibility" in kwargs:
        fail("%s: give a scope, not a visibility; see build_defs/fixpool.bzl" % name)
    package = native.package_name()
    if is_layer(package):
        # Both are given because Bazel's versions disagree on what the second
        # is put in front of if the first is missing.
        kwargs["strip_include_prefix"] = "/" + package
        kwargs["include_prefix"] = "fixpool/" + package
    cc_library(
        name = name,
        copts = _COPTS + copts,
        # Programs hold what they use of the library and so can be copied to
        # another machine.
        linkstatic = True,
        visibility = visibility_of(package, scope),
        **kwargs
    )

def fixpool_cc_test(name, deps = [], copts = [], size = "small", **kwargs):
    """A cc_test with GoogleTest and its main()."""
    cc_test(
        name = name,
        size = size,
        copts = _COPTS + copts,
        linkstatic = True,
        deps = deps + [
            "@googletest//:gtest",
            "@googletest//:gtest_main",
        ],
        **kwargs
    )

def fixpool_cc_binary(name, scope = "project", copts = [], **kwargs):
    """A cc_binary with the project's flags."""
    cc_binary(
        name = name,
        copts = _COPTS + copts,
        linkstatic = True,
        visibility = visibility_of(native.package_name(), scope),
        **kwargs
    )

def fixpool_cc_fuzzer(name, **kwargs):
    """A libFuzzer program that `./run fuzz` builds, with --config=fuzz, and runs.

    Manual, because only clang with that configuration can link it.

    Args:
      name: the program; its sources have LLVMFuzzerTestOneInput.
      **kwargs: as for cc_binary.
    """
    fixpool_cc_binary(
        name = name,
        testonly = True,
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["fuzzer", "manual"],
        **kwargs
    )

def fixpool_cc_benchmark(name, deps = [], tags = [], quick_filter = None, **kwargs):
    """A Google Benchmark program that `./run bench` builds and runs.

    It also becomes a test, NAME_runs, that runs each of its benchmarks once with
    FIXPOOL_BENCH_TINY=1 in the environment and FIXPOOL_BENCH_DIR as the
    directory for files.

    Args:
      name: the program.
      deps: Google Benchmark and its main() are added.
      tags: more tags.
      quick_filter: regular expression of the benchmarks that `./run bench` runs
        without --full; all by default. See tools/bench.py.
      **kwargs: as for cc_binary.
    """
    if quick_filter:
        tags = tags + ["quick_filter=" + quick_filter]
    fixpool_cc_binary(
        name = name,
        testonly = True,
        tags = tags + ["bench", "google_benchmark"],
        deps = deps + [
            "@google_benchmark//:benchmark",
            "@google_benchmark//:benchmark_main",
        ],
        **kwargs
    )
    sh_test(
        name = name + "_runs",
        size = "medium",
        srcs = ["//tools:benchmarks_run.py"],
        args = ["$(rootpath :%s)" % name],
        data = [":" + name],
    )
