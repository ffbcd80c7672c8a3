"""Stand-in for @rules_cc//cc:cc_library.bzl: the rule that is built into Bazel."""

cc_library = native.cc_library
