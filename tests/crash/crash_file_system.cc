// A FUSE file system that forgets what was not synced, and fails as disks do. See
// docs/crash_testing.md.
//
//   crash_file_system --backing=DIR --mount=DIR --counts=FILE --seed=S
//     [--fault_rate=R] [--sync_fault_rate=R] [--fault_prefix=data] [--lie_about_sync]
//
// Says "mounted" when it is. Ends when it is unmounted, or with SIGTERM; then all is durable.
// kill -9 is the crash. Ends with its parent. Exit code 77, and the reason on stderr: there can be
// no FUSE here.

#if __has_include(<fuse3/fuse.h>)

#define FUSE_USE_VERSION 35
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "tests/crash/arguments.h"
#include "tests/crash/crash_directory.h"
#include "tests/crash/crash_file.h"
#include "tests/crash/dice.h"
#include "tests/crash/fault_counts.h"

namespace fixpool::tests {
namespace {

constexpr int kNoFuse = 77;
// Of each write, and each change of the directory: that the disk gets around to what is unsynced.
constexpr double kPersistRate = 0.1;

struct FaultOptions {
  double rate = 0;       // of each kind, for each transfer that it can happen to
  double sync_rate = 0;  // for each sync
  std::string prefix;    // of the names of files that it may happen to
  bool lie_about_sync = false;
};

// Used by one thread: the loop is fuse_loop.
struct FileSystem {
  CrashDirectory directory;
  std::unique_ptr<FaultCounts> counts;
  Dice dice;
  FaultOptions faults;

  bool Happens(double rate, Counted what) {
    if (rate <= 0 || !dice.Chance(rate)) return false;
    counts->Add(what);
    return true;
  }
  void DirectoryChanged() {
    if (dice.Chance(kPersistRate)) directory.Sync();
  }
};

// What fuse_file_info::fh points to.
struct OpenFile {
  std::shared_ptr<CrashFile> file;
  double fault_rate;
  double sync_fault_rate;
};

FileSystem& System() { return *static_cast<FileSystem*>(fuse_get_context()->private_data); }
OpenFile& OpenOf(const fuse_file_info* info) { return *reinterpret_cast<OpenFile*>(info->fh); }
std::string NameOf(const char* path) { return path + 1; }

// Of an open file, or by name; null: none.
std::shared_ptr<CrashFile> FileOf(const char* path, const fuse_file_info* info) {
  if (info != nullptr && info->fh != 0) return OpenOf(info).file;
  return path == nullptr ? nullptr : System().directory.Find(NameOf(path));
}

void* Init(fuse_conn_info*, fuse_config* config) {
  config->use_ino = 1;
  config->direct_io = 1;
  config->nullpath_ok = 1;
  config->hard_remove = 1;  // no .fuse_hidden files: an open file needs no name here
  return &System();
}

int GetAttributes(const char* path, struct stat* status, fuse_file_info* info) {
  *status = {};
  if (info == nullptr && std::strcmp(path, "/") == 0) {
    status->st_ino = 1;
    status->st_mode = S_IFDIR | 0755;
    status->st_nlink = 2;
    return 0;
  }
  const std::shared_ptr<CrashFile> file = FileOf(path, info);
  if (file == nullptr) return -ENOENT;
  status->st_ino = file->inode();
  status->st_mode = S_IFREG | 0644;
  status->st_nlink = 1;
  status->st_uid = getuid();
  status->st_gid = getgid();
  status->st_size = static_cast<off_t>(file->size_bytes());
  status->st_blksize = 4096;
  status->st_blocks = static_cast<blkcnt_t>((file->size_bytes() + 511) / 512);
  return 0;
}

int ReadDirectory(const char*, void* buffer, fuse_fill_dir_t fill, off_t, fuse_file_info*,
                  fuse_readdir_flags) {
  fill(buffer, ".", nullptr, 0, fuse_fill_dir_flags{});
  fill(buffer, "..", nullptr, 0, fuse_fill_dir_flags{});
  for (const auto& [name, file] : System().directory.entries()) {
    fill(buffer, name.c_str(), nullptr, 0, fuse_fill_dir_flags{});
  }
  return 0;
}

void Attach(const std::string& name, std::shared_ptr<CrashFile> file, fuse_file_info* info) {
  const FaultOptions& faults = System().faults;
  const bool faulty = name.rfind(faults.prefix, 0) == 0;
  info->fh = reinterpret_cast<uint64_t>(
      new OpenFile{std::move(file), faulty ? faults.rate : 0.0, faulty ? faults.sync_rate : 0.0});
  info->direct_io = 1;
}

int Open(const char* path, fuse_file_info* info) {
  std::shared_ptr<CrashFile> file = FileOf(path, nullptr);
  if (file == nullptr) return -ENOENT;
  if ((info->flags & O_TRUNC) != 0) file->Truncate(0);
  Attach(NameOf(path), std::move(file), info);
  return 0;
}

int Create(const char* path, mode_t, fuse_file_info* info) {
  Attach(NameOf(path), System().directory.Create(NameOf(path)), info);
  System().DirectoryChanged();
  return 0;
}

int Release(const char*, fuse_file_info* info) {
  delete &OpenOf(info);
  return 0;
}

int Read(const char*, char* buffer, size_t size, off_t offset, fuse_file_info* info) {
  FileSystem& system = System();
  const OpenFile& open = OpenOf(info);
  if (system.Happens(open.fault_rate, Counted::kReadError)) return -EIO;
  if (size > CrashFile::kSectorBytes && system.Happens(open.fault_rate, Counted::kShortRead)) {
    size = (1 + system.dice.Below(size / CrashFile::kSectorBytes)) * CrashFile::kSectorBytes;
  }
  return static_cast<int>(open.file->Read(static_cast<uint64_t>(offset), {buffer, size}));
}

int Write(const char*, const char* buffer, size_t size, off_t offset, fuse_file_info* info) {
  FileSystem& system = System();
  const OpenFile& open = OpenOf(info);
  const auto at = static_cast<uint64_t>(offset);
  if (system.Happens(open.fault_rate, Counted::kNoSpace)) return -ENOSPC;
  const size_t sectors = size / CrashFile::kSectorBytes;
  if (system.Happens(open.fault_rate, Counted::kWriteError)) {
    // What an error leaves behind is anybody's guess: some of the bytes.
    open.file->Write(at, {buffer, system.dice.Below(sectors + 1) * CrashFile::kSectorBytes});
    return -EIO;
  }
  if (sectors > 1 && system.Happens(open.fault_rate, Counted::kShortWrite)) {
    size = (1 + system.dice.Below(sectors - 1)) * CrashFile::kSectorBytes;
  }
  open.file->Write(at, {buffer, size});
  if (system.dice.Chance(kPersistRate)) {
    system.counts->Add(Counted::kPersistedSector, open.file->PersistSome(system.dice));
  }
  return static_cast<int>(size);
}

int Sync(const char*, int, fuse_file_info* info) {
  FileSystem& system = System();
  if (system.faults.lie_about_sync) return 0;
  const OpenFile& open = OpenOf(info);
  if (system.Happens(open.sync_fault_rate, Counted::kFailedSync)) {
    system.counts->Add(Counted::kDroppedSector, open.file->FailSync(system.dice));
    return -EIO;
  }
  open.file->Sync(system.dice);
  system.counts->Add(Counted::kSync);
  return 0;
}

int SyncDirectory(const char*, int, fuse_file_info*) {
  if (!System().faults.lie_about_sync) System().directory.Sync();
  return 0;
}

int Truncate(const char* path, off_t size, fuse_file_info* info) {
  const std::shared_ptr<CrashFile> file = FileOf(path, info);
  if (file == nullptr) return -ENOENT;
  file->Truncate(static_cast<uint64_t>(size));
  return 0;
}

int Allocate(const char*, int mode, off_t offset, off_t length, fuse_file_info* info) {
  const OpenFile& open = OpenOf(info);
  if (System().Happens(open.fault_rate, Counted::kNoSpace)) return -ENOSPC;
  CrashFile& file = *open.file;
  const auto begin = static_cast<uint64_t>(offset);
  const auto size = static_cast<uint64_t>(length);
  if (mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)) {
    file.Clear(begin, size);
    return 0;
  }
  if (mode != 0) return -EOPNOTSUPP;
  if (begin + size > file.size_bytes()) file.Truncate(begin + size);
  return 0;
}

int Rename(const char* from, const char* to, unsigned flags) {
  if (flags != 0) return -EINVAL;
  if (!System().directory.Rename(NameOf(from), NameOf(to))) return -ENOENT;
  System().DirectoryChanged();
  return 0;
}

int Unlink(const char* path) {
  if (!System().directory.Remove(NameOf(path))) return -ENOENT;
  System().DirectoryChanged();
  return 0;
}

fuse_operations Operations() {
  fuse_operations operations = {};
  operations.init = Init;
  operations.getattr = GetAttributes;
  operations.readdir = ReadDirectory;
  operations.open = Open;
  operations.create = Create;
  operations.release = Release;
  operations.read = Read;
  operations.write = Write;
  operations.fsync = Sync;
  operations.fsyncdir = SyncDirectory;
  operations.truncate = Truncate;
  operations.fallocate = Allocate;
  operations.rename = Rename;
  operations.unlink = Unlink;
  return operations;
}

int Serve(FileSystem& system, const std::string& mount) {
  char* options[] = {const_cast<char*>("crash_file_system"), const_cast<char*>("-o"),
                     const_cast<char*>("fsname=fixpool_crash,subtype=fixpool_crash")};
  fuse_args args = FUSE_ARGS_INIT(3, options);
  const fuse_operations operations = Operations();
  fuse* const fuse = fuse_new(&args, &operations, sizeof(operations), &system);
  if (fuse == nullptr) return kNoFuse;
  if (fuse_mount(fuse, mount.c_str()) != 0) {
    fuse_destroy(fuse);
    return kNoFuse;
  }
  fuse_set_signal_handlers(fuse_get_session(fuse));
  std::puts("mounted");
  std::fflush(stdout);
  fuse_loop(fuse);
  system.directory.SyncAll(system.dice);
  fuse_remove_signal_handlers(fuse_get_session(fuse));
  fuse_unmount(fuse);
  fuse_destroy(fuse);
  fuse_opt_free_args(&args);
  return 0;
}

int Main(int argc, char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Arguments arguments(argc, argv);
  const std::string backing = arguments.Text("backing", "");
  const std::string mount = arguments.Text("mount", "");
  FileSystem system{.directory = CrashDirectory(backing),
                    .counts = FaultCounts::Open(arguments.Text("counts", "")),
                    .dice = Dice(arguments.Number("seed", 1)),
                    .faults = {.rate = arguments.Rate("fault_rate"),
                               .sync_rate = arguments.Rate("sync_fault_rate"),
                               .prefix = arguments.Text("fault_prefix", ""),
                               .lie_about_sync = arguments.Flag("lie_about_sync")}};
  arguments.EndIfUnused();
  if (system.counts == nullptr) {
    std::perror("--counts");
    return 2;
  }
  return Serve(system, mount);
}

}  // namespace
}  // namespace fixpool::tests

int main(int argc, char** argv) { return fixpool::tests::Main(argc, argv); }

#else  // no libfuse3

#include <cstdio>

int main() {
  std::fputs("built without libfuse3 (Debian: libfuse3-dev)\n", stderr);
  return 77;
}

#endif
