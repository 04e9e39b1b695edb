#include "framework/src/plugin/loader.h"
#include "framework/src/plugin/note.h"

#include <fstream>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace echo {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

fs::path plugin(const std::string& name) { return fs::path(PLUGIN_FOLDER) / (name + ".so"); }

std::string refusal(const fs::path& file) {
  Plugins plugins;
  try {
    plugins.load(file);
  } catch (const Error& error) {
    EXPECT_TRUE(plugins.loaded().empty());
    EXPECT_TRUE(plugins.registry().mixers.all().empty());
    return error.what();
  }
  return "";
}

class DamagedPluginTest : public ::testing::Test {
 protected:
  DamagedPluginTest() : path(fs::path(::testing::TempDir()) / "damaged.so") {
    std::ifstream file(plugin("good"), std::ios::binary);
    whole.assign(std::istreambuf_iterator<char>(file), {});
  }
  ~DamagedPluginTest() override { fs::remove(path); }
  void write(const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }
  fs::path path;
  std::string whole;
};

TEST(PluginTest, AddsItsKinds) {
  Plugins plugins;
  plugins.load(plugin("good"));
  const MixerKind* kind = plugins.registry().mixers.find("test/identity");
  ASSERT_NE(kind, nullptr);
  EXPECT_EQ(kind->origin, fs::canonical(plugin("good")).string());
  const auto mixer = kind->make(*kind->options(), Place{.width = 4});
  const at::Tensor x = at::ones({1, 2, 4});
  EXPECT_TRUE(at::equal((*mixer)(x, {}), x));
}

TEST(PluginTest, TheSameFileTwiceIsNoError) {
  Plugins plugins;
  plugins.load(plugin("good"));
  plugins.load(plugin("good"));
  EXPECT_EQ(plugins.loaded().size(), 1u);
}

TEST(PluginTest, RefusesAKindThatExists) {
  Plugins plugins;
  plugins.load(plugin("good"));
  try {
    plugins.load(plugin("second_good"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("its kind 'test/identity' exists already, from " +
                                        fs::canonical(plugin("good")).string()));
  }
}

TEST(PluginTest, ShowsItsNoteWithoutOpeningIt) {
  const Fingerprint note = read_note(plugin("good"));
  EXPECT_EQ(note.get("plugin"), "test");
  EXPECT_THAT(note.kinds(), ElementsAre("test/identity"));
  EXPECT_EQ(note.get("torch"), Fingerprint(host_fingerprint()).get("torch"));
}

TEST(PluginTest, NamesBothSidesOfAMismatch) {
  EXPECT_EQ(refusal(plugin("other_torch")),
            "cannot load the plugin " + fs::canonical(plugin("other_torch")).string() +
                ": it was built with LibTorch 2.9.1, this program with " +
                Fingerprint(host_fingerprint()).get("torch") +
                "; build the plugin again against this program");
}

TEST(PluginTest, RefusesAKindWithoutThePluginsPrefix) {
  EXPECT_THAT(refusal(plugin("no_prefix")), HasSubstr("its kind 'plain' must begin with 'test/'"));
}

TEST(PluginTest, RefusesKindsOtherThanDeclared) {
  EXPECT_THAT(refusal(plugin("undeclared")),
              HasSubstr("its note declares test/other, but it registers test/identity"));
}

TEST(PluginTest, RegistersNothingWhenItsLoadThrows) {
  EXPECT_THAT(refusal(plugin("throws")), HasSubstr("no licence"));
}

TEST(PluginTest, RefusesALibraryWithoutANote) {
  EXPECT_THAT(refusal(plugin("no_note")), HasSubstr("a shared library without Echo's note"));
}

TEST(PluginTest, RefusesAMissingFile) {
  EXPECT_EQ(refusal("/nowhere/x.so"),
            "cannot load the plugin /nowhere/x.so: No such file or directory");
}

TEST(PluginTest, RefusesAFolder) {
  EXPECT_THAT(refusal(::testing::TempDir()), HasSubstr("it is not a regular file"));
}

TEST_F(DamagedPluginTest, RefusesAPipeWithoutReadingIt) {
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_THAT(refusal(path), HasSubstr("it is not a regular file"));
}

TEST_F(DamagedPluginTest, RefusesAText) {
  write("#!/bin/sh\n");
  EXPECT_THAT(refusal(path), HasSubstr("it is no shared library"));
}

TEST_F(DamagedPluginTest, RefusesAnotherMachinesLibrary) {
  whole[18] = 8;  // e_machine: MIPS
  write(whole);
  EXPECT_THAT(refusal(path), HasSubstr("it is built for another machine"));
}

TEST_F(DamagedPluginTest, RefusesEveryCutLibrary) {
  for (size_t size = 0; size < whole.size(); size += 1021) {
    write(whole.substr(0, size));
    EXPECT_NE(refusal(path), "") << size;
  }
}

}  // namespace
}  // namespace echo
