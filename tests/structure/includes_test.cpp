#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace {

namespace fs = std::filesystem;

// What the files of a folder may include, as beginnings of the name. Arrows: cli -> trainers ->
// framework <- mixers. A name without a slash is the C++ library's or the system's, unless it is
// one of kBareLibraries. Where rooms lie in each other, the inner one decides.
struct Room {
  std::string folder;
  std::vector<std::string> allowed;
};

const std::vector<std::string> kSystem = {"sys/", "netinet/", "arpa/"};
const std::vector<std::string> kBareLibraries = {"httplib.h", "mpi.h", "nccl.h", "sentencepiece"};

const std::vector<Room> kRooms = {
    // Compiled by strangers: a plugin builds in half the time because these stay lean.
    {"framework/include", {"echo/", "ATen/core/", "torch/version.h"}},
    {"framework/src",
     {"echo/", "framework/src/", "ATen/", "c10/", "torch/", "Eigen/", "yaml-cpp/", "spdlog/",
      "nlohmann/", "openssl/"}},
    {"mixers", {"echo/", "ATen/", "c10/", "torch/", "Eigen/"}},  // and the mixer's own folder
    {"trainers",
     {"echo/", "framework/src/", "trainers/", "ATen/", "c10/", "torch/", "Eigen/", "yaml-cpp/",
      "spdlog/", "nlohmann/", "openssl/", "sentencepiece"}},
    {"trainers/distributed",
     {"echo/", "framework/src/", "trainers/", "ATen/", "c10/", "torch/", "spdlog/", "nlohmann/",
      "mpi.h", "nccl.h"}},
    {"cli",
     {"echo/", "framework/src/", "trainers/", "cli/", "ATen/", "c10/", "torch/", "spdlog/",
      "nlohmann/", "CLI/", "httplib.h"}},
    {"plugins", {"echo/", "ATen/", "c10/", "torch/", "gtest/", "gmock/"}},
};

bool begins_with_one(const std::string& name, const std::vector<std::string>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](const std::string& beginning) { return name.starts_with(beginning); });
}

// "mixers/ska/ska.cpp" -> "mixers/ska/"
std::string folder_of_kind(const std::string& file) {
  return file.substr(0, file.find('/', std::string("mixers/").size()) + 1);
}

bool is_allowed(const Room& room, const std::string& file, const std::string& included) {
  if (included == "torch/torch.h" || included == "torch/all.h") return false;  // 20 s for each file
  const bool has_folder = included.find('/') != std::string::npos;
  if (!has_folder && !begins_with_one(included, kBareLibraries)) return true;
  if (begins_with_one(included, room.allowed)) return true;
  if (room.folder == "mixers" && included.starts_with(folder_of_kind(file))) return true;
  return room.folder != "framework/include" && begins_with_one(included, kSystem);
}

const Room* room_of(const std::string& file) {
  const Room* found = nullptr;
  for (const Room& room : kRooms) {
    if (!file.starts_with(room.folder + "/")) continue;
    if (!found || room.folder.size() > found->folder.size()) found = &room;
  }
  return found;
}

// "file: name" for each include that points the wrong way.
std::vector<std::string> wrong_includes(const fs::path& root) {
  static const std::regex include(R"(^\s*#\s*include\s*[<"]([^>"]+)[>"].*)");
  static const std::vector<std::string> sources = {".h", ".cpp", ".cu", ".inc"};
  std::vector<std::string> wrong;
  for (const auto& top : fs::directory_iterator(root)) {
    const std::string name = top.path().filename();
    if (!top.is_directory() || name.starts_with(".") || name.starts_with("build")) continue;
    for (const auto& entry : fs::recursive_directory_iterator(top.path())) {
      const std::string file = fs::relative(entry.path(), root);
      const Room* room = room_of(file);
      if (!room || !std::count(sources.begin(), sources.end(), entry.path().extension())) continue;
      std::ifstream lines(entry.path());
      std::smatch match;
      for (std::string line; std::getline(lines, line);) {
        if (std::regex_match(line, match, include) && !is_allowed(*room, file, match[1]))
          wrong.push_back(file + ": " + match[1].str());
      }
    }
  }
  return wrong;
}

TEST(Includes, PointOneWay) { EXPECT_THAT(wrong_includes(ECHO_SOURCE_DIR), testing::IsEmpty()); }

class AWrongInclude : public testing::Test {
 protected:
  ~AWrongInclude() override { fs::remove_all(root_); }

  // What is found in a tree that holds only this file with this line.
  std::vector<std::string> found(const std::string& file, const std::string& line) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << line << "\n";
    return wrong_includes(root_);
  }

  const fs::path root_ = fs::temp_directory_path() / ("echo-includes-" + std::to_string(getpid()));
};

TEST_F(AWrongInclude, OfAnotherMixerIsFound) {
  EXPECT_THAT(found("mixers/one/one.cpp", "#include \"mixers/two/two.h\""),
              testing::ElementsAre("mixers/one/one.cpp: mixers/two/two.h"));
}

TEST_F(AWrongInclude, OfTheFrameworksInsideByAMixerIsFound) {
  EXPECT_THAT(found("mixers/one/one.cpp", "#include \"framework/src/model/model.h\""),
              testing::SizeIs(1));
}

TEST_F(AWrongInclude, OfTheTrainersByTheFrameworkIsFound) {
  EXPECT_THAT(found("framework/src/one.cpp", "#include \"trainers/trainer.h\""),
              testing::SizeIs(1));
}

TEST_F(AWrongInclude, OfTheWholeOfLibTorchIsFound) {
  EXPECT_THAT(found("trainers/one.cpp", "#include <torch/torch.h>"), testing::SizeIs(1));
}

TEST_F(AWrongInclude, OfAThirdLibraryByAPublicHeaderIsFound) {
  EXPECT_THAT(found("framework/include/echo/one.h", "#include <nlohmann/json.hpp>"),
              testing::SizeIs(1));
}

TEST_F(AWrongInclude, OfNcclOutsideTheFolderForRanksIsFound) {
  EXPECT_THAT(found("trainers/one.cpp", "#include <nccl.h>"), testing::SizeIs(1));
}

TEST_F(AWrongInclude, IsNotTheMixersOwnHeader) {
  EXPECT_THAT(found("mixers/one/one.cpp", "#include \"mixers/one/one.h\""), testing::IsEmpty());
}

}  // namespace
