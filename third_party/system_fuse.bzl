"""The system's libfuse3 for Bazel 7 and later, whose registry has none.

In MODULE.bazel:

    system_fuse = use_extension("//third_party:system_fuse.bzl", "system_fuse")
    use_repo(system_fuse, "libfuse3")

Not loaded by Bazel 4 to 6, which do not know what a module extension is; see
stand_ins.bzl.
"""

load(":stand_ins.bzl", "system_libfuse")

def _system_fuse_impl(_ctx):
    system_libfuse(name = "libfuse3")

system_fuse = module_extension(implementation = _system_fuse_impl)
