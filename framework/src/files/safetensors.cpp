#include "framework/src/files/safetensors.h"

#include "framework/src/files/file.h"

#include <echo/error.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

namespace echo {

namespace {

using Json = nlohmann::json;

struct Dtype {
  const char* name;
  at::ScalarType type;
};
constexpr Dtype kDtypes[] = {{"F64", at::kDouble},    {"F32", at::kFloat}, {"F16", at::kHalf},
                             {"BF16", at::kBFloat16}, {"I64", at::kLong},  {"I32", at::kInt},
                             {"I16", at::kShort},     {"I8", at::kChar},   {"U8", at::kByte},
                             {"BOOL", at::kBool}};

std::string dtype_name(at::ScalarType type) {
  for (const Dtype& dtype : kDtypes) {
    if (dtype.type == type) return dtype.name;
  }
  throw Error(std::string("safetensors files have no dtype for ") + at::toString(type));
}

// A tensor's entry in the header, and where its data lie behind the header.
struct Described {
  TensorEntry entry;
  int64_t begin = 0;
  int64_t end = 0;
};

// The mistake in one entry of a header.
struct Mistake {
  std::string reason;
};

const Dtype& dtype_of(const Json& name) {
  for (const Dtype& known : kDtypes) {
    if (name == known.name) return known;
  }
  throw Mistake{"the dtype " + name.get<std::string>() + " is not supported"};
}

// `size`: bytes of the data behind the header.
Described describe(const Json& entry, int64_t size) {
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() ||
      !entry.contains("shape") || !entry["shape"].is_array() || !entry.contains("data_offsets") ||
      !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2) {
    throw Mistake{"needs dtype, shape and data_offsets"};
  }
  Described described;
  described.entry.dtype = dtype_of(entry["dtype"]).type;
  auto bytes = static_cast<int64_t>(c10::elementSize(described.entry.dtype));
  for (const Json& extent : entry["shape"]) {
    if (!extent.is_number_unsigned()) throw Mistake{"its shape is wrong"};
    const auto length = extent.get<int64_t>();
    if (length < 0 || __builtin_mul_overflow(bytes, length, &bytes))
      throw Mistake{"its shape is too large"};
    described.entry.shape.push_back(length);
  }
  const Json& offsets = entry["data_offsets"];
  if (!offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
    throw Mistake{"its offsets are wrong"};
  const auto begin = offsets[0].get<uint64_t>();
  const auto end = offsets[1].get<uint64_t>();
  if (begin > end || end > static_cast<uint64_t>(size))
    throw Mistake{"its data lie outside the file (cut off?)"};
  if (end - begin != static_cast<uint64_t>(bytes))
    throw Mistake{"its data and its shape disagree in size"};
  described.begin = static_cast<int64_t>(begin);
  described.end = static_cast<int64_t>(end);
  return described;
}

int64_t bytes_of(const TensorEntry& entry) {
  auto bytes = static_cast<int64_t>(c10::elementSize(entry.dtype));
  for (const int64_t length : entry.shape) bytes *= length;
  return bytes;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : path_(path), file_(path, std::ios::binary) {
  if (std::filesystem::is_directory(path)) fail("it is a folder");
  if (!file_) fail(std::strerror(errno));
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
  unsigned char length[8] = {};
  if (size < 8 || !file_.read(reinterpret_cast<char*>(length), 8))
    fail("it is shorter than a header");
  uint64_t bytes = 0;
  for (int i = 7; i >= 0; --i) bytes = bytes << 8 | length[i];
  if (bytes > static_cast<uint64_t>(size - 8))
    fail("its header is longer than the file (cut off, or another format)");
  std::string text(bytes, '\0');
  if (!file_.read(text.data(), static_cast<std::streamsize>(bytes)))
    fail("its header cannot be read");
  const Json header = Json::parse(text, nullptr, false);
  if (!header.is_object()) fail("its header is no JSON object");
  const int64_t data = 8 + static_cast<int64_t>(bytes);
  int64_t end = data;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) fail("__metadata__ is no object");
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) fail("the metadata '" + key + "' is no string");
        metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    try {
      const Described described = describe(entry, size - data);
      entries_[name] = described.entry;
      begins_[name] = data + described.begin;
      end = std::max(end, data + described.end);
    } catch (const Mistake& mistake) {
      fail("tensor '" + name + "': " + mistake.reason);
    }
  }
  if (end != size) {
    fail(std::to_string(size - end) +
         " bytes follow the last tensor (two files joined, or a header that lost a tensor)");
  }
}

void SafetensorsFile::fail(const std::string& reason) const {
  throw Error("cannot read " + path_.string() + " as safetensors: " + reason);
}

at::Tensor SafetensorsFile::read(const std::string& name) {
  const TensorEntry& entry = entries_.at(name);
  at::Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(entry.dtype));
  file_.seekg(begins_.at(name));
  const int64_t bytes = bytes_of(entry);
  if (bytes > 0 && !file_.read(static_cast<char*>(tensor.mutable_data_ptr()), bytes))
    fail("tensor '" + name + "': its data cannot be read");
  return tensor;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     const std::map<std::string, TensorEntry>& entries,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
  Json header = Json::object();  // keys are sorted
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (const auto& [name, entry] : entries) {
    const int64_t end = missing_ + bytes_of(entry);
    header[name] = {{"dtype", dtype_name(entry.dtype)},
                    {"shape", entry.shape},
                    {"data_offsets", {missing_, end}}};
    missing_ = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begin aligned
  unsigned char length[8];
  for (int i = 0; i < 8; ++i)
    length[i] = static_cast<unsigned char>(static_cast<uint64_t>(text.size()) >> (8 * i));
  file_.write(length, 8);
  file_.write(text);
}

void SafetensorsWriter::append(const at::Tensor& data) {
  const at::Tensor whole = data.detach().to(at::kCPU).contiguous();
  const auto bytes = static_cast<int64_t>(whole.nbytes());
  ECHO_CHECK(bytes <= missing_, << bytes << " bytes, " << missing_ << " are missing");
  missing_ -= bytes;
  file_.write(whole.const_data_ptr(), bytes);
}

void SafetensorsWriter::finish() {
  ECHO_CHECK(missing_ == 0, << missing_ << " bytes are missing");
  file_.finish();
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& content) {
  std::map<std::string, TensorEntry> entries;
  for (const auto& [name, tensor] : content.tensors)
    entries[name] = {tensor.scalar_type(), tensor.sizes().vec()};
  SafetensorsWriter writer(path, entries, content.metadata);
  for (const auto& [name, tensor] : content.tensors) writer.append(tensor);
  writer.finish();
}

NamedTensors read_safetensors(const std::filesystem::path& path) {
  SafetensorsFile file(path);
  NamedTensors content;
  content.metadata = file.metadata();
  for (const auto& [name, entry] : file.entries()) content.tensors.emplace(name, file.read(name));
  return content;
}

}  // namespace echo
