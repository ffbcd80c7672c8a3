#!/bin/bash
# benchmarks/compare_write_back.sh: what it refuses, and, where fio is installed, that
# a tiny comparison ends in ratios.
#
#     compare_write_back_test.sh COMPARE_WRITE_BACK WRITE_BACK
set -uo pipefail

readonly COMPARE=$1 WRITE_BACK=$PWD/$2
readonly FILE=$TEST_TMPDIR/data
source "$(dirname -- "$0")/expect.sh"

expect 0 "Usage:" --help
expect 2 "--file is required"
expect 2 "there is no option '--wibble'" --file="$FILE" --wibble
expect 2 "--pairs is a whole number" --file="$FILE" --pairs=0
expect 2 "--reads_per_second is a whole number" --file="$FILE" --reads_per_second=many
expect 2 "--parts are writes and reads" --file="$FILE" --parts=both

expect_fio_to_be_wanted --file="$FILE"

tiny=(--file="$FILE" --cache_bytes=2m --write_back="$WRITE_BACK" --pairs=1 --seconds=1 --depths=4)
if ! command -v fio >/dev/null; then
  echo "fio is not installed: no comparison was made"
elif "$WRITE_BACK" --file="$FILE" --file_bytes=8m --cache_bytes=2m --seconds=0.1 \
  --warm_up_seconds=0 >/dev/null; then
  expect 0 "pages written/s" "${tiny[@]}" --parts=writes
  expect 0 "read p99 " "${tiny[@]}" --parts=reads --readers=2
  expect 0 "--reads_per_second=50 --writes_per_second=60" "${tiny[@]}" --parts=reads \
    --reads_per_second=50 --writes_per_second=60
else
  echo "no comparison was made: no direct I/O in $TEST_TMPDIR"
fi
exit $((failures > 0))
