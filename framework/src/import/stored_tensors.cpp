#include "framework/src/import/stored_tensors.h"

#include <echo/error.h>

#include <fstream>
#include <set>

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

namespace echo {

namespace fs = std::filesystem;

namespace {

constexpr const char* kWhole = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

bool is_real(at::ScalarType type) {
  return type == at::kFloat || type == at::kHalf || type == at::kBFloat16 || type == at::kDouble;
}

[[noreturn]] void refuse_folder(const fs::path& folder) {
  std::string found;
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (fs::exists(folder / name)) found = name;
  }
  throw ConfigError(folder.string() + " holds neither " + kWhole + " nor " + kIndex +
                    (found.empty() ? "" : ", but " + found) +
                    "; save the model with safetensors, as save_pretrained does");
}

}  // namespace

StoredTensors::StoredTensors(const fs::path& folder) {
  if (fs::exists(folder / kWhole)) {
    add_file(folder / kWhole);
  } else if (fs::exists(folder / kIndex)) {
    read_index(folder / kIndex);
  } else {
    refuse_folder(folder);
  }
}

void StoredTensors::add_file(const fs::path& path) {
  try {
    files_.push_back(std::make_unique<SafetensorsFile>(path));
  } catch (const Error& mistake) {
    throw ConfigError(mistake.what());
  }
  paths_.push_back(path);
  for (const auto& [name, entry] : files_.back()->entries()) {
    const auto [other, is_new] = tensors_.emplace(name, Stored{entry, files_.size() - 1});
    if (!is_new) {
      throw ConfigError("the tensor '" + name + "' is in " + file_of(other->second) + " and in " +
                        path.string() + "; it may be in one file only");
    }
    if (is_real(entry.dtype)) continue;
    throw ConfigError(path.string() + ": the tensor '" + name + "' holds " +
                      at::toString(entry.dtype) +
                      "; Echo reads weights that are float64, float32, float16 or bfloat16");
  }
}

void StoredTensors::read_index(const fs::path& index) {
  std::ifstream stream(index, std::ios::binary);
  const nlohmann::json content = nlohmann::json::parse(stream, nullptr, false);
  const auto wrong = [&](const std::string& reason) {
    throw ConfigError(index.string() + ": " + reason);
  };
  if (!content.is_object() || !content.contains("weight_map") || !content["weight_map"].is_object())
    wrong("weight_map: is missing; an index maps each tensor to its file");
  const nlohmann::json& map = content["weight_map"];
  std::set<std::string> names;
  for (const auto& [tensor, file] : map.items()) {
    if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos)
      wrong("weight_map: " + tensor + ": " + file.dump() + ": it takes the name of a file beside");
    names.insert(file.get<std::string>());
  }
  for (const std::string& name : names) add_file(index.parent_path() / name);
  for (const auto& [tensor, file] : map.items()) {
    const Stored* stored = find(tensor);
    if (!stored || paths_[stored->file].filename() != file.get<std::string>())
      wrong("weight_map: the tensor '" + tensor + "' is not in " + file.get<std::string>());
  }
}

const StoredTensors::Stored* StoredTensors::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

std::string StoredTensors::file_of(const Stored& stored) const {
  return paths_[stored.file].string();
}

at::Tensor StoredTensors::read(const std::string& name) {
  try {
    return files_[tensors_.at(name).file]->read(name).to(at::kFloat);
  } catch (const ConfigError&) {
    throw;
  } catch (const Error& mistake) {
    throw ConfigError(mistake.what());
  }
}

}  // namespace echo
