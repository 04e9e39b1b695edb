#include "cli/plugin.h"
#include "cli/table.h"
#include "framework/src/files/sha256.h"
#include "framework/src/plugin/note.h"
#include "framework/src/text/near.h"
#include "framework/src/text/utf8.h"

#include <echo/error.h>

#include <iostream>

namespace echo::cli {

namespace {

using Json = nlohmann::ordered_json;

struct InfoArguments {
  std::string file;
  bool as_json = false;
};

// What must be equal, and what is only shown.
Table compare(const Fingerprint& plugin, const Fingerprint& host) {
  Table table({"key", "plugin", "this_program", "verdict"});
  const auto add = [&](const std::string& key, const std::string& verdict) {
    const std::string theirs = harmless(plugin.get(key));
    table.add(
        {word(key), theirs.empty() ? nothing() : word(theirs), word(host.get(key)), word(verdict)});
  };
  for (const FingerprintRule& rule : fingerprint_rules())
    add(rule.key, plugin.get(rule.key) == host.get(rule.key) ? "equal" : "DIFFERS");
  const bool cuda = plugin.get("cuda") == "none" || plugin.get("cuda") == host.get("cuda");
  add("cuda", cuda ? "fits" : "DIFFERS");
  add("compiler", "not compared");
  return table;
}

Json info_json(const std::string& file, const PluginReport& report) {
  const Fingerprint& note = *report.note;
  const Fingerprint host(host_fingerprint());
  Json kinds = Json::array();
  for (const std::string& kind : note.kinds()) kinds.push_back(harmless(kind));
  return {{"file", file},
          {"sha256", sha256_file(file)},
          {"name", harmless(note.get("plugin"))},
          {"version", harmless(note.get("version"))},
          {"kinds", kinds},
          {"fingerprint", harmless(note.text())},
          {"compared", compare(note, host).json()},
          {"accepted", report.refusal.empty()},
          {"refusal", report.refusal.empty() ? Json() : Json(report.refusal)}};
}

void print(const std::string& file, const PluginReport& report) {
  const Fingerprint& note = *report.note;
  print_pairs({{"file", file},
               {"plugin", harmless(note.get("plugin") + " " + note.get("version"))},
               {"kinds", harmless(join(note.kinds()))},
               {"sha256", sha256_file(file)}});
  std::cout << "\n";
  compare(note, Fingerprint(host_fingerprint())).print(false);
  std::cout << "\n"
            << (report.refusal.empty() ? "This program takes it."
                                       : "This program refuses it: " + harmless(report.refusal))
            << "\n";
}

int run(const InfoArguments& arguments) {
  const PluginReport report = inspect_plugin(arguments.file, Fingerprint(host_fingerprint()));
  if (!report.note) throw ConfigError(arguments.file + ": " + report.refusal);
  if (arguments.as_json) {
    std::cout
        << info_json(arguments.file, report).dump(2, ' ', false, Json::error_handler_t::replace)
        << "\n";
  } else {
    print(arguments.file, report);
  }
  return kDone;
}

}  // namespace

void add_plugin_info(Program& program, Command& group) {
  auto arguments = std::make_shared<InfoArguments>();
  Command& command = program.subcommand(
      group, "info", "what a plugin says of itself, and whether this program takes it");
  command.argument("FILE", arguments->file, "the plugin (.so), which is read, not loaded")
      ->required();
  command.add_json(arguments->as_json);
  command.example("plugin info ./example.so", "its kinds, and what it was built against");
  command.run = [arguments] { return run(*arguments); };
}

}  // namespace echo::cli
