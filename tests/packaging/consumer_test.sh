#!/bin/bash
# A test: a project outside of Fixpool's workspace, tests/consumer/, builds with
# the system's Bazel and its programs run.
#
#     consumer_test.sh PATH_OF_MODULE_BAZEL
set -euo pipefail

# Writes the file that tells Bazel, and through it tools/test_report.py, that
# the test could not be done here.
skip() {
  echo "skipped: $1"
  cat >"$XML_OUTPUT_FILE" <<EOF
<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="ConsumerTest" tests="1">
    <testcase name="Builds" status="run" result="skipped" classname="ConsumerTest">
      <skipped message="$1"/>
    </testcase>
  </testsuite>
</testsuites>
EOF
  exit 0
}

command -v bazel >/dev/null || skip "no bazel on PATH"

# The sources themselves, not the links to some of them that the test was given:
# a project that uses Fixpool needs all of it.
readonly ROOT=$(dirname -- "$(readlink -f -- "$1")")
readonly CONSUMER=$ROOT/tests/consumer
[[ -f $CONSUMER/WORKSPACE ]] || skip "the sources are not at hand: Bazel runs this test elsewhere"

# Bazel takes TEST_TMPDIR for the place of all its outputs, of any workspace.
readonly OUTPUTS=$TEST_TMPDIR/consumer
readonly RESULTS=$TEST_TMPDIR/bin
export HOME=$TEST_TMPDIR
unset TEST_TMPDIR

# The server ends with the test, even if that is killed before it can ask for it.
run_bazel() {
  bazel --output_user_root="$OUTPUTS" --max_idle_secs=30 "$@" </dev/null
}
clean_up() {
  run_bazel shutdown || true
  # Bazel takes away its own permission to write.
  chmod -R u+w "$OUTPUTS"
  rm -rf -- "$OUTPUTS"
}

cd -- "$CONSUMER"
trap clean_up EXIT
mkdir -p "$RESULTS"
# Without a prefix for its links, Bazel would put them among the sources.
run_bazel build --symlink_prefix=/ --noshow_progress //:whole //:io_only
cp -- "$(run_bazel info bazel-bin)"/{whole,io_only} "$RESULTS"
trap - EXIT
clean_up

# Copied away from where they were built, they still run.
for program in whole io_only; do
  "$RESULTS/$program"
done
