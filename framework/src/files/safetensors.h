#pragma once

#include <filesystem>
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

}  // namespace echo
