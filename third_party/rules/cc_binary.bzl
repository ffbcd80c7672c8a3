"""Stand-in for @rules_cc//cc:cc_binary.bzl: the rule that is built into Bazel."""

cc_binary = native.cc_binary
