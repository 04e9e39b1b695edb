#include "trainers/metrics.h"

#include "framework/src/files/file.h"

#include <echo/error.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <unistd.h>

namespace echo {

MetricsWriter::MetricsWriter(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail();
}

MetricsWriter::~MetricsWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void MetricsWriter::fail() const {
  throw Error("cannot write " + path_.string() + ": " + std::strerror(errno) +
              "; nothing saved before is lost: make room and go on with --resume");
}

void MetricsWriter::write(const nlohmann::ordered_json& line) {
  const std::string text = line.dump() + "\n";
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = ::write(descriptor_, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail();
    done += static_cast<size_t>(written);
  }
}

void MetricsWriter::sync() {
  if (::fsync(descriptor_) != 0 && errno != EINVAL) fail();
}

namespace {

bool belongs(const nlohmann::json& line, const TrainerState& state) {
  if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer())
    return false;
  const int64_t step = line["step"].get<int64_t>();
  return step < state.step || (step == state.step && (state.evaluated || !line.contains("eval")));
}

}  // namespace

void truncate_metrics(const std::filesystem::path& path, const TrainerState& state) {
  std::ifstream file(path, std::ios::binary);
  std::string kept, line;
  while (std::getline(file, line) && !file.eof()) {  // end of file without a newline: cut off
    if (belongs(nlohmann::json::parse(line, nullptr, false), state)) kept += line + "\n";
  }
  replace_file(path, kept);
}

}  // namespace echo
