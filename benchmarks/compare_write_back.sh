#!/bin/bash
# Writes pages with fio and by the background writer of a cache, in turns, on the same
# file, and prints how the two compare; then reads beside writes, with either.
#
#     benchmarks/compare_write_back.sh --file=/data/test --file_bytes=8g
#
# Each run of write_back stands beside a run of fio that came right before or after
# it, so that a disk or a neighbour that changes its pace changes both. What is
# printed is the median of the ratios of these pairs, and for orientation the
# medians of the figures themselves.
set -euo pipefail
# Points and not commas in numbers.
export LC_ALL=C

usage() {
  cat <<'EOT'
Usage: compare_write_back.sh --file=PATH [OPTION...]

  --file=PATH          the file, which is overwritten; made if missing
  --file_bytes=SIZE    how much of it (default: all of it, or 4g to make it)
  --cache_bytes=SIZE   of the cache, at most half of the file (default: 256m)
  --page_bytes=SIZE    (default: 4k)
  --parts="P P"        writes: nothing but writes, as fast as they go, for each of
                       --depths. reads: reads beside writes, at the same rates, for
                       the first of --depths (default: "writes reads")
  --depths="N N ..."   writes in flight (default: "32 128")
  --readers=N          threads that read, one page at a time (default: 4)
  --reads_per_second=N, --writes_per_second=N
                       for the part reads (default: half of what fio does without a
                       limit, measured first)
  --pairs=N            runs of each (default: 9)
  --seconds=N          length of a run, a whole number (default: 5)
  --pages=P            write_back's --pages (default: auto)
  --write_back=PATH    the program (default: built by Bazel with -c opt)
EOT
}

die() { echo "compare_write_back: $*" >&2; exit 1; }
bad_usage() { echo "compare_write_back: $*" >&2; exit 2; }

file= file_bytes= cache_bytes=256m page_bytes=4k parts="writes reads" depths="32 128" readers=4
reads_per_second= writes_per_second= pairs=9 seconds=5 pages=auto write_back=

for argument in "$@"; do
  case $argument in
    --help | -h) usage; exit 0 ;;
    --file=* | --file_bytes=* | --cache_bytes=* | --page_bytes=* | --parts=* | --depths=* | \
      --readers=* | --reads_per_second=* | --writes_per_second=* | --pairs=* | --seconds=* | \
      --pages=* | --write_back=*)
      name=${argument%%=*}
      printf -v "${name#--}" %s "${argument#*=}"
      ;;
    *) bad_usage "there is no option '$argument'; --help lists those there are" ;;
  esac
done
[[ $file ]] || bad_usage "--file is required: the file to overwrite"
whole_number() {  # option value
  [[ $2 =~ ^[1-9][0-9]*$ ]] || bad_usage "--$1 is a whole number from 1, not '$2'"
}
whole_number pairs "$pairs"
whole_number seconds "$seconds"
whole_number readers "$readers"
whole_number reads_per_second "${reads_per_second:-1}"
whole_number writes_per_second "${writes_per_second:-1}"
for part in $parts; do
  case $part in writes | reads) ;; *) bad_usage "--parts are writes and reads, not '$part'" ;; esac
done

command -v fio >/dev/null ||
  die "fio is not installed; on Debian and Ubuntu: apt-get install fio"
command -v python3 >/dev/null ||
  die "python3 is not installed; on Debian and Ubuntu: apt-get install python3"
if [[ ! $write_back ]]; then
  root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
  command -v bazel >/dev/null || die "bazel is not installed; name the program with --write_back=PATH"
  (cd "$root" && bazel build -c opt //benchmarks:write_back >&2) ||
    die "write_back could not be built"
  write_back=$(cd "$root" && bazel info -c opt bazel-bin 2>/dev/null)/benchmarks/write_back
fi
[[ -x $write_back ]] || die "there is no program at $write_back"
# The commands hold no spaces but between words; a path with spaces would.
[[ $file$write_back != *[[:space:]]* ]] || bad_usage "no path may have a space in it"

[[ -e $file || $file_bytes ]] || file_bytes=4g
reports=$(mktemp -d)
trap 'rm -rf -- "$reports"' EXIT

write_back_command() {  # depth
  echo "$write_back" "--file=$file" ${file_bytes:+"--file_bytes=$file_bytes"} \
    "--page_bytes=$page_bytes" "--cache_bytes=$cache_bytes" "--pages=$pages" "--depth=$1" \
    "--seconds=$seconds"
}

# What all runs of fio have in common, batches, timestamps and all else as by default.
fio_common() {  # name
  echo fio "--name=$1" "--filename=$file" ${file_bytes:+"--size=$file_bytes"} \
    "--bs=$page_bytes" --ioengine=io_uring --fixedbufs --registerfiles --direct=1 \
    --norandommap --randrepeat=0 --time_based "--runtime=$seconds"
}

fio_writes_command() {  # depth
  echo "$(fio_common writes)" --rw=randwrite "--iodepth=$1"
}

# One job file: each reader has one page in flight, as a thread that calls Read; the
# percentiles are those of a read's whole time, as write_back's are.
write_fio_mixed_job() {  # path depth reads_per_second writes_per_second; the rates: 0 for none
  {
    echo "[global]"
    printf '%s\n' "filename=$file" ${file_bytes:+"size=$file_bytes"} "bs=$page_bytes" \
      ioengine=io_uring fixedbufs registerfiles direct=1 norandommap randrepeat=0 time_based \
      "runtime=$seconds" group_reporting lat_percentiles=1 percentile_list=50:99:99.9
    printf '%s\n' "[reader]" rw=randread iodepth=1 "numjobs=$readers"
    (($3 == 0)) || echo "rate_iops=$((($3 + readers - 1) / readers))"
    printf '%s\n' "[writer]" new_group rw=randwrite "iodepth=$2"
    (($4 == 0)) || echo "rate_iops=$4"
  } >"$1"
}

run_write_back_writes() {  # depth report
  $(write_back_command "$1") "--json=$2" >/dev/null
}
run_fio_writes() {  # depth report
  $(fio_writes_command "$1") --output-format=json "--output=$2" >/dev/null
}
mixed_arguments() {
  echo "--readers=$readers" "--reads_per_second=$reads_per_second" \
    "--writes_per_second=$writes_per_second"
}
run_write_back_reads() {  # depth report
  $(write_back_command "$1") $(mixed_arguments) "--json=$2" >/dev/null
}
run_fio_reads() {  # depth report
  fio "$reports/mixed.fio" --output-format=json "--output=$2" >/dev/null
}

describe_machine() {
  echo "$(date +%Y-%m-%d), $(grep -m1 '^model name' /proc/cpuinfo | cut -d: -f2- | xargs || true)," \
    "$(nproc) CPUs, Linux $(uname -r), $(fio --version)"
  echo "$file on $(df --output=source,fstype -- "$(dirname -- "$file")" | tail -n 1 | xargs)"
}

# Sets the rates that were not given to half of what fio reads and writes without any.
find_rates() {  # depth
  [[ ! $reads_per_second || ! $writes_per_second ]] || return 0
  write_fio_mixed_job "$reports/unlimited.fio" "$1" 0 0
  fio "$reports/unlimited.fio" --output-format=json "--output=$reports/unlimited" >/dev/null
  local rates
  rates=$(python3 - "$reports/unlimited" <<'EOT'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
jobs = {job["jobname"]: job for job in json.loads(text[text.index("{"):])["jobs"]}
print(max(1, int(jobs["reader"]["read"]["iops"] / 2)),
      max(1, int(jobs["writer"]["write"]["iops"] / 2)))
EOT
)
  reads_per_second=${reads_per_second:-${rates% *}}
  writes_per_second=${writes_per_second:-${rates#* }}
}

# Reads the pairs of reports of one part and depth and prints one line for each figure.
summarise() {  # part depth
  python3 - "$reports" "$1" "$2" "$pairs" "${reads_per_second:-0}" "${writes_per_second:-0}" <<'EOT'
import json
import statistics
import sys

reports, part, depth, pairs, read_rate, write_rate = sys.argv[1:]


def load(name, pair):
    with open("%s/%s.%s.%s.%s" % (reports, name, part, depth, pair), encoding="utf-8") as file:
        text = file.read()
    return json.loads(text[text.index("{"):])  # fio may have warned before


def fio_writes(report):
    job = report["jobs"][0]
    cpu_ns = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] * 1e6
    return {"IOPS": job["write"]["iops"], "CPU": cpu_ns / max(1, job["write"]["total_ios"])}


def our_writes(report):
    return {"IOPS": report["writes_per_second"], "CPU": report["cpu_ns_per_write"]}


def fio_reads(report):
    jobs = {job["jobname"]: job for job in report["jobs"]}
    read = jobs["reader"]["read"]
    percentiles = read["lat_ns"]["percentile"]
    p99 = percentiles["99.000000"]
    return {"reads": read["iops"], "writes": jobs["writer"]["write"]["iops"],
            "p50": percentiles["50.000000"], "p99": p99, "due": p99,
            "p999": percentiles["99.900000"]}


def our_reads(report):
    latency = report["read_latency_ns"]
    return {"reads": report["reads_per_second"], "writes": report["writes_per_second"],
            "p50": latency["p50"], "p99": latency["p99"], "p999": latency["p999"],
            "due": report["read_latency_from_due_ns"]["p99"]}


FIGURES = {
    "writes": (("IOPS", "pages written/s", "", 1, 0), ("CPU", "CPU a page", " us", 1e-3, 2)),
    "reads": (("reads", "reads/s", "", 1, 0), ("writes", "pages written/s", "", 1, 0),
              ("p50", "read p50", " us", 1e-3, 0), ("p99", "read p99", " us", 1e-3, 0),
              ("p999", "read p99.9", " us", 1e-3, 0),
              ("due", "p99 from when due*", " us", 1e-3, 0)),
}
ours, theirs, raw = [], [], []
for pair in range(1, int(pairs) + 1):
    raw.append(load("write_back", pair))
    ours.append(our_writes(raw[-1]) if part == "writes" else our_reads(raw[-1]))
    fio = load("fio", pair)
    theirs.append(fio_writes(fio) if part == "writes" else fio_reads(fio))

engines = {"%s on %s pages" % (r["engine"], r["page_backing"]) for r in raw}
print("%s, depth %s (write_back: %s; %s pairs)" % (
    part, depth, ", ".join(sorted(engines)), pairs))
for key, name, unit, scale, digits in FIGURES[part]:
    ratios = sorted(a[key] / max(1e-9, b[key]) for a, b in zip(ours, theirs))
    mine = statistics.median(a[key] for a in ours) * scale
    fios = statistics.median(b[key] for b in theirs) * scale
    print("  %-18s  %.3fx fio's (%.3f to %.3f); medians: write_back %.*f%s, fio %.*f%s" % (
        name, statistics.median(ratios), ratios[0], ratios[-1], digits, mine, unit, digits, fios,
        unit))
print("  write_back: %.1f in flight, %.1f%% of transfers joined, %d%% of writes for an eviction" % (
    statistics.median(r["mean_in_flight"] for r in raw),
    100 * statistics.median(r["joined_share"] for r in raw),
    100 * statistics.median(
        r["eviction_writes"] / max(1, r["eviction_writes"] + r["background_writes"])
        for r in raw)))
if part == "reads":
    print("  * of write_back, beside fio's p99 from the call: fio does not tell")
    for side, runs in (("write_back", ours), ("fio", theirs)):
        for key, rate in (("reads", read_rate), ("writes", write_rate)):
            reached = statistics.median(run[key] for run in runs)
            if reached < 0.95 * int(rate):
                print("  not at the rate: %s, %.0f %s/s of %s" % (side, reached, key, rate))
unsteady = sum(1 - r["steady"] for r in raw)
if unsteady:
    print("  %d of the runs of write_back began before the cache was steady" % unsteady)
EOT
}

compare() {  # part depth
  local part=$1 depth=$2 pair
  for ((pair = 1; pair <= pairs; ++pair)); do
    # Neither is always the first.
    if ((pair % 2)); then
      "run_write_back_$part" "$depth" "$reports/write_back.$part.$depth.$pair"
      "run_fio_$part" "$depth" "$reports/fio.$part.$depth.$pair"
    else
      "run_fio_$part" "$depth" "$reports/fio.$part.$depth.$pair"
      "run_write_back_$part" "$depth" "$reports/write_back.$part.$depth.$pair"
    fi
  done
  summarise "$part" "$depth"
}

main() {
  describe_machine
  # Makes the file, if it is to be made, before anybody is measured.
  $(write_back_command 1 | sed "s/--seconds=$seconds/--seconds=0.1 --warm_up_seconds=0/") \
    >/dev/null
  local depth part
  for part in $parts; do
    for depth in $depths; do
      echo
      if [[ $part == writes ]]; then
        write_back_command "$depth"
        fio_writes_command "$depth"
      else
        find_rates "$depth"
        write_fio_mixed_job "$reports/mixed.fio" "$depth" "$reads_per_second" "$writes_per_second"
        echo "$(write_back_command "$depth") $(mixed_arguments)"
        sed 's/^/fio: /' "$reports/mixed.fio"
      fi
      compare "$part" "$depth"
      [[ $part == writes ]] || break
    done
  done
}

main
