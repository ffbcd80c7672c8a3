#!/bin/bash
# Each public header of io/ compiles alone as C++20, and as C++17 gives the one sentence that
# says what is missing.
#
#   headers_test.sh HEADER...
set -u

# The headers include each other as "fixpool/io/...".
include=$(mktemp -d)
trap 'rm -rf "$include"' EXIT
mkdir -p "$include/fixpool"
ln -s "$(dirname "$(readlink -f "$1")")" "$include/fixpool/io"

compiler=${CXX:-}
for candidate in c++ g++ clang++; do
  [ -n "$compiler" ] || compiler=$(command -v "$candidate")
done
if [ -z "$compiler" ]; then
  echo "SKIPPED: no C++ compiler on PATH"
  exit 0
fi

# With Abseil or liburing of Bazel's own there are no headers of theirs to be found here.
printf '#include <liburing.h>\n#include "absl/status/statusor.h"\n' |
    "$compiler" -std=c++20 -fsyntax-only -x c++ - 2>/dev/null
if [ $? -ne 0 ]; then
  echo "SKIPPED: the system has no headers of Abseil or liburing"
  exit 0
fi

failures=0
for header in "$@"; do
  name=$(basename "$header")
  if ! printf '#include "fixpool/io/%s"\n' "$name" |
      "$compiler" -std=c++20 -Wall -Wextra -Werror -I"$include" -fsyntax-only -x c++ -; then
    echo "FAILED: $name does not compile alone"
    failures=$((failures + 1))
  fi
  # Of a header for the project alone nobody with C++17 ever reads a word.
  [ "$name" != version.h ] || continue
  said=$(printf '#include "fixpool/io/%s"\n' "$name" |
      "$compiler" -std=c++17 -I"$include" -fsyntax-only -Wfatal-errors -x c++ - 2>&1)
  if [ $? -eq 0 ] || ! grep -q 'error.*Fixpool needs C++20' <<< "$said"; then
    echo "FAILED: $name as C++17 does not say what is missing:"
    head -n 5 <<< "$said"
    failures=$((failures + 1))
  fi
done
echo "$# headers, $failures failures"
[ "$failures" -eq 0 ]
