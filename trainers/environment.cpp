#include "trainers/environment.h"

#include "framework/src/plugin/note.h"
#include "framework/src/recipe/nested.h"
#include "trainers/provenance.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <array>
#include <chrono>
#include <ctime>
#include <fstream>
#include <set>
#include <unistd.h>

#include <ATen/ATen.h>

namespace echo {

using Json = nlohmann::ordered_json;

namespace {

// " --ranks 2" where the last process that trained was one of two ranks of one machine.
std::string ranks_option(const Json& environment) {
  const Json& resumed = environment["resumed"];
  const Json& last = resumed.empty() ? environment : resumed.back();
  const Json ranks = last.is_object() ? last.value("ranks", Json()) : Json();
  if (!ranks.is_object() || !ranks.contains("size") || !ranks.contains("hosts")) return "";
  for (const Json& host : ranks["hosts"])
    if (host != ranks["hosts"].front()) return "";
  return " --ranks " + ranks["size"].dump();
}

std::string time_now() {
  const std::time_t now = std::time(nullptr);
  std::tm broken{};
  gmtime_r(&now, &broken);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &broken);
  return text.data();
}

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

// The mixer kinds of a recipe, also those inside of others, and the versions of their states.
std::map<std::string, int64_t> state_versions(const Recipe& recipe, const Registry& registry) {
  std::map<std::string, int64_t> versions;
  const auto blocks = static_cast<int64_t>(recipe.model.blocks.size());
  for (int64_t block = 0; block < blocks; ++block) {
    for (const BranchRecipe& branch : recipe.model.blocks[static_cast<size_t>(block)]) {
      const Place place{.width = recipe.model.width,
                        .layer = block,
                        .layers = blocks,
                        .options = at::TensorOptions().dtype(at::kFloat).device(at::kMeta)};
      versions[branch.mixer.kind] =
          make(registry.mixers, branch.mixer, place)->traits().state_version;
      for (const MixerChoice& inner : nested_mixers(*branch.mixer.options))
        versions[inner.kind.name] = inner.make(place, "mixers")->traits().state_version;
    }
  }
  return versions;
}

bool holds_any(const LoadedPlugin& plugin, const std::set<std::string>& kinds) {
  for (const std::string& kind : plugin.kinds) {
    if (kinds.count(kind)) return true;
  }
  return false;
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

Json environment_json(const Recipe& recipe, const std::vector<LoadedPlugin>& plugins,
                      const Session& session) {
  const Fingerprint host(host_fingerprint());
  Json content = {{"program", "echo-lm"},
                  {"version", ECHO_VERSION},
                  {"compiler", host.get("compiler")},
                  {"libtorch", host.get("torch")},
                  {"cuda", host.get("cuda")},
                  {"fingerprint", host.text()},
                  {"device", session.device},
                  {"threads", session.threads},
                  {"seed", recipe.seed},
                  {"data", session.data},
                  {"command", session.command},
                  {"host", host_name()},
                  {"processor", processor()},
                  {"began", time_now()}};
  if (!session.ranks.is_null()) content["ranks"] = session.ranks;
  content["plugins"] = Json::array();
  for (const LoadedPlugin& plugin : plugins) content["plugins"].push_back(plugin_json(plugin));
  return content;
}

std::map<std::string, std::string> model_metadata(const Recipe& recipe,
                                                  const std::vector<LoadedPlugin>& plugins,
                                                  const Registry& registry) {
  const std::map<std::string, int64_t> versions = state_versions(recipe, registry);
  std::set<std::string> kinds = {recipe.task.kind, recipe.train.optimizer.kind,
                                 recipe.train.schedule.kind};
  for (const auto& [kind, version] : versions) kinds.insert(kind);
  Json used = Json::array();
  for (const LoadedPlugin& plugin : plugins) {
    if (holds_any(plugin, kinds)) used.push_back(plugin_json(plugin));
  }
  return {{"format", "echo"},
          {"echo", ECHO_VERSION},
          {"recipe", resolved_yaml(recipe)},
          {"kinds", Json(versions).dump()},
          {"plugins", used.dump()}};
}

Json read_json_file(const std::filesystem::path& file) {
  std::ifstream stream(file);
  return Json::parse(stream, nullptr, false);
}

Json read_environment(const RunFolder& folder) {
  Json environment = read_json_file(folder.environment());
  if (!environment.is_object()) environment = Json::object();
  if (!environment["device"].is_string()) environment["device"] = "cpu";
  if (!environment["threads"].is_number_integer()) environment["threads"] = 0;
  if (!environment["data"].is_object()) environment["data"] = Json::object();
  if (!environment["resumed"].is_array()) environment["resumed"] = Json::array();
  return environment;
}

std::string how_to_resume(const RunFolder& folder) {
  return program_name() + " train --resume --run " + shell_word(folder.path().string()) +
         ranks_option(read_environment(folder));
}

}  // namespace echo
