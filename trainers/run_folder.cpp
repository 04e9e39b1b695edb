#include "trainers/run_folder.h"

#include <echo/error.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <set>
#include <system_error>
#include <unistd.h>

#include <sys/file.h>

namespace echo {

namespace fs = std::filesystem;

namespace {

// recipe.yaml comes last when a run begins: a folder that holds only these was never a run.
const std::set<std::string> kBeginning = {
    ".lock",   "environment.json", "environment.json.tmp", "metrics.jsonl",
    "log.txt", "recipe.yaml.tmp",  "checkpoints",          "lost+found"};

RunFolder numbered(const fs::path& path, int number) {
  return RunFolder(number == 1 ? path : fs::path(path.string() + "-" + std::to_string(number)));
}

std::string holder(int descriptor) {
  std::array<char, 64> text{};
  const ssize_t size = ::pread(descriptor, text.data(), text.size() - 1, 0);
  if (size <= 0) return "another process";
  return "the process " + std::string(text.data(), static_cast<size_t>(size));
}

}  // namespace

RunFolder::RunFolder(const fs::path& path) : path_(path.lexically_normal()) {
  if (!path_.has_filename()) path_ = path_.parent_path();  // "runs/a/"
}

RunStage RunFolder::stage() const {
  std::error_code failure;
  const fs::file_status status = fs::status(path_, failure);
  if (!fs::exists(status)) return RunStage::absent;
  if (!fs::is_directory(status)) return RunStage::foreign;
  if (!fs::exists(recipe())) {
    for (const auto& entry : fs::directory_iterator(path_)) {
      if (!kBeginning.count(entry.path().filename().string())) return RunStage::foreign;
    }
    return RunStage::absent;
  }
  if (fs::exists(summary())) return RunStage::finished;
  return checkpoints().latest() ? RunStage::unfinished : RunStage::begun;
}

RunFolder RunFolder::first_unfinished() const {
  for (int number = 1;; ++number) {
    const RunFolder folder = numbered(path_, number);
    if (folder.stage() != RunStage::finished) return folder;
  }
}

RunFolder RunFolder::last_existing() const {
  RunFolder last = *this;
  for (int number = 2;; ++number) {
    const RunFolder folder = numbered(path_, number);
    const RunStage stage = folder.stage();
    if (stage == RunStage::absent || stage == RunStage::foreign) return last;
    last = folder;
  }
}

RunLock::RunLock(const RunFolder& folder) {
  std::error_code failure;
  fs::create_directories(folder.path(), failure);
  if (failure) {
    throw Error("cannot create the run folder " + folder.path().string() + ": " +
                failure.message() + "; choose another one with --run");
  }
  descriptor_ = ::open(folder.lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    throw Error("cannot write into the run folder " + folder.path().string() + ": " +
                std::strerror(errno) + "; choose another one with --run");
  }
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    const std::string who = holder(descriptor_);
    ::close(descriptor_);
    throw Error(who + " trains in " + folder.path().string() +
                " right now; wait for it, stop it, or choose another folder with --run");
  }
  const std::string process = std::to_string(::getpid());
  if (::ftruncate(descriptor_, 0) != 0 ||
      ::pwrite(descriptor_, process.data(), process.size(), 0) < 0) {
    return;  // the number only makes a message better
  }
}

RunLock::~RunLock() { ::close(descriptor_); }

}  // namespace echo
