"""Stand-in for @rules_shell//shell:sh_binary.bzl: the rule that is built into Bazel."""

sh_binary = native.sh_binary
