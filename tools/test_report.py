#!/usr/bin/env python3
"""Counts the test cases of one `bazel test` and names those that did not pass.

    test_report.py EVENTS [--bazel-exit-code=N]

EVENTS is what Bazel wrote with --build_event_json_file. It says which targets
this very run was about and where their results are, cached or not, so nothing
that an earlier run left behind is counted.

Prints the failed and the skipped cases with their reasons, and last

    N passed, N failed, N skipped

Exits with 1 if a case failed, if Bazel failed, or if no case ran.

What counts as a case:
  * each test case in a target's test.xml; a test that is not GoogleTest's is one;
  * a target that failed although no case in its test.xml did is one failed case
    more: it crashed, ran out of time, or a sanitizer spoke at its end;
  * a cc_test that ended well without GoogleTest's own test.xml is one failed
    case: something called exit() half way through;
  * a target that was not built or not run is one failed case, unless its tags
    left it out.
A disabled case (DISABLED_ in GoogleTest) counts as skipped: it did not run.
"""

import argparse
import collections
import json
import re
import sys
import urllib.parse
import xml.etree.ElementTree

# Enough of a failure's text to recognise it. Bazel has printed the whole log.
MAX_REASON_LINES = 12

Case = collections.namedtuple("Case", ["target", "name", "outcome", "reason"])

PASSED = "passed"
FAILED = "failed"
SKIPPED = "skipped"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("events")
    parser.add_argument("--bazel-exit-code", type=int, default=0)
    arguments = parser.parse_args()

    cases = cases_of_run(read_events(arguments.events))
    if arguments.bazel_exit_code not in (0, NO_TESTS_FOUND) and not of(cases, FAILED):
        reason = "exit code %d; see its messages above" % arguments.bazel_exit_code
        cases.append(Case("bazel", "", FAILED, reason))

    for outcome in (SKIPPED, FAILED):
        print_cases(of(cases, outcome), outcome)
    print(summary_line(cases))
    ran = of(cases, PASSED) + of(cases, FAILED)
    return 0 if ran and not of(cases, FAILED) else 1


# Bazel's own code for "nothing in these packages is a test".
NO_TESTS_FOUND = 4


def of(cases, outcome):
    return [case for case in cases if case.outcome == outcome]


def summary_line(cases):
    return "%d passed, %d failed, %d skipped" % tuple(
        len(of(cases, outcome)) for outcome in (PASSED, FAILED, SKIPPED))


def print_cases(cases, outcome):
    if not cases:
        return
    print("\n%s:" % outcome.capitalize())
    for case in cases:
        title = " ".join(part for part in (case.target, case.name) if part)
        lines = case.reason.strip().splitlines() or ["(no reason given)"]
        if len(lines) == 1:
            print("  %s: %s" % (title, lines[0]))
            continue
        print("  %s:" % title)
        for line in lines[:MAX_REASON_LINES]:
            print("      " + line)
        if len(lines) > MAX_REASON_LINES:
            print("      ... (%d lines more)" % (len(lines) - MAX_REASON_LINES))
    print()


def read_events(path):
    """Yields the events of a run. An interrupted Bazel leaves half a last line."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return


def cases_of_run(events):
    """Returns the cases of all targets, in the order of their labels."""
    kinds = {}  # label of each test -> its rule
    problems = {}  # label -> why it was not built
    results = {}  # (label, run, shard) -> (attempt, result)
    for event in events:
        # The id is {kind: what distinguishes the event from others of its kind}.
        kind, key = next(iter(event["id"].items()))
        label = key.get("label", "")
        if kind == "targetConfigured" and "configured" in event:
            if "testSize" in event["configured"]:
                kinds[label] = event["configured"].get("targetKind", "")
        elif kind == "targetCompleted" and not event.get("completed", {}).get("success"):
            problems[label] = problem_of(event)
        elif kind == "targetCompleted":
            # Built, and not announced to be run: left out by its tags.
            if not any("testSummary" in child for child in event.get("children", [])):
                kinds.pop(label, None)
        elif kind in ("unconfiguredLabel", "configuredLabel") and "aborted" in event:
            problems.setdefault(label, problem_of(event))
        elif kind == "pattern" and "aborted" in event:
            problems[" ".join(key.get("pattern", []))] = problem_of(event)
        elif kind == "testResult":
            place = (label, key.get("run", 1), key.get("shard", 1))
            attempt = key.get("attempt", 1)
            # A test that was tried again is judged by its last attempt.
            if place not in results or attempt >= results[place][0]:
                results[place] = (attempt, event.get("testResult", {}))

    cases = []
    have_result = {label for label, _, _ in results}
    for (label, _, _), (_, result) in sorted(results.items(), key=lambda item: item[0]):
        cases += cases_of_result(label, kinds.get(label, ""), result)
    for label, problem in sorted(problems.items()):
        if label not in have_result:
            cases.append(Case(label, "", FAILED, problem))
    for label in sorted(kinds):
        if label not in have_result and label not in problems:
            cases.append(Case(label, "", FAILED, "was not run"))
    return cases


def problem_of(event):
    if "aborted" in event:
        aborted = event["aborted"]
        return aborted.get("description") or aborted.get("reason", "was not built").lower()
    detail = event.get("completed", {}).get("failureDetail", {}).get("message", "")
    return ": ".join(["was not built"] + detail.splitlines()[:1])


def cases_of_result(label, kind, result):
    """Returns the cases of one test process."""
    status = result.get("status", "NO_STATUS")
    if status == "NO_STATUS":
        return [Case(label, "", FAILED, "was not run")]
    well = status in ("PASSED", "FLAKY")
    log = output_path(result, "test.log")
    try:
        cases = cases_of_xml(label, output_path(result, "test.xml"))
    except (OSError, TypeError, xml.etree.ElementTree.ParseError) as error:
        if well:
            return [Case(label, "", FAILED, "passed, but its test.xml cannot be read: %s" % error)]
        cases = []

    # A nameless case is the one that Bazel makes up for a process that left no
    # test.xml.
    nameless = [case for case in cases if not case.name]
    if well:
        if nameless and kind.startswith("cc_test"):
            reason = "ended with status 0 before GoogleTest did" + last_case(log)
            return [Case(label, "", FAILED, reason)]
        return cases
    if nameless or not of(cases, FAILED):
        cases = [case for case in cases if case.name]
        reason = ("ran out of time" if status == "TIMEOUT" else
                  nameless[0].reason if nameless else "the process failed, none of its cases did")
        cases.append(Case(label, "", FAILED, "%s%s; log: %s" % (reason, last_case(log), log)))
    return cases


def last_case(log):
    """Returns ", in CASE" if GoogleTest's log ends within one, else ""."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            marks = re.findall(r"^\[ +(RUN|OK|FAILED|SKIPPED) +\] (\S+)", file.read(), re.MULTILINE)
    except (OSError, TypeError):
        return ""
    return ", in " + marks[-1][1] if marks and marks[-1][0] == "RUN" else ""


def output_path(result, name):
    for output in result.get("testActionOutput", []):
        if output.get("name") == name:
            uri = urllib.parse.urlparse(output.get("uri", ""))
            return urllib.parse.unquote(uri.path) if uri.scheme == "file" else None
    return None


def cases_of_xml(label, path):
    root = xml.etree.ElementTree.parse(path).getroot()
    return [case_of_element(label, suite, element)
            for suite in root.iter("testsuite") for element in suite.findall("testcase")]


def case_of_element(label, suite, element):
    name = element.get("name", "")
    # GoogleTest names suite and case apart; the file that Bazel makes for other
    # tests repeats the target's name in both.
    suite_name = suite.get("name", "")
    if element.get("classname") or suite_name != name:
        name = ".".join(part for part in (suite_name, name) if part)
    else:
        name = ""
    problems = element.findall("failure") + element.findall("error")
    if problems:
        return Case(label, name, FAILED, "\n".join(text_of(problem) for problem in problems))
    skipped = element.find("skipped")
    if skipped is not None or element.get("result") == "skipped":
        return Case(label, name, SKIPPED, "" if skipped is None else skip_reason(text_of(skipped)))
    if element.get("status") == "notrun" or element.get("result") == "suppressed":
        return Case(label, name, SKIPPED, "disabled")
    return Case(label, name, PASSED, "")


def text_of(element):
    message = element.get("message", "").strip()
    text = (element.text or "").strip()
    # GoogleTest says the same in both.
    return text if message in text else message + ("\n" + text if text else "")


def skip_reason(text):
    """Drops the "file:line" that GoogleTest puts before the reason."""
    lines = text.splitlines()
    if len(lines) > 1 and lines[0].rpartition(":")[2].isdigit():
        lines = lines[1:]
    return " ".join(line.strip() for line in lines)


if __name__ == "__main__":
    sys.exit(main())
