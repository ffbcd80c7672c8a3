#!/bin/bash
# The example looks at as many pages as it says, and can be run again on the file that it left.
set -euo pipefail

program=$1
file=$(mktemp -d "${TEST_TMPDIR:-/var/tmp}/many_lookups.XXXXXX")/lookups.db
trap 'rm -rf -- "$(dirname "$file")"' EXIT

for run in first second; do
  output=$("$program" "$file")
  [[ $output == '2000 lookups, 16000 pages looked at' ]] || {
    printf 'the %s run printed:\n%s\n' "$run" "$output"
    exit 1
  }
done
