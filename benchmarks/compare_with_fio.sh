#!/bin/bash
# Reads pages with fio and with page_io, in turns, on the same file, and prints how
# the two compare.
#
#     benchmarks/compare_with_fio.sh --file=/data/test --file_bytes=4g
#
# A scan through the cache, which reads ahead by itself, beside large transfers of fio:
#
#     benchmarks/compare_with_fio.sh --file=/data/test --file_bytes=4g --layer=cache \
#         --pattern=sequential --depths=1 --fio_bytes=1m --fio_depth=4
#
# Each run of page_io stands beside a run of fio that came right before or after
# it, so that a disk or a neighbour that changes its pace changes both. What is
# printed is the median of the ratios of these pairs, and for orientation the
# medians of the figures themselves.
set -euo pipefail
# Points and not commas in numbers.
export LC_ALL=C

usage() {
  cat <<'EOT'
Usage: compare_with_fio.sh --file=PATH [OPTION...]

  --file=PATH          the file to read; made if missing
  --file_bytes=SIZE    how much of it (default: all of it, or 1g to make it)
  --layer=engine|cache what of Fixpool to run (default: engine). With cache, what
                       is compared with fio's reads is misses, not uses
  --access=A           page_io's --access, for --layer=cache (default: batches)
  --page_bytes=SIZE    (default: 4k)
  --depths="N N ..."   in flight (default: "32 128")
  --fio_bytes=SIZE     of fio's transfers, if not --page_bytes; then bytes are
                       compared and not transfers
  --fio_depth=N        fio's transfers in flight, if not those of --depths
  --fio_buffers=B      fixed or plain (default: fixed): registered, or of ordinary memory
  --pairs=N            runs of each for each depth (default: 9)
  --seconds=N          length of a run, a whole number (default: 5)
  --pattern=P          random or sequential (default: random)
  --operation=O        read or write (default: read); write overwrites the file
  --pages=P            page_io's --pages (default: auto)
  --cache_bytes=SIZE   page_io's --cache_bytes, for --layer=cache
  --page_io=PATH       the program (default: built by Bazel with -c opt)
EOT
}

die() { echo "compare_with_fio: $*" >&2; exit 1; }
bad_usage() { echo "compare_with_fio: $*" >&2; exit 2; }

file= file_bytes= layer=engine page_bytes=4k depths="32 128" pairs=9 seconds=5
pattern=random operation=read pages=auto cache_bytes=
access=batches page_io= fio_bytes= fio_depth= fio_buffers=fixed

for argument in "$@"; do
  case $argument in
    --help | -h) usage; exit 0 ;;
    --file=* | --file_bytes=* | --layer=* | --page_bytes=* | --depths=* | --pairs=* | \
      --seconds=* | --pattern=* | --operation=* | --pages=* | --cache_bytes=* | --page_io=* | \
      --access=* | --fio_bytes=* | --fio_depth=* | --fio_buffers=*)
      name=${argument%%=*}
      printf -v "${name#--}" %s "${argument#*=}"
      ;;
    *) bad_usage "there is no option '$argument'; --help lists those there are" ;;
  esac
done
[[ $file ]] || bad_usage "--file is required: the file to read"
[[ $pairs =~ ^[1-9][0-9]*$ ]] || bad_usage "--pairs is a whole number from 1, not '$pairs'"
[[ ${fio_depth:-1} =~ ^[1-9][0-9]*$ ]] ||
  bad_usage "--fio_depth is a whole number from 1, not '$fio_depth'"
[[ $seconds =~ ^[1-9][0-9]*$ ]] || bad_usage "--seconds is a whole number from 1, not '$seconds'"
case $layer in engine | cache) ;; *) bad_usage "--layer is engine or cache, not '$layer'" ;; esac
case $pattern-$operation in
  random-read) fio_rw=randread ;;
  random-write) fio_rw=randwrite ;;
  sequential-read) fio_rw=read ;;
  sequential-write) fio_rw=write ;;
  *) bad_usage "--pattern is random or sequential, --operation read or write" ;;
esac
case $access in
  batches | tasks) ;;
  *) bad_usage "--access is batches or tasks, not '$access'" ;;
esac
case $fio_buffers in
  fixed) fio_memory=--fixedbufs ;;
  plain) fio_memory= ;;
  *) bad_usage "--fio_buffers is fixed or plain, not '$fio_buffers'" ;;
esac
[[ $layer-$operation != cache-write ]] ||
  bad_usage "with --layer=cache only reads compare: a write in memory is not a write to a disk"

command -v fio >/dev/null ||
  die "fio is not installed; on Debian and Ubuntu: apt-get install fio"
command -v python3 >/dev/null ||
  die "python3 is not installed; on Debian and Ubuntu: apt-get install python3"
if [[ ! $page_io ]]; then
  root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
  command -v bazel >/dev/null || die "bazel is not installed; name the program with --page_io=PATH"
  (cd "$root" && bazel build -c opt //benchmarks:page_io >&2) || die "page_io could not be built"
  page_io=$(cd "$root" && bazel info -c opt bazel-bin 2>/dev/null)/benchmarks/page_io
fi
[[ -x $page_io ]] || die "there is no program at $page_io"

[[ -e $file || $file_bytes ]] || file_bytes=1g
reports=$(mktemp -d)
trap 'rm -rf -- "$reports"' EXIT

page_io_command() {  # depth
  echo "$page_io" "--file=$file" ${file_bytes:+"--file_bytes=$file_bytes"} \
    "--page_bytes=$page_bytes" "--pattern=$pattern" "--operation=$operation" "--layer=$layer" \
    "--access=$access" \
    ${cache_bytes:+"--cache_bytes=$cache_bytes"} "--pages=$pages" "--depth=$1" \
    "--seconds=$seconds"
}

# Batches, timestamps and all else as fio has them by default.
fio_command() {  # depth
  echo fio --name=compare "--filename=$file" ${file_bytes:+"--size=$file_bytes"} \
    "--rw=$fio_rw" "--bs=${fio_bytes:-$page_bytes}" "--iodepth=${fio_depth:-$1}" \
    --ioengine=io_uring $fio_memory --registerfiles --direct=1 --norandommap --randrepeat=0 --time_based "--runtime=$seconds"
}

# The commands hold no spaces but between words; a path with spaces would.
[[ $file$page_io != *[[:space:]]* ]] || bad_usage "no path may have a space in it"

run_page_io() {  # depth report
  $(page_io_command "$1") "--json=$2" >/dev/null
}
run_fio() {  # depth report
  $(fio_command "$1") --output-format=json "--output=$2" >/dev/null
}

describe_machine() {
  echo "$(date +%Y-%m-%d), $(grep -m1 '^model name' /proc/cpuinfo | cut -d: -f2- | xargs || true)," \
    "$(nproc) CPUs, Linux $(uname -r), $(fio --version)"
  echo "$file on $(df --output=source,fstype -- "$(dirname -- "$file")" | tail -n 1 | xargs)"
}

# Reads the pairs of reports of one depth and prints one line for each figure.
summarise() {  # depth
  python3 - "$reports" "$1" "$pairs" "$layer" "$operation" "$fio_bytes" <<'EOT'
import json
import statistics
import sys

reports, depth, pairs, layer, operation, in_bytes = sys.argv[1:]
MIB = 1 << 20


def load(name, pair):
    with open("%s/%s.%s.%s" % (reports, name, depth, pair), encoding="utf-8") as file:
        text = file.read()
    return json.loads(text[text.index("{"):])  # fio may have warned before


def fio_figures(report):
    job = report["jobs"][0]
    transfers = job[operation]["total_ios"]
    cpu_ns = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] * 1e6
    if in_bytes:
        mib = job[operation]["io_bytes"] / MIB
        return job[operation]["bw_bytes"] / 1e6, cpu_ns / mib
    return job[operation]["iops"], cpu_ns / transfers


def page_io_figures(report):
    transfers = report["cache"]["misses"] if layer == "cache" else report["operations"]
    cpu_ns = report["cpu_ns_per_operation"] * report["operations"]
    if in_bytes:
        count = transfers * report["page_bytes"]
        return count / report["seconds"] / 1e6, cpu_ns / (count / MIB)
    return transfers / report["seconds"], cpu_ns / transfers


ours, theirs, engines = [], [], set()
for pair in range(1, int(pairs) + 1):
    report = load("page_io", pair)
    engines.add("%s on %s pages" % (report["engine"], report["page_backing"]))
    ours.append(page_io_figures(report))
    theirs.append(fio_figures(load("fio", pair)))

print("depth %s (page_io: %s; %s pairs)" % (depth, ", ".join(sorted(engines)), pairs))
if in_bytes:
    figures = ((0, "MB/s", "", 1), (1, "CPU per MiB", " us", 1e-3))
else:
    figures = ((0, "IOPS", "", 1), (1, "CPU per transfer", " us", 1e-3))
for index, name, unit, scale in figures:
    ratios = sorted(a[index] / b[index] for a, b in zip(ours, theirs))
    mine = statistics.median(a[index] for a in ours) * scale
    fios = statistics.median(b[index] for b in theirs) * scale
    digits = 0 if index == 0 else 2
    print("  %-16s  %.3fx fio's (%.3f to %.3f); medians: page_io %.*f%s, fio %.*f%s" % (
        name, statistics.median(ratios), ratios[0], ratios[-1], digits, mine, unit, digits, fios,
        unit))
EOT
}

main() {
  describe_machine
  # Makes the file, if it is to be made, before anybody is measured.
  $(page_io_command 1 | sed "s/--seconds=$seconds/--seconds=0.1/") >/dev/null
  local depth pair
  for depth in $depths; do
    echo
    page_io_command "$depth"
    fio_command "$depth"
    for ((pair = 1; pair <= pairs; ++pair)); do
      # Neither is always the first.
      if ((pair % 2)); then
        run_page_io "$depth" "$reports/page_io.$depth.$pair"
        run_fio "$depth" "$reports/fio.$depth.$pair"
      else
        run_fio "$depth" "$reports/fio.$depth.$pair"
        run_page_io "$depth" "$reports/page_io.$depth.$pair"
      fi
    done
    summarise "$depth"
  done
}

main
