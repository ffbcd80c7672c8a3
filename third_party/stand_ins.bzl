"""Shows packages of the system to Bazel under their registry labels.

For Bazel 4 to 6. In a WORKSPACE, after the repository that holds this file:

    load("@fixpool//third_party:stand_ins.bzl", "fixpool_stand_ins")
    fixpool_stand_ins()

binds what Fixpool depends on, unless the WORKSPACE has bound it before:

  @liburing, @abseil-cpp, @crc32c, @googletest, @google_benchmark
      The system's headers and libraries. The labels are those of the Bazel
      Central Registry, so BUILD files are the same with Bazel 7 and later, where
      MODULE.bazel fetches the real ones. @crc32c is ISA-L's CRC32C behind the
      other library's header, as Debian has no package of that.
  @libfuse3
      Likewise, for the crash test alone. The registry has no such module, so with
      Bazel 7 and later it is this one, too (system_fuse.bzl). Where the library is
      missing, there is nothing to link and the crash test says so when it runs.
  @rules_cc, @rules_shell, @rules_java, @remote_coverage_tools
      What Bazel itself would download at the first cc_test. The first two only
      name native rules.

Libraries are linked statically where the system has an archive of them, so a
program runs on machines that do not have the -dev packages. Where it has none
(Debian ships Google Benchmark and ISA-L as shared objects only) or where the environment
says FIXPOOL_SYSTEM_LIBS=shared, they are linked dynamically.
"""

load(":abseil_targets.bzl", "ABSEIL_TARGETS")

# Where the compiler finds a file, or None. Asking the compiler gets the
# distribution's own folder right, whatever the architecture.
def _find_library(ctx, file_name):
    compiler = ctx.os.environ.get("CC") or "cc"
    result = ctx.execute([compiler, "-print-file-name=" + file_name])
    path = result.stdout.strip()
    # The compiler answers with the bare name if there is no such file.
    if result.return_code != 0 or "/" not in path:
        return None
    return ctx.path(path)

def _want_archives(ctx):
    return ctx.os.environ.get("FIXPOOL_SYSTEM_LIBS") != "shared"

# How to link lib`name`: the archive if there is one, else the shared object.
def _link_option(ctx, name, package):
    archive = "lib%s.a" % name
    if _want_archives(ctx) and _find_library(ctx, archive):
        return "-l:" + archive
    if _find_library(ctx, "lib%s.so" % name):
        return "-l" + name
    # Some packages have nothing but the archive.
    if _find_library(ctx, archive):
        return "-l:" + archive
    fail("lib%s is not installed. On Debian and Ubuntu it is in the package %s; `./run test` installs it." %
         (name, package))

# All of Abseil's libraries as one group. Its division into libraries changes
# from release to release and the linker takes only what is used, so naming each
# target's own libraries would buy nothing.
def _abseil_link_options(ctx):
    found = _find_library(ctx, "libabsl_base.a") or _find_library(ctx, "libabsl_base.so")
    if not found:
        fail("Abseil is not installed. On Debian and Ubuntu it is in the package libabsl-dev; `./run test` installs it.")
    names = [path.basename for path in found.dirname.readdir() if path.basename.startswith("libabsl_")]
    archives = sorted(["-l:" + name for name in names if name.endswith(".a")])
    if archives and _want_archives(ctx):
        return ["-Wl,--start-group"] + archives + ["-Wl,--end-group", "-pthread"]
    shared = sorted(["-l:" + name for name in names if name.endswith(".so")])
    return ["-Wl,--push-state,--as-needed"] + shared + ["-Wl,--pop-state", "-pthread"]

def _cc_library(name, linkopts = [], deps = []):
    return "\n".join([
        "cc_library(",
        "    name = %s," % repr(name),
        "    linkopts = %s," % repr(linkopts),
        "    deps = %s," % repr(deps),
        ")",
        "",
    ])

_HEAD = """# Made by stand_ins.bzl.
package(default_visibility = ["//visibility:public"])

"""

def _abseil_impl(ctx):
    ctx.file("BUILD.bazel", _HEAD + _cc_library("system_abseil", linkopts = _abseil_link_options(ctx)))
    for package, targets in ABSEIL_TARGETS.items():
        libraries = [_cc_library(target, deps = ["//:system_abseil"]) for target in targets]
        ctx.file(package + "/BUILD.bazel", _HEAD + "\n".join(libraries))

def _liburing_impl(ctx):
    ctx.file("BUILD.bazel", _HEAD + _cc_library(
        "liburing",
        linkopts = [_link_option(ctx, "uring", "liburing-dev")],
    ))

# Linked only by those who call it: all of ISA-L is one shared object.
def _crc32c_impl(ctx):
    ctx.symlink(Label("//third_party:isal/crc32c.h"), "crc32c/crc32c.h")
    options = ["-Wl,--push-state,--as-needed", _link_option(ctx, "isal", "libisal-dev"), "-Wl,--pop-state"]
    ctx.file("BUILD.bazel", _HEAD + "\n".join([
        "cc_library(",
        "    name = 'crc32c',",
        "    hdrs = ['crc32c/crc32c.h'],",
        "    includes = ['.'],",
        "    linkopts = %s," % repr(options),
        ")",
        "",
    ]))

def _googletest_impl(ctx):
    gmock = _link_option(ctx, "gmock", "libgmock-dev")
    gtest = _link_option(ctx, "gtest", "libgtest-dev")
    main = _link_option(ctx, "gmock_main", "libgmock-dev")
    ctx.file("BUILD.bazel", _HEAD + "\n".join([
        _cc_library("gtest", linkopts = [gmock, gtest, "-pthread"]),
        # The main() of gmock sets up both; the registry's :gtest_main does the
        # same.
        _cc_library("gtest_main", linkopts = [main], deps = [":gtest"]),
    ]))

def _google_benchmark_impl(ctx):
    benchmark = _link_option(ctx, "benchmark", "libbenchmark-dev")
    main = _link_option(ctx, "benchmark_main", "libbenchmark-dev")
    ctx.file("BUILD.bazel", _HEAD + "\n".join([
        _cc_library("benchmark", linkopts = [benchmark, "-pthread"]),
        _cc_library("benchmark_main", linkopts = [main], deps = [":benchmark"]),
    ]))

def _libfuse_impl(ctx):
    archive = _find_library(ctx, "libfuse3.a")
    shared = _find_library(ctx, "libfuse3.so")
    options = []
    if archive and (_want_archives(ctx) or not shared):
        options = ["-l:libfuse3.a", "-ldl", "-pthread"]
    elif shared:
        options = ["-lfuse3", "-pthread"]
    ctx.file("BUILD.bazel", _HEAD + _cc_library("libfuse3", linkopts = options))

# `local` makes Bazel look at the system again when its server starts.
# `configure` marks what `bazel sync --configure` refreshes.
def _system_repository(implementation):
    return repository_rule(
        implementation = implementation,
        configure = True,
        environ = ["CC", "FIXPOOL_SYSTEM_LIBS"],
        local = True,
    )

_abseil = _system_repository(_abseil_impl)
_crc32c = _system_repository(_crc32c_impl)
_liburing = _system_repository(_liburing_impl)
_googletest = _system_repository(_googletest_impl)
_google_benchmark = _system_repository(_google_benchmark_impl)
system_libfuse = _system_repository(_libfuse_impl)

# A repository made of files that are kept beside this one.
def _files_impl(ctx):
    for source, destination in ctx.attr.files.items():
        ctx.symlink(source, destination)

_files = repository_rule(
    implementation = _files_impl,
    attrs = {"files": attr.label_keyed_string_dict(allow_files = True)},
)

def _here(file):
    return str(Label("//third_party:" + file))

def fixpool_stand_ins():
    """Binds every stand-in whose name is not taken yet."""
    wanted = {
        "abseil-cpp": _abseil,
        "crc32c": _crc32c,
        "google_benchmark": _google_benchmark,
        "googletest": _googletest,
        "libfuse3": system_libfuse,
        "liburing": _liburing,
    }
    for name, rule in wanted.items():
        if name not in native.existing_rules():
            rule(name = name)

    files = {
        "remote_coverage_tools": {
            "coverage/coverage_tools.BUILD": "BUILD.bazel",
            "coverage/merge_lcov.py": "merge_lcov.py",
        },
        "rules_cc": {
            "rules/empty.BUILD": "cc/BUILD.bazel",
            "rules/cc_binary.bzl": "cc/cc_binary.bzl",
            "rules/cc_library.bzl": "cc/cc_library.bzl",
            "rules/cc_test.bzl": "cc/cc_test.bzl",
            "rules/cc_defs.bzl": "cc/defs.bzl",
        },
        "rules_java": {
            "rules/empty.BUILD": "java/BUILD.bazel",
            "rules/java_defs.bzl": "java/defs.bzl",
        },
        "rules_shell": {
            "rules/empty.BUILD": "shell/BUILD.bazel",
            "rules/sh_binary.bzl": "shell/sh_binary.bzl",
            "rules/sh_library.bzl": "shell/sh_library.bzl",
            "rules/sh_test.bzl": "shell/sh_test.bzl",
        },
    }
    for name, sources in files.items():
        if name not in native.existing_rules():
            _files(
                name = name,
                files = {_here(source): destination for source, destination in sources.items()},
            )
