#!/usr/bin/env python3
"""Tests of tools/bench.py with programs that are small scripts.

    bench_test.py PATH_OF_BENCH
"""

import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest

BENCH = None

# Takes the options of Google Benchmark that bench.py uses.
GOOGLE_BENCHMARK = """#!/usr/bin/env python3
import json, sys
options = dict(argument.split("=", 1) for argument in sys.argv[1:])
if "--benchmark_list_tests" in options:
    print("BM_One")
    sys.exit()
with open(options["--benchmark_out"], "w") as file:
    json.dump({"benchmarks": %s}, file)
print("as told:", options.get("--benchmark_filter"))
sys.exit(%d)
"""

PAGE_IO = """#!/usr/bin/env python3
import json, sys
options = dict(argument.split("=", 1) for argument in sys.argv[1:])
if options.get("--engine") == "uring_plain":
    print("page_io: no io_uring")
    sys.exit(1)
open(options["--file"], "w").close()
with open(options["--json"], "w") as file:
    json.dump({"operations_per_second": 39838.0, "bytes_per_second": 163176448.0,
               "cpu_ns_per_operation": 8546.0, "latency_ns": {"p50": 647167, "p99": 2080767},
               "engine": "uring_fixed", "engine_errno": "", "page_backing": "2m"}, file)
"""


def result(**more):
    return dict({"name": "BM_One", "run_name": "BM_One", "run_type": "iteration",
                 "real_time": 12.5, "cpu_time": 12.0, "time_unit": "ns"}, **more)


class BenchTest(unittest.TestCase):

    def setUp(self):
        directory = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(directory.cleanup)
        self.bin = os.path.join(directory.name, "bin")
        self.files = os.path.join(directory.name, "files")
        os.makedirs(os.path.join(self.bin, "benchmarks"))
        os.makedirs(self.files)
        self.rules = ""

    def add(self, name, text, *tags):
        path = os.path.join(self.bin, "benchmarks", name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, stat.S_IRWXU)
        strings = "".join('<string value="%s"/>' % tag for tag in tags)
        self.rules += '<rule class="cc_binary" name="//benchmarks:%s"><list name="tags">%s</list></rule>' % (
            name, strings)

    def add_google_benchmark(self, results, status=0):
        self.add("gb", GOOGLE_BENCHMARK % (repr(results), status),
                 "bench", "google_benchmark", "quick_filter=One")

    def run_bench(self, *arguments):
        environment = dict(os.environ, FIXPOOL_BENCH_DIR=self.files)
        return subprocess.run([sys.executable, BENCH, "--bin=" + self.bin, *arguments],
                              input="<query>%s</query>" % self.rules, env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                              check=False)

    def check(self, status, *texts, arguments=()):
        run = self.run_bench(*arguments)
        self.assertEqual(run.returncode, status, run.stdout)
        for text in texts:
            self.assertIn(text, run.stdout)

    def test_prints_times_rates_and_counters(self):
        self.add_google_benchmark([result(items_per_second=8.0e7, bytes_per_second=3.2e11, enters=0.3)])
        self.check(0, "BM_One", "12.5 ns", "12 ns", "80M", "320G", "enters=0.3")

    def test_prints_the_median_of_repeated_benchmarks(self):
        self.add_google_benchmark([
            result(real_time=1.0),
            result(real_time=2.25, run_type="aggregate", aggregate_name="median", name="BM_One_median"),
            result(real_time=3.0, run_type="aggregate", aggregate_name="mean", name="BM_One_mean"),
        ])
        run = self.run_bench()
        self.assertIn("2.25 ns", run.stdout)
        self.assertNotIn("3 ns", run.stdout)

    def test_fails_if_a_benchmark_reports_an_error(self):
        self.add_google_benchmark([result(error_occurred=True, error_message="wrong bytes")])
        self.check(1, "FAILED: wrong bytes", "bench: failed: //benchmarks:gb")

    def test_does_not_fail_for_what_the_machine_cannot_do(self):
        self.add_google_benchmark([
            result(error_occurred=True, error_message="not on this machine: no io_uring"),
            result(skipped=True, skip_message="not on this machine: no huge pages"),
        ])
        self.check(0, "not on this machine: no io_uring", "not on this machine: no huge pages")

    def test_shows_what_a_program_said_that_failed(self):
        self.add_google_benchmark([], status=7)
        self.check(1, "as told: One", "exit status 7")

    def test_leaves_out_the_filter_in_a_full_run(self):
        self.add_google_benchmark([], status=7)
        self.check(1, "as told: None", arguments=["--full"])

    def test_keeps_what_takes_long_for_a_full_run_or_for_itself(self):
        long_one = '#!/bin/sh\necho it took long\n'
        self.add("long", long_one, "bench", "full_only")
        self.check(0, "it took long")
        self.add("short", "#!/bin/sh\necho it took no time\n", "bench")
        run = self.run_bench()
        self.assertIn("it took no time", run.stdout)
        self.assertNotIn("it took long", run.stdout)
        self.check(0, "it took long", "it took no time", arguments=["--full"])

    def test_runs_page_io_on_each_workload(self):
        self.add("page_io", PAGE_IO)
        self.check(0, "39.8k", "163M", "8.55 us", "647 us", "2.08 ms", "uring_fixed, 2m",
                   "not here: page_io: no io_uring")
        self.assertFalse(os.path.exists(os.path.join(self.files, "pages")))

    def test_gives_programs_their_environment(self):
        self.add("own", '#!/bin/sh\necho "full=$FIXPOOL_BENCH_FULL seconds=$FIXPOOL_BENCH_SECONDS"\n', "bench")
        self.check(0, "full= seconds=25\n")
        self.check(0, "full=1 seconds=\n", arguments=["--full"])

    def test_fails_without_programs(self):
        self.check(1, "no benchmark program")


if __name__ == "__main__":
    BENCH = sys.argv.pop(1)
    unittest.main(verbosity=2)
