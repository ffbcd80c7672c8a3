#include "tests/simulation/page_model.h"

#include <algorithm>
#include <span>

#include "absl/strings/str_cat.h"
#include "fixpool/storage/crc32c_seal.h"

namespace fixpool::simulation {

PageModel::PageModel(uint64_t seed, uint64_t most_pages, SimDisk* disk, Verdict* verdict)
    : seed_(seed),
      most_pages_(most_pages),
      seal_(std::make_shared<storage::Crc32cSeal>()),
      disk_(disk),
      verdict_(verdict),
      files_(disk->file_count()),
      whole_(disk->file_count()),
      pages_(disk->file_count() * most_pages) {}

std::optional<size_t> PageModel::Find(storage::FileId id) const {
  for (size_t i = 0; i < files_.size(); ++i) {
    if (files_[i].open && files_[i].id == id) return i;
  }
  return std::nullopt;
}

std::string PageModel::NameOf(size_t file, uint64_t page) const {
  return absl::StrCat("page ", page, " of file ", file);
}

PageModel::Version& PageModel::NewVersion(size_t file, uint64_t page) {
  std::vector<Version>& versions = pages(file, page).versions;
  if (versions.size() == 1 || versions.back().issued) {
    const Version next{.tags = versions.back().tags, .lsn = versions.back().lsn};
    versions.push_back(next);
  }
  return versions.back();
}

void PageModel::SetZeros(size_t file, uint64_t page) {
  NewVersion(file, page).tags = {};
  Page& one = pages(file, page);
  one.suspect |= one.bad;
  one.bad = false;
}

Tag PageModel::SetSector(size_t file, uint64_t page, size_t sector) {
  return NewVersion(file, page).tags[sector] = ++last_tag_;
}

void PageModel::CheckBytes(Invariant invariant, size_t file, uint64_t page,
                           const std::byte* bytes) {
  const PatternKey key = KeyOf(file, page);
  const PageTags& newest = Newest(file, page);
  const size_t sector = FirstDifference(key, newest, bytes);
  if (verdict_->Check(invariant, sector == kSectors)) return;
  const std::optional<Tag> found = ReadSector(key, sector, bytes + sector * kSectorBytes);
  verdict_->Fail(invariant, absl::StrCat(NameOf(file, page), ": sector ", sector, " holds ",
                                         found.has_value() ? absl::StrCat("version ", *found)
                                                           : "what is no version of it",
                                         ", and the newest is ", newest[sector]));
}

// ---- Seals ----

void PageModel::Seal(size_t file) { disk_->file(file).set_sealed(true); }

std::optional<storage::Lsn> PageModel::ReadSeal(size_t file, uint64_t page,
                                                const std::byte* bytes) const {
  const std::span<const std::byte> all(bytes, kPageBytes);
  const absl::StatusOr<storage::Lsn> lsn =
      seal_->Verify(all, {.page_number = page, .file_identity = IdentityOf(file)});
  if (lsn.ok()) return *lsn;
  if (storage::IsAllZeros(all)) return storage::Lsn::kNone;
  return std::nullopt;
}

std::optional<PageModel::Version> PageModel::FindSealed(size_t file, uint64_t page,
                                                        const std::byte* bytes) const {
  const std::optional<storage::Lsn> lsn = ReadSeal(file, page, bytes);
  if (!lsn.has_value()) return std::nullopt;
  Version found{.issued = true, .found = true, .lsn = *lsn};
  for (size_t sector = 0; sector < kSectors; ++sector) {
    // Its seal says that it is one that was written.
    found.tags[sector] =
        ReadSector(KeyOf(file, page), sector, bytes + sector * kSectorBytes).value_or(0);
  }
  return found;
}

void PageModel::TakeAsFound(size_t file, uint64_t page, const std::optional<Version>& found) {
  Page& one = pages(file, page);
  one.bad = !found.has_value();
  if (one.bad) return;
  if (one.versions.size() > 1 && !one.versions.back().issued) one.versions.pop_back();
  one.versions.push_back(*found);
}

void PageModel::OnRead(size_t file, uint64_t page) {
  Page& one = pages(file, page);
  if (one.damaged) one.loaded = FindSealed(file, page, disk_->file(file).Now(page));
}

void PageModel::CheckShown(size_t file, uint64_t page, const std::byte* bytes) {
  const Page& one = pages(file, page);
  if (sealed(file) && !verdict_->Check(Invariant::kSealTells, !one.bad)) {
    return verdict_->Fail(Invariant::kSealTells,
                          absl::StrCat(NameOf(file, page), " is torn or damaged, and is shown"));
  }
  const PatternKey key = KeyOf(file, page);
  if (one.loaded.has_value() && FirstDifference(key, Newest(file, page), bytes) != kSectors &&
      FirstDifference(key, one.loaded->tags, bytes) == kSectors) {
    TakeAsFound(file, page, one.loaded);
  }
  CheckBytes(Invariant::kShownPage, file, page, bytes);
}

// ---- What is on the disk ----

void PageModel::OnWrite(size_t file, uint64_t page, const std::byte* bytes) {
  CheckBytes(Invariant::kWrittenPage, file, page, bytes);
  if (sealed(file)) {
    const std::optional<storage::Lsn> lsn = ReadSeal(file, page, bytes);
    const bool right = lsn.has_value() && *lsn == LsnOf(file, page);
    if (!verdict_->Check(Invariant::kSealed, right)) {
      verdict_->Fail(Invariant::kSealed,
                     absl::StrCat(NameOf(file, page), " is written with LSN ",
                                  lsn.has_value() ? absl::StrCat(ToInt(*lsn)) : "none, unsealed",
                                  ", and not ", ToInt(LsnOf(file, page))));
    }
  }
  pages(file, page).versions.back().issued = true;
}

void PageModel::CheckOnDisk(size_t file, uint64_t page) {
  if (pages(file, page).damaged) return;
  CheckBytes(Invariant::kCleanIsOnDisk, file, page, disk_->file(file).Now(page));
}

void PageModel::OnFlushed(size_t file) {
  SimFileImage& image = disk_->file(file);
  for (uint64_t page = 0; page < most_pages_; ++page) {
    std::vector<Version>& versions = pages(file, page).versions;
    // What was found is nobody's change, and nobody has promised anything of it.
    if (versions.size() == 1 || versions.back().found) continue;
    if (pages(file, page).damaged) continue;
    CheckBytes(Invariant::kFlushedIsDurable, file, page, image.Durable(page));
    if (!versions.back().issued) {
      verdict_->Fail(Invariant::kFlushedIsDurable,
                     absl::StrCat(NameOf(file, page), " was flushed and never written"));
    }
    if (image.durable_size_bytes() < (page + 1) * kPageBytes) {
      verdict_->Fail(Invariant::kFlushedIsDurable,
                     absl::StrCat(NameOf(file, page), " was flushed, and the file ends at ",
                                  image.durable_size_bytes()));
    }
    versions.front() = versions.back();
    versions.resize(1);
  }
}

bool PageModel::MayHold(const Page& page, size_t sector, Tag tag) const {
  for (size_t i = 0; i < page.versions.size(); ++i) {
    const Version& version = page.versions[i];
    if ((i == 0 || version.issued) && version.tags[sector] == tag) return true;
  }
  return false;
}

std::optional<PageTags> PageModel::CheckSectors(size_t file, uint64_t page, const std::byte* bytes,
                                                const char* when) {
  const Page& known = pages(file, page);
  PageTags tags{};
  for (size_t sector = 0; sector < kSectors; ++sector) {
    const std::optional<Tag> tag =
        ReadSector(KeyOf(file, page), sector, bytes + sector * kSectorBytes);
    const bool good = tag.has_value() && MayHold(known, sector, *tag);
    if (!verdict_->Check(Invariant::kAfterCrash, good)) {
      verdict_->Fail(
          Invariant::kAfterCrash,
          absl::StrCat(NameOf(file, page), " ", when, ": sector ", sector, " holds ",
                       tag.has_value() ? absl::StrCat("version ", *tag) : "what is no version",
                       ", and versions from ", known.versions.front().tags[sector], " to ",
                       known.versions.back().tags[sector], " are known"));
      return std::nullopt;
    }
    tags[sector] = *tag;
  }
  return tags;
}

void PageModel::OnCrash(size_t file) {
  whole_[file].after = Whole::After::kCrash;
  for (uint64_t page = 0; page < most_pages_; ++page) {
    const std::byte* const bytes = disk_->file(file).Durable(page);
    Page& one = pages(file, page);
    if (one.damaged) {
      TakeAsFound(file, page, FindSealed(file, page, bytes));
      one = {.versions = {one.versions.back()}, .damaged = one.bad, .bad = one.bad};
      one.versions.front().found = false;
      continue;
    }
    const std::optional<PageTags> tags =
        CheckSectors(file, page, disk_->file(file).Durable(page), "after a crash");
    if (!tags.has_value()) return;
    std::vector<Version>& versions = pages(file, page).versions;
    one.suspect = false;
    if (IsProtected(file)) {
      versions.back().issued = true;  // its copy may have been written
      continue;
    }
    versions.resize(1);
    versions.front() = {.tags = *tags, .issued = true};
    if (!sealed(file)) continue;
    const std::optional<storage::Lsn> lsn = ReadSeal(file, page, bytes);
    one.bad = !lsn.has_value();
    versions.front().lsn = lsn.value_or(storage::Lsn::kNone);
  }
}

std::optional<PageModel::Version> PageModel::FindWhole(size_t file, uint64_t page,
                                                       const std::byte* bytes) const {
  const std::vector<Version>& versions = pages(file, page).versions;
  const std::optional<storage::Lsn> lsn = ReadSeal(file, page, bytes);
  for (size_t i = versions.size(); lsn.has_value() && i-- > 0;) {
    if (i > 0 && !versions[i].issued) continue;
    if (FirstDifference(KeyOf(file, page), versions[i].tags, bytes) != kSectors) continue;
    return Version{.tags = versions[i].tags, .issued = true, .lsn = *lsn};
  }
  return std::nullopt;
}

void PageModel::OnOpened(size_t file) {
  const Whole::After after = whole_[file].after;
  whole_[file].after = Whole::After::kNothing;
  if (!IsProtected(file)) return;
  for (uint64_t page = 0; page < most_pages_; ++page) {
    Page& one = pages(file, page);
    const std::byte* const bytes = disk_->file(file).Now(page);
    if (after == Whole::After::kNothing) {
      // Its copy could not be had the last time.
      if (one.bad) TakeAsFound(file, page, FindSealed(file, page, bytes));
      continue;
    }
    std::optional<Version> found = FindWhole(file, page, bytes);
    // What a failed sync has forgotten, and a later one has not done, is beyond help.
    if (!found.has_value() && (one.damaged || Forgotten(file, page))) {
      one.damaged = true;
      TakeAsFound(file, page, FindSealed(file, page, bytes));
      continue;
    }
    if (!verdict_->Check(Invariant::kWhole, found.has_value())) {
      return verdict_->Fail(Invariant::kWhole, absl::StrCat(NameOf(file, page),
                                                            " is not what it ever was as a whole"));
    }
    one.bad = false;
    // Who may not write it leaves the copies as they are, for who opens it next.
    const bool alone =
        after == Whole::After::kCrash && !Forgotten(file, page) && !files_[file].read_only;
    if (alone) one.versions.clear();
    if (!alone && one.versions.size() == 1) continue;
    found->found = !alone;
    one.versions.push_back(*found);
  }
}

void PageModel::OnDiscarded(size_t file) {
  if (IsProtected(file)) {
    whole_[file].after = Whole::After::kDiscard;
    for (uint64_t page = 0; page < most_pages_; ++page) {
      pages(file, page).versions.back().issued = true;  // its copy may have been written
    }
    return;
  }
  for (uint64_t page = 0; page < most_pages_; ++page) {
    std::vector<Version>& versions = pages(file, page).versions;
    const std::byte* const bytes = disk_->file(file).Now(page);
    if (pages(file, page).damaged) {
      TakeAsFound(file, page, FindSealed(file, page, bytes));
      continue;
    }
    if (versions.size() == 1) continue;
    const std::optional<PageTags> tags =
        CheckSectors(file, page, bytes, "after its changes were discarded");
    if (!tags.has_value()) return;
    if (!versions.back().issued) versions.pop_back();
    versions.push_back({.tags = *tags, .issued = true, .found = true});
    if (!sealed(file)) continue;
    const std::optional<storage::Lsn> lsn = ReadSeal(file, page, bytes);
    pages(file, page).bad = !lsn.has_value();
    versions.back().lsn = lsn.value_or(storage::Lsn::kNone);
  }
}

void PageModel::Begin(size_t file, uint64_t size_bytes) {
  SimFileImage& image = disk_->file(file);
  for (uint64_t at = 0; at < size_bytes; at += kPageBytes) {
    const uint64_t page = at / kPageBytes;
    const uint64_t length_bytes = std::min<uint64_t>(size_bytes - at, kPageBytes);
    std::byte bytes[kPageBytes];
    for (size_t sector = 0; sector < length_bytes / kSectorBytes; ++sector) {
      const Tag tag = ++last_tag_;
      pages(file, page).versions.front().tags[sector] = tag;
      FillSector(KeyOf(file, page), sector, tag, bytes + sector * kSectorBytes);
    }
    if (sealed(file)) {
      seal_->Seal(bytes, {.page_number = page, .file_identity = IdentityOf(file)},
                  storage::Lsn::kNone);
    }
    image.Write(at, bytes, length_bytes);
  }
  image.Settle();
}

}  // namespace fixpool::simulation
