#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

namespace echo {

// A file being written through to the disk. Every failure throws Error with the path and the
// system's reason; a file that was not finished is removed.
class FileWriter {
 public:
  explicit FileWriter(std::filesystem::path path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(const void* data, int64_t size);
  void write(std::string_view text) { write(text.data(), static_cast<int64_t>(text.size())); }
  void finish();  // flushes to the disk and closes

 private:
  [[noreturn]] void fail(const char* action) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
};

// A whole file, flushed to the disk under a temporary name and renamed: readers see the old content
// or the new one.
void replace_file(const std::filesystem::path& path, std::string_view content);

// Moves a whole, flushed file to its place, over what is there. On failure it is removed, and Error
// says why.
void publish_file(const std::filesystem::path& temporary, const std::filesystem::path& path);

// Makes a folder that must not exist; it appears whole or not at all. `fill` writes into one of
// another name beside it, ".writing-<name>". Throws what `fill` does, and filesystem_error.
void write_folder(const std::filesystem::path& folder,
                  const std::function<void(const std::filesystem::path& temporary)>& fill);

// Flushes a folder's entries (a rename in it) to the disk.
void sync_folder(const std::filesystem::path& folder);

}  // namespace echo
