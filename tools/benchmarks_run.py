#!/usr/bin/env python3
"""A test: every benchmark of a Google Benchmark program runs, once and tiny.

    benchmarks_run.py PROGRAM

FIXPOOL_BENCH_TINY=1 in the program's environment asks for the smallest sizes that
make sense; no figure of such a run means anything. A benchmark whose error begins
with "not on this machine" is skipped, and if all are, the test is.
"""

import json
import os
import subprocess
import sys
import xml.sax.saxutils

NOT_HERE = "not on this machine"

SKIPPED_XML = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="Benchmarks" tests="1">
    <testcase name="Run" status="run" result="skipped" classname="Benchmarks">
      <skipped message=%s/>
    </testcase>
  </testsuite>
</testsuites>
"""


def main():
    program = sys.argv[1]
    directory = os.path.join(os.environ["TEST_TMPDIR"], "files")
    os.makedirs(directory, exist_ok=True)
    out = os.path.join(os.environ["TEST_TMPDIR"], "results.json")
    environment = dict(os.environ, FIXPOOL_BENCH_TINY="1", FIXPOOL_BENCH_DIR=directory)
    subprocess.run([program, "--benchmark_min_time=0.000001", "--benchmark_out=" + out,
                    "--benchmark_out_format=json"], env=environment, check=True)

    # Google Benchmark exits with 0 even if a benchmark reported an error.
    with open(out, encoding="utf-8") as file:
        results = json.load(file)["benchmarks"]
    if not results:
        sys.exit("%s has no benchmark" % program)
    skipped = [result for result in results
               if result.get("skipped") or reason_of(result).startswith(NOT_HERE)]
    failed = [result for result in results if result.get("error_occurred") and result not in skipped]
    if failed:
        sys.exit("\n".join("%s: %s" % (result["name"], reason_of(result)) for result in failed))
    if len(skipped) == len(results):
        with open(os.environ["XML_OUTPUT_FILE"], "w", encoding="utf-8") as file:
            file.write(SKIPPED_XML % xml.sax.saxutils.quoteattr(reason_of(skipped[0])))
    left = os.listdir(directory)
    if left:
        sys.exit("%s left files behind: %s" % (program, " ".join(left)))


def reason_of(result):
    return result.get("error_message") or result.get("skip_message") or ""


if __name__ == "__main__":
    main()
