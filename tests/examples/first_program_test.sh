#!/bin/bash
# The README's first program compiles, does what the README says that it prints, and leaves the
# page on disk: 42 pages of 4 KiB before it, then the greeting. And the README shows that program.
set -euo pipefail

program=$1
source=$2
readme=$3

sed -n '/^```cpp$/,/^```$/ { /^```/d; p; }' "$readme" | diff "$source" - ||
  { echo "the README's program is not $source"; exit 1; }

file=$(mktemp -d "${TEST_TMPDIR:-/var/tmp}/first_program.XXXXXX")/first.db
trap 'rm -rf -- "$(dirname "$file")"' EXIT

for run in first second; do
  output=$("$program" "$file")
  grep -qx 'hello, page 42' <<<"$output" || {
    printf 'the %s run printed:\n%s\n' "$run" "$output"
    exit 1
  }
  grep -q '^io: ' <<<"$output" || {
    printf 'the %s run did not say how transfers reach the kernel:\n%s\n' "$run" "$output"
    exit 1
  }
done

size=$(stat --format=%s -- "$file")
[[ $size == $((43 * 4096)) ]] || { echo "the file has $size bytes, not 43 pages"; exit 1; }
on_disk=$(dd if="$file" bs=4096 skip=42 count=1 iflag=direct status=none | head -c 14)
[[ $on_disk == 'hello, page 42' ]] || { echo "page 42 on disk begins with: $on_disk"; exit 1; }
head -c $((42 * 4096)) -- "$file" | cmp - <(head -c $((42 * 4096)) /dev/zero) ||
  { echo 'the pages before it are not zeros'; exit 1; }

# A directory that does not exist: one sentence, and failure.
if output=$("$program" /nonexistent/first.db 2>&1); then
  echo 'it succeeded on a path that cannot be'
  exit 1
fi
grep -q '/nonexistent/first.db' <<<"$output" || { echo "the error names no file: $output"; exit 1; }
