#include "framework/src/files/file.h"

#include <echo/error.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace echo {

FileWriter::FileWriter(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("create");
}

FileWriter::~FileWriter() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path_, ignored)) ::unlink(path_.c_str());  // never a device
}

void FileWriter::fail(const char* action) const {
  const int reason = errno;
  std::string message =
      std::string("cannot ") + action + " " + path_.string() + ": " + std::strerror(reason);
  if (reason == ENOSPC || reason == EDQUOT)
    message += "; free some space, or choose another folder";
  throw Error(message);
}

void FileWriter::write(const void* data, int64_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written =
        ::write(descriptor_, at, static_cast<size_t>(std::min<int64_t>(size, 1 << 30)));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write");
    at += written;
    size -= written;
  }
}

void FileWriter::finish() {
  if (::fsync(descriptor_) != 0) fail("write");
  if (::close(std::exchange(descriptor_, -1)) != 0) fail("write");
}

void replace_file(const std::filesystem::path& path, std::string_view content) {
  const std::filesystem::path temporary = path.string() + ".tmp";
  FileWriter writer(temporary);
  writer.write(content);
  writer.finish();
  publish_file(temporary, path);
}

void publish_file(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const std::string reason = std::strerror(errno);
    ::unlink(temporary.c_str());
    throw Error("cannot write " + path.string() + ": " + reason);
  }
  sync_folder(path.has_parent_path() ? path.parent_path() : ".");
}

void write_folder(const std::filesystem::path& folder,
                  const std::function<void(const std::filesystem::path& temporary)>& fill) {
  const std::filesystem::path whole = std::filesystem::absolute(folder);
  const std::filesystem::path parent = whole.parent_path();
  const std::filesystem::path temporary = parent / (".writing-" + whole.filename().string());
  try {
    std::filesystem::remove_all(temporary);  // of a process that was killed
    std::filesystem::create_directories(temporary);
    fill(temporary);
    sync_folder(temporary);
    std::filesystem::rename(temporary, whole);
    sync_folder(parent);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove_all(temporary, ignored);
    throw;
  }
}

void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw Error("cannot open " + folder.string() + ": " + std::strerror(errno));
  const bool synced =
      ::fsync(descriptor) == 0 || errno == EINVAL;  // some file systems cannot sync a folder
  const int reason = errno;
  ::close(descriptor);
  if (!synced) throw Error("cannot write " + folder.string() + ": " + std::strerror(reason));
}

}  // namespace echo
