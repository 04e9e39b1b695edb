#include "framework/src/files/file.h"

#include "framework/src/files/sha256.h"

#include <echo/error.h>

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace echo {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class FileTest : public ::testing::Test {
 protected:
  FileTest() : folder(fs::path(::testing::TempDir()) / "echo file test") {
    fs::create_directories(folder);
  }
  ~FileTest() override { fs::remove_all(folder); }
  fs::path folder;
};

TEST_F(FileTest, ReplacesAFileWhole) {
  replace_file(folder / "a.txt", "old");
  replace_file(folder / "a.txt", "new");
  EXPECT_EQ(read(folder / "a.txt"), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 1);
}

TEST_F(FileTest, RemovesAFileThatWasNotFinished) {
  {
    FileWriter writer(folder / "a.bin");
    writer.write("part");
  }
  EXPECT_FALSE(fs::exists(folder / "a.bin"));
}

TEST_F(FileTest, NamesTheFileThatCannotBeCreated) {
  try {
    FileWriter writer(folder / "missing" / "a.bin");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(
        std::string(error.what()),
        "cannot create " + (folder / "missing" / "a.bin").string() + ": No such file or directory");
  }
}

TEST_F(FileTest, NamesTheFileAndTheReasonWhenTheDiskIsFull) {
  try {
    FileWriter writer("/dev/full");
    writer.write("text");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                ::testing::HasSubstr("cannot write /dev/full: No space left on device"));
  }
}

TEST_F(FileTest, HashesTextAndFiles) {
  const std::string expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(sha256("abc"), expected);
  replace_file(folder / "a.txt", "abc");
  EXPECT_EQ(sha256_file(folder / "a.txt"), expected);
  EXPECT_THROW(sha256_file(folder / "b.txt"), Error);
}

}  // namespace
}  // namespace echo
