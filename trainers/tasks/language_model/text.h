#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace echo {

// The bytes of a file, or of all regular files of a folder and its subfolders, joined in the order
// of their paths. Nothing is kept in memory: read() opens, reads and closes, so a text may be
// larger than the memory and a folder may hold any number of files. May be used by several threads.
class Text {
 public:
  // Throws FieldError("text") for a path that is missing, cannot be read or holds no bytes.
  explicit Text(const std::string& path);

  int64_t size() const { return size_; }  // bytes

  // SHA-256 of the one file, or of the list of those of several files. Reads all of them.
  std::string sha256() const;

  // Bytes [first, first + count). Throws Error when a file has become shorter since.
  void read(int64_t first, int64_t count, uint8_t* bytes) const;

 private:
  struct File {
    std::filesystem::path path;
    int64_t first;  // of its bytes in the text
    int64_t size;
  };

  void add(const std::filesystem::path& path);
  void add_folder(const std::filesystem::path& folder);

  std::vector<File> files_;
  int64_t size_ = 0;
};

}  // namespace echo
