# For tests of a program, $COMPARE, that compares with fio; to be sourced.

failures=0

# expect EXIT_CODE PART_OF_OUTPUT ARGUMENT...
expect() {
  local code=$1 part=$2 output status=0
  shift 2
  output=$("$COMPARE" "$@" 2>&1) || status=$?
  if ((status != code)) || [[ $output != *"$part"* ]]; then
    echo "FAILED: $* gave $status (not $code) and, without '$part':" "$output"
    failures=$((failures + 1))
  fi
}

# That it says so where there is no fio.
expect_fio_to_be_wanted() {
  mkdir "$TEST_TMPDIR/bin"
  local program
  for program in bash dirname cat; do ln -s "$(command -v $program)" "$TEST_TMPDIR/bin"; done
  (
    PATH=$TEST_TMPDIR/bin
    expect 1 "fio is not installed" "$@"
    exit $failures
  ) || failures=$?
}
