#!/usr/bin/env python3
"""Tests of tools/test_report.py: small runs, made by hand, whose counts are known.

    test_report_test.py PATH_OF_TEST_REPORT
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

TEST_REPORT = None

# As GoogleTest 1.12 and 1.16 write it: one of each outcome.
GOOGLETEST_XML = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="5" failures="1" disabled="1" errors="0" time="0.004" name="AllTests">
  <testsuite name="FileTest" tests="4" failures="1" disabled="1" skipped="1" errors="0" time="0">
    <testcase name="Opens" file="f.cc" line="7" status="run" result="completed" time="0" classname="FileTest" />
    <testcase name="Fails" file="f.cc" line="8" status="run" result="completed" time="0" classname="FileTest">
      <failure message="f.cc:8&#x0A;Expected: 1" type=""><![CDATA[f.cc:8
Expected: 1]]></failure>
      <failure message="f.cc:9&#x0A;Expected: 2" type=""><![CDATA[f.cc:9
Expected: 2]]></failure>
    </testcase>
    <testcase name="Skips" file="f.cc" line="9" status="run" result="skipped" time="0" classname="FileTest">
      <skipped message="f.cc:9&#x0A;no &lt;ring&gt; here"><![CDATA[f.cc:9
no <ring> here]]></skipped>
    </testcase>
    <testcase name="DISABLED_Later" file="f.cc" line="10" status="notrun" result="suppressed" time="0" classname="FileTest" />
  </testsuite>
  <testsuite name="Sizes/FileTest" tests="1" failures="0" disabled="0" skipped="0" errors="0" time="0">
    <testcase name="Reads/0" value_param="4096" status="run" result="completed" time="0" classname="Sizes/FileTest">
      <properties><property name="seed" value="7"/></properties>
    </testcase>
  </testsuite>
</testsuites>
"""

TWO_PASSES_XML = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="2" failures="0" name="AllTests">
  <testsuite name="A" tests="2" failures="0">
    <testcase name="One" status="run" result="completed" classname="A" />
    <testcase name="Two" status="run" result="completed" classname="A" />
  </testsuite>
</testsuites>
"""

ALL_SKIPPED_XML = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="1" failures="0" name="AllTests">
  <testsuite name="A" tests="1" failures="0" skipped="1">
    <testcase name="One" status="run" result="skipped" classname="A"><skipped message="a.cc:3&#x0A;no luck"/></testcase>
  </testsuite>
</testsuites>
"""

# A failure outside of any case, in SetUpTestSuite().
SUITE_FAILURE_XML = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="1" failures="1" name="AllTests">
  <testsuite name="A" tests="1" failures="1">
    <testcase name="One" status="run" result="completed" classname="A" />
    <testcase name="" status="run" result="completed" classname=""><failure message="no disk" type=""/></testcase>
  </testsuite>
</testsuites>
"""

# What Bazel writes for a test that wrote nothing: a script, or one that crashed.
BAZEL_PASS_XML = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="tests/script" tests="1" failures="0" errors="0">
    <testcase name="tests/script" status="run" duration="0" time="0"></testcase>
    <system-out>Generated test.log (if the file is not UTF-8, then this may be unreadable):</system-out>
  </testsuite>
</testsuites>
"""

BAZEL_CRASH_XML = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="tests/crash" tests="1" failures="0" errors="1">
    <testcase name="tests/crash" status="run" duration="0" time="0"><error message="exited with error code 139"></error></testcase>
    <system-out>log</system-out>
  </testsuite>
</testsuites>
"""


class TestReportTest(unittest.TestCase):

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(self.directory.cleanup)
        self.events = [{"id": {"started": {}}, "started": {}}, {"id": {"progress": {}}}]
        self.files = 0

    def add_test(self, label, status, xml, kind="cc_test rule", log="", **key):
        """Adds the events of a test. xml is the text of its test.xml, None if it has none."""
        self.events.append({
            "id": {"targetConfigured": {"label": label}},
            "configured": {"targetKind": kind, "testSize": "SMALL"},
        })
        self.events.append({
            "id": {"targetCompleted": {"label": label}},
            "children": [{"testResult": {"label": label}}, {"testSummary": {"label": label}}],
            "completed": {"success": True},
        })
        self.files += 1
        path = os.path.join(self.directory.name, "test %d.xml" % self.files)
        log_path = path[:-len(".xml")] + ".log"
        with open(log_path, "w", encoding="utf-8") as file:
            file.write(log)
        outputs = [{"name": "test.log", "uri": "file://" + log_path.replace(" ", "%20")}]
        if xml is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(xml)
            outputs.append({"name": "test.xml", "uri": "file://" + path.replace(" ", "%20")})
        identity = {"label": label, "run": 1, "shard": 1, "attempt": 1}
        identity.update(key)
        self.events.append({
            "id": {"testResult": identity},
            "testResult": {"status": status, "testActionOutput": outputs},
        })

    def report(self, bazel_exit_code=0, tail=""):
        path = os.path.join(self.directory.name, "events.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(json.dumps(event) + "\n" for event in self.events) + tail)
        return subprocess.run(
            [sys.executable, TEST_REPORT, path, "--bazel-exit-code=%d" % bazel_exit_code],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False)

    def check(self, line, exit_code, contains=(), **kwargs):
        result = self.report(**kwargs)
        self.assertEqual(result.stdout.splitlines()[-1], line, result.stdout)
        self.assertEqual(result.returncode, exit_code, result.stdout)
        for text in contains:
            self.assertIn(text, result.stdout)
        return result.stdout

    def test_counts_each_outcome_of_googletest(self):
        self.add_test("//tests:file_test", "FAILED", GOOGLETEST_XML)
        self.check("2 passed, 1 failed, 2 skipped", 1, bazel_exit_code=3, contains=[
            "//tests:file_test FileTest.Skips: no <ring> here\n",
            "//tests:file_test FileTest.DISABLED_Later: disabled\n",
            "//tests:file_test FileTest.Fails:\n",
            "Expected: 1\n",
            "Expected: 2\n",
        ])

    def test_says_each_reason_once(self):
        self.add_test("//tests:file_test", "FAILED", GOOGLETEST_XML)
        self.assertEqual(self.report(bazel_exit_code=3).stdout.count("Expected: 1"), 1)

    def test_adds_up_targets_and_shards(self):
        self.add_test("//tests:a", "PASSED", TWO_PASSES_XML, shard=1)
        self.add_test("//tests:a", "PASSED", TWO_PASSES_XML, shard=2)
        self.add_test("//tests:b", "PASSED", TWO_PASSES_XML)
        self.check("6 passed, 0 failed, 0 skipped", 0)

    def test_counts_each_of_several_runs(self):
        self.add_test("//tests:a", "PASSED", TWO_PASSES_XML, run=1)
        self.add_test("//tests:a", "PASSED", TWO_PASSES_XML, run=2)
        self.check("4 passed, 0 failed, 0 skipped", 0)

    def test_judges_by_the_last_attempt(self):
        self.add_test("//tests:a", "FAILED", GOOGLETEST_XML, attempt=1)
        self.add_test("//tests:a", "PASSED", TWO_PASSES_XML, attempt=2)
        self.check("2 passed, 0 failed, 0 skipped", 0)

    def test_counts_a_script_as_one_case(self):
        self.add_test("//tests:script", "PASSED", BAZEL_PASS_XML, kind="sh_test rule")
        self.check("1 passed, 0 failed, 0 skipped", 0)

    def test_counts_a_failed_script_as_one_case(self):
        self.add_test("//tests:script", "FAILED", BAZEL_CRASH_XML, kind="sh_test rule")
        self.check("0 passed, 1 failed, 0 skipped", 1, bazel_exit_code=3)

    def test_counts_a_crash_as_one_failure(self):
        log = "[ RUN      ] A.One\n[       OK ] A.One (0 ms)\n[ RUN      ] A.Two\nSegmentation fault\n"
        self.add_test("//tests:crash", "FAILED", BAZEL_CRASH_XML, log=log)
        self.check("0 passed, 1 failed, 0 skipped", 1, bazel_exit_code=3,
                   contains=["//tests:crash: exited with error code 139, in A.Two; log: /"])

    def test_counts_an_early_exit_as_one_failure(self):
        self.add_test("//tests:exits", "PASSED", BAZEL_PASS_XML, log="[ RUN      ] A.One\n")
        self.check("0 passed, 1 failed, 0 skipped", 1,
                   contains=["//tests:exits: ended with status 0", ", in A.One"])

    def test_counts_a_crash_without_xml_as_one_failure(self):
        self.add_test("//tests:crash", "FAILED", None)
        self.check("0 passed, 1 failed, 0 skipped", 1, bazel_exit_code=3,
                   contains=["//tests:crash: ", ".log"])

    def test_counts_unfinished_xml_as_one_failure(self):
        self.add_test("//tests:crash", "FAILED", GOOGLETEST_XML[:300])
        self.check("0 passed, 1 failed, 0 skipped", 1, bazel_exit_code=3)

    def test_does_not_believe_a_pass_without_xml(self):
        self.add_test("//tests:a", "PASSED", None)
        self.check("0 passed, 1 failed, 0 skipped", 1)

    def test_adds_a_failure_if_the_process_fails_after_its_cases(self):
        self.add_test("//tests:leaks", "FAILED", TWO_PASSES_XML)
        self.check("2 passed, 1 failed, 0 skipped", 1, bazel_exit_code=3,
                   contains=["//tests:leaks: the process failed"])

    def test_names_a_test_that_ran_out_of_time(self):
        self.add_test("//tests:slow", "TIMEOUT", BAZEL_CRASH_XML.replace("crash", "slow"))
        self.check("0 passed, 1 failed, 0 skipped", 1, bazel_exit_code=3,
                   contains=["//tests:slow: ran out of time"])

    def test_counts_a_failure_outside_of_cases(self):
        self.add_test("//tests:a", "FAILED", SUITE_FAILURE_XML)
        self.check("1 passed, 1 failed, 0 skipped", 1, bazel_exit_code=3, contains=["//tests:a A: no disk"])

    def test_counts_what_was_not_built_as_failed(self):
        self.add_test("//tests:a", "PASSED", TWO_PASSES_XML)
        self.events += [
            {"id": {"targetConfigured": {"label": "//tests:b"}},
             "configured": {"targetKind": "cc_test rule", "testSize": "SMALL"}},
            {"id": {"targetCompleted": {"label": "//tests:b"}},
             "completed": {"failureDetail": {"message": "Compiling b.cc failed"}}},
            {"id": {"targetConfigured": {"label": "//io:c"}},
             "configured": {"targetKind": "cc_library rule"}},
            {"id": {"targetCompleted": {"label": "//io:c"}},
             "aborted": {"reason": "ANALYSIS_FAILURE"}},
        ]
        self.check("2 passed, 2 failed, 0 skipped", 1, bazel_exit_code=1,
                   contains=["//tests:b: was not built: Compiling b.cc failed",
                             "//io:c: analysis_failure"])

    def test_counts_a_test_that_was_not_reached_as_failed(self):
        self.add_test("//tests:a", "PASSED", TWO_PASSES_XML)
        self.events.append({"id": {"targetConfigured": {"label": "//tests:b"}},
                            "configured": {"targetKind": "cc_test rule", "testSize": "SMALL"}})
        self.check("2 passed, 1 failed, 0 skipped", 1, bazel_exit_code=8, tail='{"id": {"tes')

    def test_leaves_out_what_the_tags_leave_out(self):
        self.add_test("//tests:a", "PASSED", TWO_PASSES_XML)
        self.events += [
            {"id": {"targetConfigured": {"label": "//tests:b"}},
             "configured": {"targetKind": "cc_test rule", "testSize": "SMALL", "tag": ["once"]}},
            {"id": {"targetCompleted": {"label": "//tests:b"}}, "completed": {"success": True}},
        ]
        self.check("2 passed, 0 failed, 0 skipped", 0)

    def test_fails_if_bazel_fails_for_a_reason_of_its_own(self):
        self.add_test("//tests:a", "PASSED", TWO_PASSES_XML)
        self.check("2 passed, 1 failed, 0 skipped", 1, bazel_exit_code=37,
                   contains=["exit code 37"])

    def test_fails_if_nothing_ran(self):
        self.check("0 passed, 0 failed, 0 skipped", 1, bazel_exit_code=4)

    def test_fails_if_everything_was_skipped(self):
        self.add_test("//tests:a", "PASSED", ALL_SKIPPED_XML)
        self.check("0 passed, 0 failed, 1 skipped", 1, contains=["A.One: no luck"])


if __name__ == "__main__":
    TEST_REPORT = sys.argv.pop(1)
    unittest.main(verbosity=2)
