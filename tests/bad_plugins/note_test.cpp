#include "framework/src/plugin/note.h"

#include "tests/bad_plugins/plugins.h"

#include <cstring>
#include <elf.h>
#include <random>
#include <sstream>

#include <gmock/gmock.h>

// Over any bytes the reader of notes gives an answer.
namespace echo::bad_plugins {
namespace {

PluginReport inspect(const std::string& bytes) {
  std::istringstream stream(bytes);
  return inspect_plugin(stream, bytes.size(), Fingerprint(host_fingerprint()));
}

// Mutations that a fuzzer would begin with; the seed makes them the same every time.
class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  // Most of the damage goes to the headers, the tables of segments and sections, and the note.
  std::string operator()(std::string bytes, const std::vector<size_t>& hot) {
    const size_t count = 1 + random_() % 8;
    for (size_t i = 0; i < count && !bytes.empty(); ++i) change(bytes, hot);
    return bytes;
  }

 private:
  void change(std::string& bytes, const std::vector<size_t>& hot) {
    const size_t base = hot[random_() % hot.size()];
    const size_t at = (random_() % 4 == 0 ? random_() : base + random_() % 640) % bytes.size();
    const size_t length = std::min<size_t>(1 + random_() % 8, bytes.size() - at);
    switch (random_() % 5) {
      case 0:
        bytes[at] = static_cast<char>(random_());
        break;
      case 1:
        bytes.replace(at, length, length, '\0');
        break;
      case 2:
        bytes.replace(at, length, length, '\xff');
        break;
      case 3:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random_() % 8));
        break;
      default:
        if (random_() % 16 == 0) bytes.resize(at);
    }
  }

  std::mt19937_64 random_;
};

std::vector<size_t> hot_places(const std::string& bytes) {
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof header);
  std::vector<size_t> places = {0, 64, header.e_shoff, header.e_shoff + 640};
  const size_t note = bytes.find("echo=");
  if (note != std::string::npos) places.push_back(note - 20);
  for (size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    std::memcpy(&segment, bytes.data() + header.e_phoff + i * sizeof segment, sizeof segment);
    if (segment.p_type == PT_DYNAMIC) places.push_back(segment.p_offset);
  }
  return places;
}

TEST(TheReaderOfNotes, AnswersToAnyMutationOfAPlugin) {
  const std::string whole = bytes_of(plugin("good"));
  const std::vector<size_t> hot = hot_places(whole);
  Mutator mutate(20);
  int64_t refused = 0, with_note = 0;
  constexpr int64_t kCount = 5000;
  for (int64_t i = 0; i < kCount; ++i) {
    const PluginReport report = inspect(mutate(whole, hot));
    if (!report.refusal.empty()) ++refused;
    if (report.note) ++with_note;
  }
  EXPECT_GT(refused, kCount / 2);
  EXPECT_GT(with_note, kCount / 10);
}

TEST(TheReaderOfNotes, AnswersToRandomBytes) {
  std::mt19937_64 random(21);
  for (int64_t i = 0; i < 2000; ++i) {
    std::string bytes(random() % 4096, '\0');
    for (char& letter : bytes) letter = static_cast<char>(random());
    if (i % 2 == 0)
      bytes.replace(0, std::min<size_t>(bytes.size(), 4),
                    "\x7f"
                    "ELF");
    EXPECT_FALSE(inspect(bytes).refusal.empty());
  }
}

TEST(TheReaderOfNotes, ShowsTheNoteOfALibraryThatIsCutOffBehindIt) {
  const std::string whole = bytes_of(plugin("good"));
  const PluginReport report = inspect(whole.substr(0, whole.size() - 64));
  ASSERT_TRUE(report.note);
  EXPECT_EQ(report.note->get("plugin"), "test");
  EXPECT_THAT(report.refusal, ::testing::StartsWith("it is cut off: "));
}

TEST(TheReaderOfNotes, TakesTheFirstOfTwoValues) {
  EXPECT_EQ(Fingerprint("a=1;a=2;b;=;;c=").get("a"), "1");
}

TEST(TheReaderOfNotes, TakesAGoodPlugin) {
  EXPECT_EQ(inspect(bytes_of(plugin("good"))).refusal, "");
}

}  // namespace
}  // namespace echo::bad_plugins
