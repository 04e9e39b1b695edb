#include "cli/command.h"
#include "cli/table.h"
#include "trainers/distributed/launch.h"

#include <echo/error.h>

#include <cstdlib>
#include <dlfcn.h>
#include <iostream>
#include <sstream>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/headeronly/version.h>

#include <nlohmann/json.hpp>

namespace echo::cli {

namespace {

using json = nlohmann::ordered_json;

std::string compiler() {
#if defined(__clang__)
  return std::string("clang ") + __clang_version__;
#else
  return std::string("g++ ") + __VERSION__;
#endif
}

std::string libtorch_folder() {
  Dl_info info{};
  const auto address = reinterpret_cast<void*>(&at::get_num_threads);
  if (::dladdr(address, &info) == 0) return "unknown";
  return std::filesystem::weakly_canonical(info.dli_fname).parent_path().parent_path().string();
}

#ifdef ECHO_CUDA
constexpr bool kCuda = true;  // at::hasCUDA() is false, too, where there is no GPU
#else
constexpr bool kCuda = false;
#endif

json devices() {
  json list = json::array();
  list.push_back({{"name", "cpu"},
                  {"threads", at::get_num_threads()},
                  {"capability", at::get_cpu_capability()}});
  for (size_t i = 0; i < (at::hasCUDA() ? at::getNumGPUs() : 0); ++i) {
    list.push_back({{"name", "cuda:" + std::to_string(i)}});
  }
  return list;
}

// Loads what the program would load, but goes on after a failure.
json plugins(const Program& program) {
  Plugins plugins;
  json failed = json::array();
  const auto attempt = [&](const std::string& path, const std::function<void()>& load) {
    try {
      load();
    } catch (const Error& failure) {
      failed.push_back({{"path", path}, {"reason", failure.what()}});
    }
  };
  attempt(Plugins::builtin_folder().string(), [&] { plugins.load_builtins(); });
  const char* files = std::getenv("ECHO_PLUGINS");
  std::istringstream list(files ? files : "");
  for (std::string file; std::getline(list, file, ':');) {
    if (!file.empty()) attempt(file, [&] { plugins.load(file); });
  }
  for (const std::string& file : program.plugin_files()) attempt(file, [&] { plugins.load(file); });
  json loaded = json::array();
  for (const LoadedPlugin& plugin : plugins.loaded()) {
    loaded.push_back({{"name", plugin.name},
                      {"version", plugin.version},
                      {"path", plugin.path},
                      {"builtin", plugin.builtin},
                      {"kinds", plugin.kinds}});
  }
  return {{"folder", Plugins::builtin_folder().string()}, {"loaded", loaded}, {"failed", failed}};
}

json version_or_null(const std::string& version) {
  return version.empty() ? json(nullptr) : json(version);
}

json examine(const Program& program) {
  return {{"version", ECHO_VERSION},
          {"compiler", compiler()},
          {"libtorch", {{"version", TORCH_VERSION}, {"folder", libtorch_folder()}}},
          {"cuda", kCuda},
          {"mpi", version_or_null(mpi_version())},
          {"nccl", version_or_null(nccl_version())},
          {"devices", devices()},
          {"plugins", plugins(program)}};
}

std::string text_of(const json& value) { return value.get<std::string>(); }

std::string device_text(const json& device) {
  std::string text = text_of(device["name"]);
  if (device.contains("threads")) {
    text += ", " + std::to_string(device["threads"].get<int>()) + " threads, " +
            text_of(device["capability"]);
  }
  return text;
}

void print(const json& found) {
  std::vector<std::pair<std::string, std::string>> lines = {
      {"version", text_of(found["version"])},
      {"compiler", text_of(found["compiler"])},
      {"LibTorch",
       text_of(found["libtorch"]["version"]) + " in " + text_of(found["libtorch"]["folder"])}};
  for (const json& device : found["devices"]) lines.push_back({"device", device_text(device)});
  if (!found["cuda"].get<bool>()) lines.push_back({"CUDA", "not in this build"});
  if (found["cuda"].get<bool>() && found["devices"].size() == 1)
    lines.push_back({"CUDA", "in this build; no GPU is seen"});
  lines.push_back({"MPI", found["mpi"].is_null()
                              ? "not in this build; with it (package libopenmpi-dev) several ranks "
                                "train one model: `" +
                                    program_name() + " train --ranks`"
                              : text_of(found["mpi"])});
  lines.push_back({"NCCL", found["nccl"].is_null()
                               ? "not in this build; with CUDA it connects ranks on GPUs"
                               : text_of(found["nccl"])});
  const json& plugins = found["plugins"];
  std::string kinds;
  for (const json& plugin : plugins["loaded"]) {
    if (!plugin["builtin"].get<bool>()) continue;
    for (const json& kind : plugin["kinds"]) kinds += (kinds.empty() ? "" : ", ") + text_of(kind);
  }
  lines.push_back({"own kinds", kinds.empty() ? "none" : kinds});
  lines.push_back({"from", text_of(plugins["folder"])});
  for (const json& plugin : plugins["loaded"]) {
    if (!plugin["builtin"].get<bool>()) {
      lines.push_back({"plugin", text_of(plugin["name"]) + " " + text_of(plugin["version"]) +
                                     " from " + text_of(plugin["path"])});
    }
  }
  for (const json& plugin : plugins["failed"])
    lines.push_back({"failed", text_of(plugin["reason"])});
  print_pairs(lines);
}

}  // namespace

void add_doctor(Program& program) {
  auto as_json = std::make_shared<bool>(false);
  Command& command = program.command("The program", "doctor",
                                     "what this program was built with and what it found");
  command.add_json(*as_json);
  command.example("doctor", "LibTorch, devices, and the kinds that are loaded");
  command.example("doctor --json", "the same for other programs");
  command.run = [&program, as_json] {
    const json found = examine(program);
    if (*as_json) {
      std::cout << found.dump(2) << "\n";
    } else {
      print(found);
    }
    return kDone;
  };
}

}  // namespace echo::cli
