"""Stand-in for @rules_shell//shell:sh_library.bzl: the rule that is built into Bazel."""

sh_library = native.sh_library
