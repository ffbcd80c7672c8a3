"""Stand-in for @rules_cc//cc:cc_test.bzl: the rule that is built into Bazel."""

cc_test = native.cc_test
