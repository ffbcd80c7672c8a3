"""Maps a target's folder and scope to the packages that may depend on it."""

# A package_group says "all packages of all repositories" as `//...` up to Bazel
# 5 and as `public` since Bazel 6, and each refuses or misreads the other's
# spelling. A .bzl file cannot ask for the version, so this asks for a function
# that came with 6.2. On 6.0 and 6.1 the groups hold this repository alone.
EVERYBODY = "public" if hasattr(native, "module_name") else "//..."

# Layer -> visibility of its "public" and of its "project" targets. The groups
# are in build_defs/BUILD.bazel.
_VISIBILITY = {
    "io": ("//visibility:public", "//build_defs:project_from_io_up"),
    "arena": ("//build_defs:all_but_io", "//build_defs:project_from_arena_up"),
    "storage": ("//build_defs:all_but_io_and_arena", "//build_defs:project_from_storage_up"),
}
_VISIBILITY_OF_OTHERS = ("//build_defs:all_but_layers", "//build_defs:project_outside_layers")

def _top_folder(package):
    return package.split("/")[0]

def is_layer(package):
    """Whether the package belongs to one of the library's three layers."""
    return _top_folder(package) in _VISIBILITY

def visibility_of(package, scope):
    """Returns the `visibility` of a target.

    Args:
      package: the target's package, as native.package_name() returns it.
      scope: "package" (that package alone), "project" (the layers above, tests
        and benchmarks) or "public" (users too, but no layer below).
    """
    public, project = _VISIBILITY.get(_top_folder(package), _VISIBILITY_OF_OTHERS)
    if scope == "public":
        return [public]
    if scope == "project":
        return [project]
    if scope == "package":
        return ["//visibility:private"]
    fail("scope is \"package\", \"project\" or \"public\", not " + repr(scope))
