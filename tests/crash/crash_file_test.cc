#include "tests/crash/crash_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "gtest/gtest.h"
#include "tests/crash/crash_directory.h"
#include "tests/crash/dice.h"
#include "tests/support/scratch.h"
#include "tests/support/seed.h"

namespace fixpool::tests {
namespace {

constexpr size_t kSector = CrashFile::kSectorBytes;

std::string Read(const CrashFile& file) {
  std::string bytes(file.size_bytes(), '\0');
  bytes.resize(file.Read(0, bytes));
  return bytes;
}

class CrashFileTest : public ::testing::Test {
 protected:
  // As after a crash: what is durable, and no more.
  CrashFile Open() { return {7, open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)}; }

  ScratchDirectory scratch_;
  const std::string path_ = scratch_.File("inode.7");
  Dice dice_{Seed()};
};

TEST_F(CrashFileTest, WhatIsNotSyncedIsRead) {
  CrashFile file = Open();
  file.Write(3, std::string("hello"));
  EXPECT_EQ(Read(file), std::string("\0\0\0hello", 8));
  EXPECT_EQ(ReadWholeFile(path_), "");
}

TEST_F(CrashFileTest, WhatIsNotSyncedIsLostInACrash) {
  CrashFile(Open()).Write(0, std::string("hello"));
  EXPECT_EQ(Read(Open()), "");
}

TEST_F(CrashFileTest, WhatIsSyncedIsNot) {
  {
    CrashFile file = Open();
    file.Write(0, std::string(3000, 'a'));
    file.Sync(dice_);
    file.Write(100, std::string("b"));
    file.Truncate(2000);
  }
  EXPECT_EQ(Read(Open()), std::string(3000, 'a'));
}

TEST_F(CrashFileTest, SyncKeepsTheSize) {
  CrashFile file = Open();
  file.Write(0, std::string(3000, 'a'));
  file.Truncate(1000);
  file.Truncate(1500);
  file.Sync(dice_);
  EXPECT_EQ(Read(file), std::string(1000, 'a') + std::string(500, '\0'));
  EXPECT_EQ(ReadWholeFile(path_), Read(file));
}

// A durable image that was shortened before it was written again holds nothing from before that.
TEST_F(CrashFileTest, ShorteningIsDurableBeforeWhatWasWrittenAfterIt) {
  CrashFile file = Open();
  file.Write(0, std::string(8 * kSector, 'a'));
  file.Sync(dice_);
  file.Truncate(0);
  file.Write(0, std::string(4 * kSector, 'b'));
  while (file.unsynced_sectors() > 0) file.PersistSome(dice_);
  EXPECT_EQ(ReadWholeFile(path_), std::string(4 * kSector, 'b'));
}

TEST_F(CrashFileTest, SectorsBecomeDurableWholeAndOneByOne) {
  constexpr size_t kSectors = 200;
  CrashFile file = Open();
  file.Write(0, std::string(kSectors * kSector, 'a'));
  file.Sync(dice_);
  file.Write(0, std::string(kSectors * kSector, 'b'));
  const size_t persisted = file.PersistSome(dice_);
  EXPECT_GT(persisted, 0U);
  EXPECT_LT(persisted, kSectors);
  EXPECT_EQ(file.unsynced_sectors(), kSectors - persisted);
  const std::string durable = ReadWholeFile(path_);
  size_t fresh = 0;
  for (size_t i = 0; i < kSectors; ++i) {
    const std::string sector = durable.substr(i * kSector, kSector);
    EXPECT_EQ(sector, std::string(kSector, sector[0]));
    if (sector[0] == 'b') ++fresh;
  }
  EXPECT_EQ(fresh, persisted);
}

TEST_F(CrashFileTest, WritingTheSameAgainLeavesNothingToSync) {
  CrashFile file = Open();
  file.Write(0, std::string(4 * kSector, 'a'));
  file.Sync(dice_);
  file.Write(kSector, std::string(kSector, 'a'));
  EXPECT_EQ(file.unsynced_sectors(), 0U);
}

// "Success" after a failure: the next sync says OK and the bytes are gone.
TEST_F(CrashFileTest, WhatAFailedSyncDroppedStaysLost) {
  constexpr size_t kSectors = 200;
  CrashFile file = Open();
  file.Write(0, std::string(kSectors * kSector, 'a'));
  file.Sync(dice_);
  file.Write(0, std::string(kSectors * kSector, 'b'));
  const size_t dropped = file.FailSync(dice_);
  EXPECT_GT(dropped, 0U);
  EXPECT_EQ(file.unsynced_sectors(), 0U);
  EXPECT_EQ(Read(file), std::string(kSectors * kSector, 'b'));
  file.Sync(dice_);
  EXPECT_NE(Read(file), std::string(kSectors * kSector, 'b'));
  const std::string durable = ReadWholeFile(path_);
  size_t old = 0;
  for (size_t i = 0; i < kSectors; ++i) {
    if (durable[i * kSector] == 'a') ++old;
  }
  EXPECT_EQ(old, dropped);
}

TEST_F(CrashFileTest, WhatWasDroppedIsWrittenIfItIsWrittenAgain) {
  CrashFile file = Open();
  file.Write(0, std::string(100 * kSector, 'b'));
  file.FailSync(dice_);
  file.Write(0, std::string(100 * kSector, 'b'));
  file.Sync(dice_);
  EXPECT_EQ(ReadWholeFile(path_), std::string(100 * kSector, 'b'));
}

TEST(CrashDirectoryTest, EntriesAreDurableBySyncOfTheDirectoryAlone) {
  const ScratchDirectory scratch;
  Dice dice(Seed());
  {
    CrashDirectory directory(scratch.path());
    directory.Create("kept")->Write(0, std::string("k"));
    directory.Find("kept")->Sync(dice);
    directory.Sync();
    directory.Create("lost")->Write(0, std::string("l"));
    directory.Find("lost")->Sync(dice);
    EXPECT_TRUE(directory.Rename("kept", "renamed"));
    EXPECT_EQ(directory.Find("kept"), nullptr);
    EXPECT_FALSE(directory.Remove("kept"));
  }
  const CrashDirectory directory(scratch.path());
  ASSERT_EQ(directory.entries().size(), 1U);
  ASSERT_NE(directory.Find("kept"), nullptr);
  EXPECT_EQ(Read(*directory.Find("kept")), "k");
}

TEST(CrashDirectoryTest, RenameReplaces) {
  const ScratchDirectory scratch;
  Dice dice(Seed());
  {
    CrashDirectory directory(scratch.path());
    directory.Create("new")->Write(0, std::string("n"));
    directory.Create("old");
    EXPECT_TRUE(directory.Rename("new", "old"));
    EXPECT_FALSE(directory.Rename("new", "old"));
    directory.SyncAll(dice);
  }
  const CrashDirectory directory(scratch.path());
  EXPECT_EQ(directory.entries().size(), 1U);
  EXPECT_EQ(Read(*directory.Find("old")), "n");
}

}  // namespace
}  // namespace fixpool::tests
