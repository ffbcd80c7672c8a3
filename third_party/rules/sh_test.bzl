"""Stand-in for @rules_shell//shell:sh_test.bzl: the rule that is built into Bazel."""

sh_test = native.sh_test
