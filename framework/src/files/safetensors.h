#pragma once

#include "framework/src/files/file.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace echo {

// The safetensors format: 8 bytes of little-endian header length, a JSON header (name -> dtype,
// shape, offsets; the key __metadata__ holds strings), then the data. The same content gives the
// same bytes.
struct NamedTensors {
  std::map<std::string, at::Tensor> tensors;  // on the CPU after a read
  std::map<std::string, std::string> metadata;
};

// Writes, flushes to the disk and closes. Throws Error that names the file and the reason (a full
// disk, a folder that is read-only); what has been written of it is removed.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& content);

// Throws Error that names the file for anything that is no whole, consistent safetensors file.
NamedTensors read_safetensors(const std::filesystem::path& path);

// What a header says of one tensor.
struct TensorEntry {
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
};

// A file whose tensors are read one at a time. Opening it reads and checks the whole header.
// Throws Error that names the file, as read_safetensors() does.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::map<std::string, TensorEntry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  at::Tensor read(const std::string& name);  // on the CPU

 private:
  [[noreturn]] void fail(const std::string& reason) const;

  std::filesystem::path path_;
  std::ifstream file_;
  std::map<std::string, TensorEntry> entries_;
  std::map<std::string, int64_t> begins_;  // of the tensors' data, in the file
  std::map<std::string, std::string> metadata_;
};

// A file whose header is known before its data: they are appended in the order of the tensors'
// names, a tensor at a time or some rows of one. Throws Error as write_safetensors() does; a file
// that was not finished is removed.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path,
                    const std::map<std::string, TensorEntry>& entries,
                    const std::map<std::string, std::string>& metadata = {});

  void append(const at::Tensor& data);
  void finish();

 private:
  FileWriter file_;
  int64_t missing_ = 0;  // bytes that are still to come
};

}  // namespace echo
