#include "trainers/checkpoint.h"

#include "framework/src/files/file.h"
#include "framework/src/files/safetensors.h"
#include "framework/src/files/sha256.h"
#include "framework/src/ranks/ownership.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <set>
#include <sstream>
#include <system_error>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <nlohmann/json.hpp>

namespace echo {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr const char* kLatest = "latest";
constexpr const char* kWriting = ".writing-";  // a checkpoint that is not whole yet
constexpr const char* kOld = ".old-";          // one that is being replaced
constexpr int kFormat = 1;

bool starts_with(const std::string& text, const char* prefix) { return text.rfind(prefix, 0) == 0; }

std::string folder_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "%06lld", static_cast<long long>(step));
  return name;
}

std::optional<int64_t> step_of(const std::string& name) {
  int64_t step = 0;
  const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (failure != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return folder_name(step) == name ? std::optional<int64_t>(step) : std::nullopt;
}

int64_t tensor_bytes(const Checkpoints::Content& content) {
  int64_t bytes = 0;
  for (const Parameter& parameter : content.model.parameters())
    bytes += static_cast<int64_t>(parameter.value().nbytes());
  for (const Slot& slot : content.slots) {
    for (const auto& [name, value] : slot.state) bytes += static_cast<int64_t>(value.nbytes());
  }
  return bytes;
}

int64_t free_bytes(const fs::path& folder) {
  std::error_code failure;
  const fs::space_info space = fs::space(folder, failure);
  return failure ? 0 : static_cast<int64_t>(space.available);
}

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// The file's own checksum is taken over all other entries.
std::string own_checksum(Json content) {
  content.erase("sha256");
  return sha256(content.dump());
}

std::string trainer_json(const TrainerState& state, const Json& files) {
  Json content = {{"format", kFormat},
                  {"step", state.step},
                  {"tokens", state.tokens},
                  {"seconds", state.seconds},
                  {"training_seconds", state.training_seconds},
                  {"evaluated", state.evaluated},
                  {"steps_to_solve", or_null(state.steps_to_solve)},
                  {"best", or_null(state.best)},
                  {"files", files}};
  content["sha256"] = own_checksum(content);
  return content.dump(2) + "\n";
}

Json file_facts(const fs::path& file) {
  return {{"bytes", fs::file_size(file)}, {"sha256", sha256_file(file)}};
}

// "model", 1, 4 -> "model-00002-of-00004.safetensors"; of one rank, "model.safetensors".
std::string file_name(const std::string& part, int64_t rank, int64_t ranks) {
  if (ranks == 1) return part + ".safetensors";
  char numbers[64];
  std::snprintf(numbers, sizeof numbers, "-%05lld-of-%05lld", static_cast<long long>(rank + 1),
                static_cast<long long>(ranks));
  return part + numbers + ".safetensors";
}

const char* part_name(CheckpointPart part) {
  return part == CheckpointPart::model ? "model" : "optimizer";
}

bool belongs_to(const std::string& file, CheckpointPart part) {
  return part == CheckpointPart::all || starts_with(file, part_name(part));
}

// The names of the parameters that a rank writes.
std::set<std::string> names_to_write(const std::vector<Parameter>& parameters, const Ranks& ranks) {
  std::vector<int64_t> sizes;
  for (const Parameter& parameter : parameters) sizes.push_back(parameter.numel());
  const std::vector<int64_t> owner = owners(sizes, ranks.size());
  std::set<std::string> names;
  for (size_t i = 0; i < owner.size(); ++i) {
    if (owner[i] == ranks.rank()) names.insert(parameters[i].name);
  }
  return names;
}

// One rank's files, and what the others have to know of them: sizes, checksums, tensors.
Json write_share(const fs::path& folder, const Checkpoints::Content& content, const Ranks& ranks) {
  const std::vector<Parameter> parameters = content.model.parameters();
  const std::set<std::string> own = names_to_write(parameters, ranks);
  NamedTensors model, optimizer;
  model.metadata = content.metadata;
  optimizer.metadata = {{"format", "echo optimizer"}};
  for (const Parameter& parameter : parameters) {
    if (own.count(parameter.name)) model.tensors.emplace(parameter.name, parameter.value());
  }
  // Ranks that keep all of the optimizer's state share the writing; others write what they keep.
  const bool keeps_all = content.slots.size() == parameters.size();
  for (const Slot& slot : content.slots) {
    if (keeps_all && !own.count(slot.name)) continue;
    for (const auto& [name, value] : slot.state)
      optimizer.tensors.emplace(slot.name + "." + name, value);
  }
  Json share = {{"files", Json::object()}, {"tensors", Json::object()}};
  const std::pair<const char*, const NamedTensors*> parts[] = {{"model", &model},
                                                               {"optimizer", &optimizer}};
  for (const auto& [part, tensors] : parts) {
    const std::string name = file_name(part, ranks.rank(), ranks.size());
    write_safetensors(folder / name, *tensors);
    share["files"][name] = file_facts(folder / name);
    for (const auto& [tensor, value] : tensors->tensors) share["tensors"][part][tensor] = name;
  }
  return share;
}

void write_text(const fs::path& file, const std::string& text) {
  FileWriter writer(file);
  writer.write(text);
  writer.finish();
}

// As Hugging Face's libraries read it.
void write_index(const fs::path& folder, const std::string& part, const Json& weight_map,
                 Json& files) {
  const std::string name = part + ".safetensors.index.json";
  write_text(folder / name, Json{{"metadata", Json::object()}, {"weight_map", weight_map}}.dump(2));
  files[name] = file_facts(folder / name);
}

Json read_json(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw Error("the checkpoint's file " + file.string() + " is missing or unreadable");
  std::ostringstream text;
  text << stream.rdbuf();
  return Json::parse(text.str(), nullptr, false);
}

}  // namespace

fs::path Checkpoints::path(int64_t step) const { return folder_ / folder_name(step); }

std::vector<int64_t> Checkpoints::steps() const {
  std::vector<int64_t> steps;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(folder_, failure)) {
    const auto step = step_of(entry.path().filename().string());
    if (step && entry.is_directory()) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::optional<int64_t> Checkpoints::latest() const {
  const std::vector<int64_t> saved = steps();
  if (saved.empty()) return std::nullopt;
  std::error_code failure;
  const auto target = step_of(fs::read_symlink(folder_ / kLatest, failure).string());
  if (target && std::binary_search(saved.begin(), saved.end(), *target)) return target;
  return saved.back();
}

void Checkpoints::clean() const {
  fs::create_directories(folder_);
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (starts_with(name, kWriting) || starts_with(name, kOld)) fs::remove_all(entry.path());
  }
}

void Checkpoints::save(const Content& content, int64_t keep) const {
  Ranks alone;
  save(content, keep, alone);
}

void Checkpoints::save(const Content& content, int64_t keep, Ranks& ranks) const {
  const int64_t step = content.state.step;
  const fs::path temporary = folder_ / (kWriting + folder_name(step));
  std::string failure;
  try {
    write(temporary, content, ranks);
    if (ranks.leads()) publish(temporary, step);
  } catch (const RanksFailed&) {
    throw;
  } catch (const std::exception& reason) {
    failure = reason.what();
  }
  failure = ranks.from_first(failure, "the end of a checkpoint");
  if (failure.empty()) {
    if (ranks.leads()) prune(step, keep);
    return;
  }
  std::error_code ignored;
  if (ranks.leads()) fs::remove_all(temporary, ignored);
  throw Error("the checkpoint of step " + std::to_string(step) + " could not be saved: " + failure +
              ". It takes " + bytes_text(tensor_bytes(content)) + " and " +
              bytes_text(free_bytes(folder_)) + " are free. " + last_whole());
}

void Checkpoints::prune(int64_t step, int64_t keep) const {
  std::vector<int64_t> saved = steps();
  while (static_cast<int64_t>(saved.size()) > std::max<int64_t>(keep, 1)) {
    const int64_t oldest = saved.front() == step ? saved[1] : saved.front();
    std::error_code ignored;  // a folder that cannot be removed only takes room
    fs::remove_all(path(oldest), ignored);
    saved.erase(std::find(saved.begin(), saved.end(), oldest));
  }
}

std::string Checkpoints::last_whole() const {
  const auto step = latest();
  if (!step) return "None was saved before; make room and start again";
  return "The last whole one is step " + std::to_string(*step) +
         "; make room and go on from it with --resume";
}

// The first rank makes the folder and, when all have written their files, the rest. It learns of
// everybody's failure; the others see theirs as its.
void Checkpoints::write(const fs::path& temporary, const Content& content, Ranks& ranks) const {
  std::string made;
  if (ranks.leads()) {
    try {
      fs::remove_all(temporary);
      fs::create_directories(temporary);
    } catch (const std::exception& reason) {
      made = reason.what();
    }
  }
  made = ranks.from_first(made, "the folder of a checkpoint");
  if (!made.empty()) throw Error(made);
  Json share;
  try {
    share = write_share(temporary, content, ranks);
  } catch (const std::exception& reason) {
    share = {{"failure", reason.what()}};
  }
  const std::vector<std::string> shares = ranks.gather(share.dump(), "the files of a checkpoint");
  if (!ranks.leads()) return;
  Json files = Json::object(), tensors = {{"model", Json::object()}, {"optimizer", Json::object()}};
  for (const std::string& text : shares) {
    const Json one = Json::parse(text);
    if (one.contains("failure")) throw Error(one["failure"].get<std::string>());
    files.update(one["files"]);
    for (const auto& [part, names] : one["tensors"].items()) tensors[part].update(names);
  }
  if (ranks.size() > 1) {
    for (const auto& [part, names] : tensors.items()) write_index(temporary, part, names, files);
  }
  write_text(temporary / kTrainerFile, trainer_json(content.state, files));
  sync_folder(temporary);
}

void Checkpoints::publish(const fs::path& temporary, int64_t step) const {
  const fs::path final_path = path(step);
  const fs::path old = folder_ / (kOld + folder_name(step));
  if (fs::exists(final_path)) {
    fs::remove_all(old);
    fs::rename(final_path, old);  // rename cannot replace a folder that holds something
  }
  fs::rename(temporary, final_path);
  sync_folder(folder_);
  point_latest(step);
  fs::remove_all(old);
}

void Checkpoints::point_latest(int64_t step) const {
  const fs::path link = folder_ / (std::string(kWriting) + kLatest);
  fs::remove(link);
  fs::create_symlink(folder_name(step), link);
  const fs::path latest = folder_ / kLatest;
  // A copy that follows links has made a folder of it, which rename() would not replace.
  if (fs::is_directory(fs::symlink_status(latest))) fs::remove_all(latest);
  fs::rename(link, latest);
  sync_folder(folder_);
}

void Checkpoints::rewind(int64_t step) const {
  if (fs::exists(path(step))) point_latest(step);
  for (const int64_t later : steps()) {
    if (later <= step) continue;
    fs::rename(path(later), folder_ / (kOld + folder_name(later)));  // gone even if killed here
    fs::remove_all(folder_ / (kOld + folder_name(later)));
  }
}

std::vector<fs::path> checkpoint_files(const fs::path& checkpoint, CheckpointPart part) {
  std::vector<fs::path> files;
  std::error_code failure;
  for (const auto& entry : fs::directory_iterator(checkpoint, failure)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == ".safetensors" && belongs_to(name, part))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::map<std::string, std::string> checkpoint_metadata(const fs::path& checkpoint) {
  const std::vector<fs::path> files = checkpoint_files(checkpoint, CheckpointPart::model);
  if (files.empty()) return {};
  return SafetensorsFile(files.front()).metadata();
}

TrainerState verify_checkpoint(const fs::path& checkpoint, CheckpointPart part) {
  const fs::path file = checkpoint / kTrainerFile;
  const Json content = read_json(file);
  const auto damaged = [](const fs::path& which, const std::string& why) {
    throw Error("the checkpoint's file " + which.string() + " is damaged: " + why);
  };
  if (!content.is_object() || !content.contains("sha256") ||
      content["sha256"] != own_checksum(content))
    damaged(file, "its content is not what was written");
  if (content.value("format", 0) != kFormat) {
    throw Error(file.string() + " has format " + std::to_string(content.value("format", 0)) +
                ", and this program reads format " + std::to_string(kFormat) +
                "; use the version of Echo that wrote it");
  }
  for (const auto& [name, facts] : content.at("files").items()) {
    if (!belongs_to(name, part)) continue;
    const fs::path which = checkpoint / name;
    if (!fs::is_regular_file(which))
      throw Error("the checkpoint's file " + which.string() + " is missing");
    const auto bytes = static_cast<int64_t>(fs::file_size(which));
    const int64_t expected = facts.at("bytes").get<int64_t>();
    if (bytes != expected) {
      damaged(which,
              "it has " + std::to_string(bytes) + " bytes instead of " + std::to_string(expected));
    }
    if (sha256_file(which) != facts.at("sha256").get<std::string>())
      damaged(which, "its SHA-256 is not the one in " + std::string(kTrainerFile));
  }
  TrainerState state;
  state.step = content.at("step").get<int64_t>();
  state.tokens = content.at("tokens").get<int64_t>();
  state.seconds = content.at("seconds").get<double>();
  state.training_seconds = content.at("training_seconds").get<double>();
  state.evaluated = content.at("evaluated").get<bool>();
  if (!content.at("steps_to_solve").is_null())
    state.steps_to_solve = content["steps_to_solve"].get<int64_t>();
  if (!content.at("best").is_null()) state.best = content["best"].get<double>();
  return state;
}

namespace {

[[noreturn]] void misfit(const fs::path& file, const std::string& reason) {
  throw Error(file.string() + " does not fit the recipe: " + reason);
}

std::string shape_text(at::IntArrayRef shape) {
  std::ostringstream text;
  text << shape;
  return text.str();
}

void check_shape(const fs::path& file, const std::string& name, const at::Tensor& saved,
                 const at::Tensor& wanted) {
  if (saved.sizes() == wanted.sizes()) return;
  misfit(file, "its tensor '" + name + "' has shape " + shape_text(saved.sizes()) +
                   ", and the model's has " + shape_text(wanted.sizes()));
}

}  // namespace

void load_parameters(const fs::path& checkpoint, Module& model) {
  c10::NoGradGuard no_grad;
  std::map<std::string, fs::path> saved;  // where every tensor is
  for (const fs::path& path : checkpoint_files(checkpoint, CheckpointPart::model)) {
    const SafetensorsFile file(path);
    for (const auto& [name, entry] : file.entries()) saved.emplace(name, path);
  }
  std::map<fs::path, SafetensorsFile> files;
  for (const Parameter& parameter : model.parameters()) {
    const auto found = saved.find(parameter.name);
    if (found == saved.end()) misfit(checkpoint, "it has no tensor '" + parameter.name + "'");
    const fs::path path = found->second;
    const at::Tensor value = files.try_emplace(path, path).first->second.read(parameter.name);
    check_shape(path, parameter.name, value, parameter.value());
    parameter.value().copy_(value);
    saved.erase(found);
  }
  if (!saved.empty())
    misfit(saved.begin()->second, "the model has no tensor '" + saved.begin()->first + "'");
}

void load_optimizer(const fs::path& checkpoint, std::span<Slot> slots, const Optimizer& optimizer,
                    const Module& model) {
  std::set<std::string> known;  // a parameter that never had a gradient has no state
  for (const Parameter& parameter : model.parameters()) {
    for (const std::string& state : optimizer.state_names())
      known.insert(parameter.name + "." + state);
  }
  for (const fs::path& file : checkpoint_files(checkpoint, CheckpointPart::optimizer)) {
    SafetensorsFile content(file);
    for (const auto& [name, entry] : content.entries()) {
      if (!known.count(name)) misfit(file, "no parameter has a state '" + name + "'");
    }
    for (Slot& slot : slots) {
      for (const std::string& state : optimizer.state_names()) {
        const std::string name = slot.name + "." + state;
        if (!content.entries().count(name)) continue;
        const at::Tensor saved = content.read(name);
        check_shape(file, name, saved, slot.parameter);
        slot.state[state] = saved.to(slot.parameter.device());
      }
    }
  }
}

}  // namespace echo
