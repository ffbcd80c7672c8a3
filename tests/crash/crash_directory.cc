#include "tests/crash/crash_directory.h"

#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

namespace fixpool::tests {
namespace {

int OpenImage(const std::string& path, int flags) {
  const int descriptor = open(path.c_str(), O_RDWR | O_CLOEXEC | flags, 0600);
  if (descriptor >= 0) return descriptor;
  std::perror(path.c_str());
  std::abort();
}

}  // namespace

CrashDirectory::CrashDirectory(const std::string& host_path) : host_path_(host_path) {
  std::ifstream entries(host_path_ + "/entries");
  uint64_t inode;
  std::string name;
  while (entries >> inode >> name) {
    entries_[name] = std::make_shared<CrashFile>(inode, OpenImage(HostPath(inode), 0));
    next_inode_ = std::max(next_inode_, inode + 1);
  }
  RemoveOrphans();
}

std::string CrashDirectory::HostPath(uint64_t inode) const {
  return host_path_ + "/inode." + std::to_string(inode);
}

void CrashDirectory::RemoveOrphans() const {
  std::set<std::string> wanted = {host_path_ + "/entries"};
  for (const auto& [name, file] : entries_) wanted.insert(HostPath(file->inode()));
  std::set<std::string> orphans;
  for (const auto& entry : std::filesystem::directory_iterator(host_path_)) {
    if (!wanted.contains(entry.path().string())) orphans.insert(entry.path().string());
  }
  for (const std::string& path : orphans) std::filesystem::remove(path);
}

std::shared_ptr<CrashFile> CrashDirectory::Find(const std::string& name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : found->second;
}

std::shared_ptr<CrashFile> CrashDirectory::Create(const std::string& name) {
  const uint64_t inode = next_inode_++;
  const int descriptor = OpenImage(HostPath(inode), O_CREAT | O_TRUNC);
  return entries_[name] = std::make_shared<CrashFile>(inode, descriptor);
}

bool CrashDirectory::Rename(const std::string& from, const std::string& to) {
  const auto found = entries_.find(from);
  if (found == entries_.end()) return false;
  const std::shared_ptr<CrashFile> file = found->second;
  entries_.erase(found);
  entries_[to] = file;
  return true;
}

bool CrashDirectory::Remove(const std::string& name) { return entries_.erase(name) > 0; }

void CrashDirectory::Sync() {
  const std::string fresh = host_path_ + "/entries.new";
  {
    std::ofstream entries(fresh, std::ios::trunc);
    for (const auto& [name, file] : entries_) entries << file->inode() << ' ' << name << '\n';
    if (!entries.flush()) std::abort();
  }
  // The process may be killed between any two instructions, so in one step.
  std::filesystem::rename(fresh, host_path_ + "/entries");
}

void CrashDirectory::SyncAll(Dice& dice) {
  for (const auto& [name, file] : entries_) file->Sync(dice);
  Sync();
}

}  // namespace fixpool::tests
