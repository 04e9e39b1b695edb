#pragma once

#include "framework/src/files/safetensors.h"

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace echo {

// The tensors of a checkpoint's folder: model.safetensors, or the files that
// model.safetensors.index.json names. Headers are read at once, data one tensor at a time. Every
// error is a ConfigError that names the file.
class StoredTensors {
 public:
  explicit StoredTensors(const std::filesystem::path& folder);

  struct Stored {
    TensorEntry entry;
    size_t file = 0;
  };
  const std::map<std::string, Stored>& all() const { return tensors_; }
  const Stored* find(const std::string& name) const;  // null: not there
  std::string file_of(const Stored& stored) const;

  // On the CPU, float32 whatever the file holds.
  at::Tensor read(const std::string& name);

 private:
  void add_file(const std::filesystem::path& path);
  void read_index(const std::filesystem::path& index);

  std::vector<std::filesystem::path> paths_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Stored> tensors_;
};

}  // namespace echo
