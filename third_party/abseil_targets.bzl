"""The Abseil targets that the @abseil-cpp stand-in offers.

Only what both the 20220623 release (Debian 12) and newer ones have: a BUILD file
that asks for anything else would build on one machine and not on the next.

Left out on purpose, because the system's Abseil is not built with sanitizers:

  * absl/synchronization. ThreadSanitizer does not see absl::Mutex order anything
    and reports races that are none. Use std::mutex, or io/mutex.h.
  * flat_hash_map, flat_hash_set, node_hash_map and node_hash_set. In newer
    releases they are laid out differently under AddressSanitizer, so that the
    headers do not fit the library and an insertion crashes (20240722). The same
    release does not compile with g++ 14 under -fsanitize=undefined.

absl/strings:cord is here for the payloads of absl::Status and good for no more:
make a Cord from a string_view, and read it as a std::string. Appending to one
makes AddressSanitizer report what is not wrong, and clang 19 spells the name of
the constructor from std::string&& otherwise than the g++ that built the library.
"""

ABSEIL_TARGETS = {
    "absl/algorithm": ["algorithm", "container"],
    "absl/base": ["base", "config", "core_headers", "dynamic_annotations", "log_severity"],
    "absl/cleanup": ["cleanup"],
    "absl/container": ["btree", "fixed_array", "inlined_vector"],
    "absl/debugging": ["failure_signal_handler", "leak_check", "stacktrace", "symbolize"],
    "absl/flags": ["commandlineflag", "config", "flag", "marshalling", "parse", "reflection", "usage"],
    "absl/functional": ["any_invocable", "bind_front", "function_ref"],
    "absl/hash": ["hash"],
    "absl/memory": ["memory"],
    "absl/meta": ["type_traits"],
    "absl/numeric": ["bits", "int128"],
    "absl/random": ["bit_gen_ref", "distributions", "random", "seed_sequences"],
    "absl/status": ["status", "statusor"],
    "absl/strings": ["cord", "str_format", "string_view", "strings"],
    "absl/time": ["time"],
    "absl/types": ["any", "compare", "optional", "span", "variant"],
    "absl/utility": ["utility"],
}
