#!/usr/bin/env python3
"""Stand-in for the tools with which `bazel coverage` makes its reports.

Called after each test to turn what gcov wrote into one lcov file, and with
--combined_report=lcov once more, to add up those of all tests.
"""

import argparse
import collections
import glob
import gzip
import json
import os
import re

# Headers are compiled under the path by which they are included.
VIRTUAL_INCLUDE = re.compile(r".*/_virtual_includes/[^/]+/fixpool/")


class Source:
    """What was run of one source file: counts by line, and by function."""

    def __init__(self):
        self.lines = collections.Counter()
        self.functions = collections.Counter()
        self.first_lines = {}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--coverage_dir")
    parser.add_argument("--reports_file")
    parser.add_argument("--output_file", required=True)
    parser.add_argument("--filter_sources", action="append", default=[])
    # Bazel gives more than is needed here.
    arguments, _ = parser.parse_known_args()

    sources = collections.defaultdict(Source)
    if arguments.coverage_dir:
        pattern = os.path.join(arguments.coverage_dir, "**", "*.gcov.json.gz")
        for path in sorted(glob.glob(pattern, recursive=True)):
            add_gcov(path, sources)
    if arguments.reports_file:
        with open(arguments.reports_file, encoding="utf-8") as file:
            for path in file.read().split():
                add_lcov(path, sources)

    left_out = [re.compile(pattern) for pattern in arguments.filter_sources]
    with open(arguments.output_file, "w", encoding="utf-8") as file:
        for name, source in sorted(sources.items()):
            if source.lines and not any(pattern.fullmatch(name) for pattern in left_out):
                write_lcov(name, source, file)


def add_gcov(path, sources):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        report = json.load(file)
    for entry in report["files"]:
        source = sources[VIRTUAL_INCLUDE.sub("", entry["file"])]
        for line in entry["lines"]:
            source.lines[line["line_number"]] += line["count"]
        for function in entry["functions"]:
            source.functions[function["name"]] += function["execution_count"]
            source.first_lines[function["name"]] = function["start_line"]


def add_lcov(path, sources):
    source = Source()
    with open(path, encoding="utf-8") as file:
        for record in file:
            kind, _, value = record.strip().partition(":")
            if kind == "SF":
                source = sources[value]
            elif kind == "DA":
                number, count = value.split(",")[:2]
                source.lines[int(number)] += int(count)
            elif kind == "FN":
                number, name = value.split(",", 1)
                source.first_lines[name] = int(number)
            elif kind == "FNDA":
                count, name = value.split(",", 1)
                source.functions[name] += int(count)


def write_lcov(name, source, file):
    file.write("SF:%s\n" % name)
    for function, line in sorted(source.first_lines.items()):
        file.write("FN:%d,%s\n" % (line, function))
        file.write("FNDA:%d,%s\n" % (source.functions[function], function))
    for number, count in sorted(source.lines.items()):
        file.write("DA:%d,%d\n" % (number, count))
    file.write("LH:%d\nLF:%d\nend_of_record\n" % (
        sum(count > 0 for count in source.lines.values()), len(source.lines)))


if __name__ == "__main__":
    main()
