#include "framework/src/plugin/note.h"
#include "tests/bad_plugins/plugins.h"

#include <cstdlib>

#include <ATen/ATen.h>

#include <gmock/gmock.h>

// Plugins that are whole libraries and wrong in another way: each has its message.
namespace echo::bad_plugins {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string host(const std::string& key) { return Fingerprint(host_fingerprint()).get(key); }

// The process that loads it ends with exit code 2 and says this.
void expect_end(const std::string& name, const std::string& reason) {
  EXPECT_EXIT(refusal(plugin(name)), ::testing::ExitedWithCode(2),
              "echo: error: cannot load the plugin .*" + name + "[.]so: " + reason +
                  "; correct the plugin, or run without it\n");
}

TEST(AGoodPlugin, AddsItsKinds) {
  Plugins plugins;
  plugins.load(plugin("good"));
  const MixerKind* kind = plugins.registry().mixers.find("test/identity");
  ASSERT_NE(kind, nullptr);
  EXPECT_EQ(kind->origin, fs::canonical(plugin("good")).string());
  const auto mixer = kind->make(*kind->options(), Place{.width = 4});
  const at::Tensor x = at::ones({1, 2, 4});
  EXPECT_TRUE(at::equal((*mixer)(x, {}), x));
}

TEST(AGoodPlugin, TwiceIsNoError) {
  Plugins plugins;
  plugins.load(plugin("good"));
  plugins.load(plugin("good"));
  EXPECT_EQ(plugins.loaded().size(), 1u);
}

TEST(AGoodPlugin, ShowsItsNoteWithoutBeingOpened) {
  const Fingerprint note = read_note(plugin("good"));
  EXPECT_EQ(note.get("plugin"), "test");
  EXPECT_THAT(note.kinds(), ElementsAre("test/identity"));
  EXPECT_EQ(note.get("torch"), host("torch"));
}

TEST(AGoodPlugin, IsKnownByItsHash) {
  Plugins plugins;
  plugins.load(plugin("good"));
  EXPECT_EQ(plugins.loaded().front().sha256.size(), 64u);
}

TEST(AGoodPlugin, OfClangLoadsToo) {
  if (!fs::exists(plugin("of_clang"))) GTEST_SKIP() << "no clang++-14 beside another compiler";
  EXPECT_EQ(refusal(plugin("of_clang")), "");
  EXPECT_THAT(read_note(plugin("of_clang")).get("compiler"), StartsWith("clang-14"));
}

TEST(AGoodPlugin, MayHaveALongerDescriptorAsALaterProgramsHas) {
  EXPECT_EQ(refusal(plugin("descriptor_nothing")), "");
  EXPECT_EQ(refusal(plugin("descriptor_larger")), "");
}

TEST(TwoPlugins, WithTheSameNamesForEverythingKeepTheirOwn) {
  Plugins plugins;
  plugins.load(plugin("same_names_a"));
  plugins.load(plugin("same_names_b"));
  const at::Tensor x = at::ones({1, 1, 2});
  const auto product = [&](const std::string& name) {
    const MixerKind& kind = *plugins.registry().mixers.find(name);
    return (*kind.make(*kind.options(), Place{.width = 2}))(x, {}).max().item<double>();
  };
  EXPECT_EQ(product("a/scale"), 9);
  EXPECT_EQ(product("b/scale"), 25);
}

TEST(TwoPlugins, CannotAddTheSameKind) {
  Plugins plugins;
  plugins.load(plugin("good"));
  try {
    plugins.load(plugin("duplicate_kind"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), "cannot load the plugin " +
                                fs::canonical(plugin("duplicate_kind")).string() +
                                ": its kind 'test/identity' exists already, from " +
                                fs::canonical(plugin("good")).string() + "; load one of them");
  }
  EXPECT_EQ(plugins.loaded().size(), 1u);
}

TEST(ABadPlugin, OfTheOtherStringAbi) {
  EXPECT_EQ(refusal(plugin("other_string_abi")),
            "it was built with the std::string ABI (_GLIBCXX_USE_CXX11_ABI) 0, this program with "
            "1; build the plugin again against this program");
}

TEST(ABadPlugin, OfTheDebugLibrary) {
  EXPECT_EQ(refusal(plugin("debug_library")),
            "it was built with the library's debug mode (_GLIBCXX_DEBUG) 1, this program with 0; "
            "build the plugin again against this program");
}

TEST(ABadPlugin, WithoutANote) {
  EXPECT_EQ(refusal(plugin("no_note")),
            "it is a shared library without Echo's note: no plugin (ECHO_PLUGIN makes one)");
}

TEST(ABadPlugin, WithANoteThatIsTooLong) {
  EXPECT_THAT(refusal(plugin("long_note")),
              HasSubstr("bytes, at most 512 are read; give its kinds shorter names"));
}

TEST(ABadPlugin, WithAKindWithoutItsName) {
  EXPECT_EQ(refusal(plugin("no_prefix")), "its kind 'plain' must begin with 'test/'; rename it");
}

TEST(ABadPlugin, WithOtherKindsThanDeclared) {
  EXPECT_EQ(refusal(plugin("undeclared")),
            "its note declares test/other, but it registers test/identity; name them all in "
            "ECHO_PLUGIN");
}

TEST(ABadPlugin, ThatDeclaresAKindTwice) {
  EXPECT_EQ(refusal(plugin("declared_twice")),
            "its note declares the kind 'test/identity' twice; correct it in ECHO_PLUGIN");
}

TEST(ABadPlugin, ThatRegistersAKindTwice) {
  EXPECT_EQ(refusal(plugin("registers_twice")),
            "its load function failed: the kind 'test/identity' exists already");
}

TEST(ABadPlugin, ThatRegistersHalfAndFails) {
  EXPECT_EQ(refusal(plugin("half")), "its load function failed: no licence");
}

TEST(ABadPlugin, WithAMissingSymbol) {
  EXPECT_EQ(refusal(plugin("missing_symbol")),
            "it needs 'somewhere::fill(long)', which neither this program nor the plugin's own "
            "libraries have; define it or link the library that does (the linker names it with "
            "-Wl,-z,defs)");
}

TEST(ABadPlugin, ThatThrowsInAStaticConstructor) {
  expect_end("throws_in_constructor", "a static constructor threw: no table");
}

TEST(ABadPlugin, ThatExitsInAStaticConstructor) {
  expect_end("exits_in_constructor", "a static constructor called exit\\(0\\)");
}

TEST(ABadPlugin, ThatExitsInLoad) {
  expect_end("exits_in_load", "its load function called exit\\(3\\)");
}

TEST(ABadPlugin, WatchedWhileItLoadsOnly) {
  const auto leave = [] {
    refusal(plugin("half"));
    std::exit(7);
  };
  EXPECT_EXIT(leave(), ::testing::ExitedWithCode(7), "^$");
}

TEST(ABadDescriptor, OfAnEarlierProgram) {
  EXPECT_EQ(refusal(plugin("descriptor_smaller")),
            "its descriptor is 40 bytes, this program needs 48; build the plugin again against "
            "this program");
}

TEST(ABadDescriptor, ThatIsNone) {
  EXPECT_EQ(refusal(plugin("descriptor_null")),
            "echo_plugin_v1 returned nothing; use the macro ECHO_PLUGIN");
}

TEST(ABadDescriptor, WithoutAFingerprint) {
  EXPECT_EQ(refusal(plugin("descriptor_no_fingerprint")),
            "its descriptor has no fingerprint; use ECHO_PLUGIN");
}

TEST(ABadDescriptor, WithAnotherFingerprint) {
  EXPECT_THAT(refusal(plugin("descriptor_other_fingerprint")),
              StartsWith("its note and its descriptor disagree about the fingerprint ('echo="));
}

TEST(ABadDescriptor, WithoutAName) {
  EXPECT_EQ(refusal(plugin("descriptor_no_name")), "its descriptor has no name; use ECHO_PLUGIN");
}

TEST(ABadDescriptor, WithoutAVersion) {
  EXPECT_EQ(refusal(plugin("descriptor_no_version")),
            "its descriptor has no version; use ECHO_PLUGIN");
}

TEST(ABadDescriptor, WithAnotherVersion) {
  EXPECT_EQ(refusal(plugin("descriptor_other_version")),
            "its note and its descriptor disagree about the version ('0.1' and '0.2'); build it "
            "again");
}

TEST(ABadDescriptor, WithoutASummary) {
  EXPECT_EQ(refusal(plugin("descriptor_no_summary")),
            "its descriptor has no summary; use ECHO_PLUGIN");
}

TEST(ABadDescriptor, WithoutALoadFunction) {
  EXPECT_EQ(refusal(plugin("descriptor_no_load")),
            "its descriptor has no load function; use ECHO_PLUGIN");
}

TEST(ABadLoadFunction, ThatThrows) {
  EXPECT_EQ(refusal(plugin("descriptor_load_throws")),
            "its load function threw: no licence; it must return a number instead (ECHO_PLUGIN "
            "sees to that)");
}

TEST(ABadLoadFunction, ThatThrowsANumber) {
  EXPECT_EQ(refusal(plugin("descriptor_load_throws_a_number")),
            "its load function threw an exception that is no std::exception; it must return a "
            "number instead (ECHO_PLUGIN sees to that)");
}

TEST(ABadLoadFunction, WhoseErrorHasNoEnd) {
  EXPECT_EQ(refusal(plugin("descriptor_error_without_end")),
            "its load function failed: " + std::string(1023, 'x'));
}

TEST(ABadLoadFunction, WithoutAReason) {
  EXPECT_EQ(refusal(plugin("descriptor_fails_without_reason")),
            "its load function failed: without a reason (code 7)");
}

}  // namespace
}  // namespace echo::bad_plugins
