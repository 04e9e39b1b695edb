#include "trainers/tasks/language_model/text.h"

#include "framework/src/files/sha256.h"
#include "framework/src/text/near.h"

#include <echo/error.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>

namespace echo {

namespace {

namespace fs = std::filesystem;

constexpr const char* kAnyOther = "any other text is taken with --set task.text=PATH";

[[noreturn]] void fail(const std::string& message) { throw FieldError("text", message); }

[[noreturn]] void fail_to_read(const fs::path& path, const std::string& reason) {
  fail("cannot read " + path.string() + ": " + reason + "; " + kAnyOther);
}

// A text of .echo/data is fetched by name; of anything else a near name may help.
[[noreturn]] void fail_missing(const fs::path& path) {
  const fs::path folder = path.parent_path().empty() ? fs::path(".") : path.parent_path();
  const std::string name = path.filename().string();
  const std::string message = "there is no file or folder " + path.string();
  if (folder.filename() == "data" && folder.parent_path().filename() == ".echo")
    fail(message + "; write it with `tools/fetch_text " + name + "`; " + kAnyOther);
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    names.push_back(entry->path().filename().string());
  const std::string near = did_you_mean(name, names);
  fail(message + (near.empty() ? std::string("; ") + kAnyOther : near));
}

// A file that is open for reading.
class Descriptor {
 public:
  explicit Descriptor(const fs::path& path) : number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

void read_part(const fs::path& path, int64_t first, int64_t count, uint8_t* bytes) {
  const Descriptor file(path);
  while (count > 0) {
    const ssize_t got = ::pread(file.number(), bytes, static_cast<size_t>(count), first);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error("cannot read " + path.string() + ": " + std::strerror(errno));
    if (got == 0)
      throw Error(path.string() + " has become shorter while it was in use; start again");
    bytes += got;
    first += got;
    count -= got;
  }
}

}  // namespace

Text::Text(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) fail_missing(path);
  if (error) fail_to_read(path, error.message());
  if (fs::is_directory(status)) {
    add_folder(path);
    if (files_.empty()) fail("the folder " + path + " holds no file; " + kAnyOther);
  } else if (fs::is_regular_file(status)) {
    add(path);
  } else {
    fail(path + " is neither a file nor a folder; " + kAnyOther);
  }
  if (size_ == 0) fail(path + " is empty; " + kAnyOther);
}

void Text::add(const fs::path& path) {
  std::error_code error;
  const auto size = static_cast<int64_t>(fs::file_size(path, error));
  if (error) fail_to_read(path, error.message());
  if (::access(path.c_str(), R_OK) != 0) fail_to_read(path, std::strerror(errno));
  files_.push_back({path, size_, size});
  size_ += size;
}

void Text::add_folder(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;  // a link that leads nowhere
    if (entry->is_regular_file(ignored)) paths.push_back(entry->path());
  }
  if (error) fail_to_read(folder, error.message());
  std::sort(paths.begin(), paths.end(),
            [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
  for (const fs::path& path : paths) add(path);
}

std::string Text::sha256() const {
  std::string list;
  for (const File& file : files_) list += sha256_file(file.path);
  return files_.size() == 1 ? list : echo::sha256(list);
}

void Text::read(int64_t first, int64_t count, uint8_t* bytes) const {
  ECHO_CHECK(first >= 0 && count >= 0 && first + count <= size_, << first << " + " << count);
  auto file = std::upper_bound(files_.begin(), files_.end(), first,
                               [](int64_t at, const File& file) { return at < file.first; });
  for (--file; count > 0; ++file) {
    const int64_t part = std::min(count, file->first + file->size - first);
    if (part > 0) read_part(file->path, first - file->first, part, bytes);
    bytes += part;
    first += part;
    count -= part;
  }
}

}  // namespace echo
