#!/bin/bash
# benchmarks/compare_with_fio.sh: what it refuses, and, where fio is installed, that
# a tiny comparison ends in a ratio.
#
#     compare_with_fio_test.sh COMPARE_WITH_FIO PAGE_IO
set -uo pipefail

readonly COMPARE=$1 PAGE_IO=$PWD/$2
readonly FILE=$TEST_TMPDIR/data
source "$(dirname -- "$0")/expect.sh"

expect 0 "Usage:" --help
expect 2 "--file is required"
expect 2 "there is no option '--wibble'" --file="$FILE" --wibble
expect 2 "--pairs is a whole number" --file="$FILE" --pairs=0
expect 2 "--fio_depth is a whole number" --file="$FILE" --fio_depth=many
expect 2 "--layer is engine or cache" --file="$FILE" --layer=disk
expect 2 "only reads compare" --file="$FILE" --layer=cache --operation=write

expect_fio_to_be_wanted --file="$FILE"

if ! command -v fio >/dev/null; then
  echo "fio is not installed: no comparison was made"
elif [[ ! -e $FILE ]] && "$PAGE_IO" --file="$FILE" --file_bytes=16m --seconds=0.1 >/dev/null; then
  tiny=(--file="$FILE" --page_io="$PAGE_IO" --pairs=1 --seconds=1 --depths=4)
  expect 0 "x fio's" "${tiny[@]}"
  expect 0 "CPU per transfer" "${tiny[@]}" --layer=cache
  expect 0 "CPU per MiB" "${tiny[@]}" --layer=cache --pattern=sequential --fio_bytes=1m --fio_depth=4
else
  echo "no comparison was made: no direct I/O in $TEST_TMPDIR"
fi
exit $((failures > 0))
