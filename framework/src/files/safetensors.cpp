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

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path), file_(path, std::ios::binary) {
    if (std::filesystem::is_directory(path)) fail("it is a folder");
    if (!file_) fail(std::strerror(errno));
    size_ = static_cast<int64_t>(std::filesystem::file_size(path));
  }

  NamedTensors read() {
    const Json header = read_header();
    NamedTensors content;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        read_metadata(entry, content);
      } else {
        content.tensors.emplace(name, read_tensor(name, entry));
      }
    }
    if (data_end_ != size_) {
      fail(std::to_string(size_ - data_end_) +
           " bytes follow the last tensor (two files joined, or a header that lost a tensor)");
    }
    return content;
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw Error("cannot read " + path_.string() + " as safetensors: " + reason);
  }

  Json read_header() {
    unsigned char length[8] = {};
    if (size_ < 8 || !file_.read(reinterpret_cast<char*>(length), 8))
      fail("it is shorter than a header");
    uint64_t bytes = 0;
    for (int i = 7; i >= 0; --i) bytes = bytes << 8 | length[i];
    if (bytes > static_cast<uint64_t>(size_ - 8))
      fail("its header is longer than the file (cut off, or another format)");
    std::string text(bytes, '\0');
    if (!file_.read(text.data(), static_cast<std::streamsize>(bytes)))
      fail("its header cannot be read");
    data_begin_ = 8 + static_cast<int64_t>(bytes);
    data_end_ = data_begin_;
    Json header = Json::parse(text, nullptr, false);
    if (!header.is_object()) fail("its header is no JSON object");
    return header;
  }

  void read_metadata(const Json& entry, NamedTensors& content) const {
    if (!entry.is_object()) fail("__metadata__ is no object");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) fail("the metadata '" + key + "' is no string");
      content.metadata[key] = value.get<std::string>();
    }
  }

  at::Tensor read_tensor(const std::string& name, const Json& entry) {
    const auto wrong = [&](const std::string& reason) { fail("tensor '" + name + "': " + reason); };
    if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() ||
        !entry.contains("shape") || !entry["shape"].is_array() || !entry.contains("data_offsets") ||
        !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2) {
      wrong("needs dtype, shape and data_offsets");
    }
    const Dtype* dtype = nullptr;
    for (const Dtype& known : kDtypes) {
      if (entry["dtype"] == known.name) dtype = &known;
    }
    if (!dtype) wrong("the dtype " + entry["dtype"].get<std::string>() + " is not supported");
    std::vector<int64_t> shape;
    int64_t bytes = static_cast<int64_t>(c10::elementSize(dtype->type));
    for (const Json& size : entry["shape"]) {
      if (!size.is_number_unsigned()) wrong("its shape is wrong");
      shape.push_back(size.get<int64_t>());
      if (shape.back() < 0 || __builtin_mul_overflow(bytes, shape.back(), &bytes))
        wrong("its shape is too large");
    }
    const Json& offsets = entry["data_offsets"];
    if (!offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
      wrong("its offsets are wrong");
    const uint64_t begin = offsets[0].get<uint64_t>();
    const uint64_t end = offsets[1].get<uint64_t>();
    if (begin > end || end > static_cast<uint64_t>(size_ - data_begin_))
      wrong("its data lie outside the file (cut off?)");
    if (end - begin != static_cast<uint64_t>(bytes))
      wrong("its data and its shape disagree in size");
    data_end_ = std::max(data_end_, data_begin_ + static_cast<int64_t>(end));
    at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(dtype->type));
    file_.seekg(data_begin_ + static_cast<int64_t>(begin));
    if (bytes > 0 && !file_.read(static_cast<char*>(tensor.mutable_data_ptr()), bytes))
      wrong("its data cannot be read");
    return tensor;
  }

  std::filesystem::path path_;
  std::ifstream file_;
  int64_t size_ = 0;
  int64_t data_begin_ = 0;
  int64_t data_end_ = 0;  // of the tensors read so far
};

}  // namespace

void write_safetensors(const std::filesystem::path& path, const NamedTensors& content) {
  Json header = Json::object();  // keys are sorted
  if (!content.metadata.empty()) header["__metadata__"] = content.metadata;
  std::vector<at::Tensor> data;
  int64_t offset = 0;
  for (const auto& [name, tensor] : content.tensors) {
    data.push_back(tensor.detach().to(at::kCPU).contiguous());
    const int64_t end = offset + static_cast<int64_t>(data.back().nbytes());
    header[name] = {{"dtype", dtype_name(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begin aligned
  unsigned char length[8];
  for (int i = 0; i < 8; ++i)
    length[i] = static_cast<unsigned char>(static_cast<uint64_t>(text.size()) >> (8 * i));

  FileWriter writer(path);
  writer.write(length, 8);
  writer.write(text);
  for (const at::Tensor& tensor : data)
    writer.write(tensor.const_data_ptr(), static_cast<int64_t>(tensor.nbytes()));
  writer.finish();
}

NamedTensors read_safetensors(const std::filesystem::path& path) { return Reader(path).read(); }

}  // namespace echo
