#!/usr/bin/env python3
"""Runs benchmark programs one after another and prints their results as tables.

    bench.py --bin=BAZEL_BIN [--full] < QUERY

QUERY is what `bazel query --output=xml` says of the programs to run; BAZEL_BIN
is where Bazel put them. `./run bench` does both, and prepares the directory.

A program's tags say how it is run:
  google_benchmark     with the options of Google Benchmark
  quick_filter=REGEX   which of its benchmarks a run without --full is about
  full_only            run without --full only where nothing else is to be run
page_io is run once for each of the workloads below. Any other program is run
without arguments and prints what it likes.

The environment of each:
  FIXPOOL_BENCH_DIR      a directory for its files; removed afterwards
  FIXPOOL_BENCH_FULL     1 with --full, else not set
  FIXPOOL_BENCH_SECONDS  without --full: how long it should take, about
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

# A run without --full measures for so long, whatever the number of programs:
# page_io, and all others together. Preparations make it about a minute.
QUICK_PAGE_IO_SECONDS = 20
QUICK_OTHERS_SECONDS = 25

# What page_io is asked to do: a title, its arguments, and whether that is part of
# a run without --full. `threads` is what a program does that has no io_uring.
WORKLOADS = (
    ("read 4 KiB, depth 1", "--page_bytes=4K --depth=1", True),
    ("read 4 KiB, depth 32", "--page_bytes=4K --depth=32", True),
    ("  unregistered buffers", "--page_bytes=4K --depth=32 --engine=uring_plain", True),
    ("  pread in threads", "--page_bytes=4K --depth=32 --engine=threads", True),
    ("  through the cache", "--page_bytes=4K --depth=32 --layer=cache", True),
    ("  through the cache, by tasks", "--page_bytes=4K --depth=32 --layer=cache --access=tasks",
     True),
    ("read 4 KiB, depth 128", "--page_bytes=4K --depth=128", True),
    ("  pread in threads", "--page_bytes=4K --depth=128 --engine=threads", False),
    ("  through the cache", "--page_bytes=4K --depth=128 --layer=cache", True),
    ("  through the cache, 2 threads", "--page_bytes=4K --depth=64 --threads=2 --layer=cache",
     False),
    ("read 64 KiB, depth 16", "--page_bytes=64K --depth=16", True),
    ("  unregistered buffers", "--page_bytes=64K --depth=16 --engine=uring_plain", False),
    ("  unregistered, 4 KiB memory pages",
     "--page_bytes=64K --depth=16 --engine=uring_plain --pages=4k", False),
    ("  through the cache", "--page_bytes=64K --depth=16 --layer=cache", False),
    ("read 1 MiB in sequence, depth 4", "--page_bytes=1M --depth=4 --pattern=sequential", True),
    ("read 4 KiB in sequence, through the cache",
     "--page_bytes=4K --depth=128 --pattern=sequential --layer=cache", True),
    ("write 4 KiB, depth 32", "--page_bytes=4K --depth=32 --operation=write", True),
    ("  pwrite in threads", "--page_bytes=4K --depth=32 --operation=write --engine=threads", False),
    ("  through the cache", "--page_bytes=4K --depth=32 --operation=write --layer=cache", True),
    ("read and write 4 KiB, depth 32", "--page_bytes=4K --depth=32 --operation=mixed", False),
    ("  through the cache", "--page_bytes=4K --depth=32 --operation=mixed --layer=cache", False),
)

# The file that page_io works on. Less if the disk has no room for it.
QUICK_FILE_BYTES = 1 << 30
FULL_FILE_BYTES = 8 << 30
FULL_WORKLOAD_SECONDS = 10

# Share of a benchmark's time that Google Benchmark spends in the loop that it
# reports; it tries smaller numbers of iterations first, and there is set-up.
MEASURED_SHARE = 0.4

# Bounds of the time spent on one benchmark. Shorter is noise; longer is no
# better: it is what Google Benchmark does by itself.
MIN_SECONDS = 0.01
MAX_SECONDS = 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", required=True)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()

    # A shell starts a background job with this ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    programs = read_programs(sys.stdin, arguments.bin)
    if not programs:
        sys.exit("bench: there is no benchmark program to run")
    if not arguments.full:
        programs = [program for program in programs if not program.is_full_only] or programs
    others = max(1, sum(not program.is_page_io for program in programs))
    print_machine()
    failed = []
    for index, program in enumerate(programs):
        say("[%d/%d] %s" % (index + 1, len(programs), program.label))
        start = time.monotonic()
        seconds = QUICK_PAGE_IO_SECONDS if program.is_page_io else QUICK_OTHERS_SECONDS / others
        if not program.run(arguments.full, seconds):
            failed.append(program.label)
        say("[%d/%d] %s took %.1f s" % (
            index + 1, len(programs), program.label, time.monotonic() - start))
    if failed:
        sys.exit("bench: failed: " + " ".join(failed))


def say(message):
    """Progress goes to stderr, results to stdout."""
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)


def read_programs(file, bazel_bin):
    root = xml.etree.ElementTree.fromstring(file.read() or "<query/>")
    programs = []
    for rule in root.findall("rule"):
        tags = [item.get("value") for item in rule.findall("list[@name='tags']/string")]
        programs.append(Program(rule.get("name"), tags, bazel_bin))
    # The programs that go through the whole stack first: theirs are the figures
    # that one looks for.
    return sorted(programs, key=lambda program: (program.is_google_benchmark, program.label))


class Program:

    def __init__(self, label, tags, bazel_bin):
        self.label = label
        package, name = label.lstrip("@").lstrip("/").split(":")
        self.path = os.path.join(bazel_bin, package, name)
        self.is_google_benchmark = "google_benchmark" in tags
        self.is_full_only = "full_only" in tags
        self.is_page_io = name == "page_io"
        filters = [tag.partition("=")[2] for tag in tags if tag.startswith("quick_filter=")]
        self.quick_filter = filters[0] if filters else "."

    def run(self, full, seconds):
        """Returns whether all went well."""
        environment = dict(os.environ)
        if full:
            environment["FIXPOOL_BENCH_FULL"] = "1"
        else:
            environment.pop("FIXPOOL_BENCH_FULL", None)
            environment["FIXPOOL_BENCH_SECONDS"] = "%d" % max(1, seconds)
        if self.is_google_benchmark:
            return self.run_google_benchmark(full, seconds, environment)
        if self.is_page_io:
            return self.run_page_io(full, seconds, environment)
        return run_process([self.path], environment) == 0

    def run_google_benchmark(self, full, seconds, environment):
        command = [self.path]
        if not full:
            command.append("--benchmark_filter=" + self.quick_filter)
            command.append("--benchmark_min_time=%.3f" % self.time_per_benchmark(
                command, seconds, environment))
        with tempfile.NamedTemporaryFile(suffix=".json") as out, tempfile.TemporaryFile() as log:
            command += ["--benchmark_out=" + out.name, "--benchmark_out_format=json"]
            # Its own table and description of the machine are of no use here.
            # If it fails, they may be.
            status = run_process(command, environment, stdout=log, stderr=subprocess.STDOUT)
            try:
                results = json.load(out)["benchmarks"]
            except (ValueError, KeyError):
                results = []
            if status != 0:
                log.seek(0)
                say(log.read().decode(errors="replace"))
                say("%s: exit status %d" % (self.label, status))
        print_table(self.label, BENCHMARK_HEADER, [row_of(result) for result in medians(results)])
        return status == 0 and not any(
            result.get("error_occurred") and not is_skipped(result) for result in results)

    def time_per_benchmark(self, command, seconds, environment):
        listing = subprocess.run(command + ["--benchmark_list_tests=true"], env=environment,
                                 stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
        count = max(1, len(listing.stdout.splitlines()))
        return min(MAX_SECONDS, max(MIN_SECONDS, MEASURED_SHARE * seconds / count))


    def run_page_io(self, full, seconds, environment):
        directory = os.environ["FIXPOOL_BENCH_DIR"]
        file = os.path.join(directory, "pages")
        workloads = [(title, arguments) for title, arguments, quick in WORKLOADS if full or quick]
        seconds = FULL_WORKLOAD_SECONDS if full else seconds / len(workloads)
        common = ["--file=" + file, "--seconds=%.2f" % seconds,
                  "--file_bytes=%d" % file_bytes(directory, full)]
        rows = []
        well = True
        for index, (title, arguments) in enumerate(workloads):
            say("    %d/%d %s" % (index + 1, len(workloads), title.strip()))
            report = os.path.join(directory, "report.json")
            log = os.path.join(directory, "log")
            with open(log, "wb") as out:
                status = run_process([self.path, *common, *arguments.split(), "--json=" + report],
                                     environment, stdout=out, stderr=subprocess.STDOUT)
            if status == 0:
                with open(report, encoding="utf-8") as result:
                    rows.append(row_of_page_io(title, json.load(result)))
                continue
            with open(log, encoding="utf-8", errors="replace") as lines:
                reason = " ".join(lines.read().split()) or "exit status %d" % status
            # An engine that had to be had and is not there is no failure of ours.
            skip = "--engine=" in arguments or "--pages=" in arguments
            rows.append((title,) + ("-",) * 5 + (("not here: " if skip else "FAILED: ") + reason,))
            well = well and skip
        os.unlink(file)
        print_table(self.label, PAGE_IO_HEADER, rows)
        return well


def file_bytes(directory, full):
    """The size of page_io's file: never more than half of what is free."""
    wanted = FULL_FILE_BYTES if full else QUICK_FILE_BYTES
    file_system = os.statvfs(directory)
    free = file_system.f_bavail * file_system.f_frsize // 2
    return min(wanted, free) >> 20 << 20


def run_process(command, environment, **kwargs):
    """Runs a process to its end, or ends it if this one is asked to stop."""
    sys.stdout.flush()
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, **kwargs) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


# ---- Output ----


def print_machine():
    """What a published figure has to come with."""
    cpu = "unknown CPU"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    print("%s; %s, %d CPUs; Linux %s; files in %s" % (
        time.strftime("%Y-%m-%d %H:%M"), cpu, os.cpu_count(), os.uname().release,
        describe_directory(os.environ.get("FIXPOOL_BENCH_DIR", "."))))


def describe_directory(directory):
    with open("/proc/mounts", encoding="utf-8") as file:
        mounts = [line.split()[:3] for line in file]
    real = os.path.realpath(directory)
    holding = [mount for mount in mounts
               if mount[1] == "/" or (real + "/").startswith(mount[1].rstrip("/") + "/")]
    if not holding:  # in a chroot
        return directory
    device, _, file_system = max(holding, key=lambda mount: len(mount[1]))
    return "%s (%s on %s)" % (directory, file_system, device)


# Keys of a result that are not counters of the benchmark's own.
KNOWN_KEYS = {
    "aggregate_name", "aggregate_unit", "cpu_time", "error_message", "error_occurred",
    "family_index", "iterations", "label", "name", "per_family_instance_index", "real_time",
    "repetition_index", "repetitions", "run_name", "run_type", "skip_message", "skipped",
    "threads", "time_unit",
}

NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


BENCHMARK_HEADER = ("benchmark", "time", "cpu", "items/s", "bytes/s", "")
PAGE_IO_HEADER = ("workload", "pages/s", "bytes/s", "cpu/page", "p50", "p99", "by")


def print_table(title, header, rows):
    """Prints rows whose first column is a name, whose last is a remark, and the rest figures."""
    print("\n" + title)
    if not rows:
        print("  no results\n")
        return
    last = len(header) - 1
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(last)]
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [row[column].rjust(widths[column]) for column in range(1, last)]
        print(("  " + "  ".join(cells) + "  " + row[last]).rstrip())
    print()


def row_of_page_io(title, report):
    by = report["engine"]
    if report["engine_errno"] not in ("", "0"):
        by += " (%s)" % report["engine_errno"]
    return (
        title,
        with_prefix(report["operations_per_second"]),
        with_prefix(report["bytes_per_second"]),
        duration(report["cpu_ns_per_operation"]),
        duration(report["latency_ns"]["p50"]),
        duration(report["latency_ns"]["p99"]),
        by + ", " + report["page_backing"],
    )


def medians(results):
    """Of repeated benchmarks, the median alone."""
    if any(result.get("run_type") == "aggregate" for result in results):
        return [result for result in results if result.get("aggregate_name") == "median"]
    return results


# Google Benchmark before 1.8 has errors only; a benchmark that this machine cannot
# run begins its own with these words.
NOT_HERE = "not on this machine"


def is_skipped(result):
    return bool(result.get("skipped")) or result.get("error_message", "").startswith(NOT_HERE)


def row_of(result):
    name = result.get("run_name", result.get("name", ""))
    if result.get("error_occurred") or result.get("skipped"):
        message = result.get("error_message") or result.get("skip_message") or "no reason given"
        return (name, "-", "-", "-", "-", message if is_skipped(result) else "FAILED: " + message)
    scale = NANOSECONDS[result["time_unit"]]
    extra = ["%s=%s" % (key, with_prefix(value)) for key, value in sorted(result.items())
             if key not in KNOWN_KEYS | {"items_per_second", "bytes_per_second"}
             and isinstance(value, (int, float))]
    if result.get("label"):
        extra.insert(0, result["label"])
    return (
        name,
        duration(result["real_time"] * scale),
        duration(result["cpu_time"] * scale),
        with_prefix(result["items_per_second"]) if "items_per_second" in result else "",
        with_prefix(result["bytes_per_second"]) if "bytes_per_second" in result else "",
        " ".join(extra),
    )


def duration(nanoseconds):
    for unit in ("ns", "us", "ms"):
        if nanoseconds < 1000:
            return "%.3g %s" % (nanoseconds, unit) if nanoseconds < 100 else "%.0f %s" % (
                nanoseconds, unit)
        nanoseconds /= 1000
    return "%.3g s" % nanoseconds


def with_prefix(value):
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 999.5:
            return "%.3g%s" % (value, prefix)
        value /= 1000
    return "%.3gT" % value


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
