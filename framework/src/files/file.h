#pragma once

#include <cstdint>
#include <filesystem>
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

// Flushes a folder's entries (a rename in it) to the disk.
void sync_folder(const std::filesystem::path& folder);

}  // namespace echo
