#include "cli/check.h"
#include "cli/child.h"
#include "cli/numbers.h"
#include "cli/plugin.h"
#include "framework/src/plugin/note.h"
#include "framework/src/text/near.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <algorithm>
#include <iostream>
#include <limits>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace echo::cli {

namespace {

using testing::CheckResult;
using Json = nlohmann::ordered_json;

constexpr const char* kLoad = "load";

struct PluginCheckArguments {
  std::string file;
  CheckArguments check;  // check.kind: the one mixer to check; empty: all
};

// What the plugin is, as far as a child process could load it.
struct Loaded {
  CheckResult result{.id = kLoad};
  std::vector<std::string> mixers;
};

void load_alone(const std::string& file, int descriptor) {
  ::dup2(descriptor, STDERR_FILENO);  // a plugin that ends the process says why there
  Json answer;
  try {
    Plugins plugins;
    plugins.load(file);
    answer["mixers"] = Json::array();
    for (const auto& [name, kind] : plugins.registry().mixers.all())
      answer["mixers"].push_back(name);
  } catch (const Error& mistake) {
    answer["refusal"] = mistake.what();
  }
  write_line(descriptor, "\n" + answer.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// "echo: error: cannot load the plugin FILE: REASON" without what everybody knows.
std::string reason_in(const std::string& message, const std::string& file) {
  const std::string path = std::filesystem::absolute(file).filename().string() + ": ";
  const size_t at = message.find(path);
  return at == std::string::npos ? message : message.substr(at + path.size());
}

Loaded try_to_load(const std::string& file) {
  Loaded loaded;
  std::string said;
  const std::string end =
      in_child([&](int descriptor) { load_alone(file, descriptor); },
               [&](const std::string& line) {
                 const Json answer = Json::parse(line, nullptr, false);
                 if (answer.is_object() && answer.contains("refusal")) {
                   loaded.result.detail = reason_in(answer["refusal"].get<std::string>(), file);
                 } else if (answer.is_object() && answer.contains("mixers")) {
                   loaded.mixers = answer["mixers"].get<std::vector<std::string>>();
                   loaded.result.passed = true;
                 } else if (line.rfind("echo: error: ", 0) == 0) {
                   said = reason_in(line, file);
                 }
               });
  if (!end.empty()) {
    loaded.result.passed = false;
    loaded.result.detail = said.empty() ? "while it was loaded, the process ended: " + end : said;
  }
  return loaded;
}

// One check of one mixer.
struct Item {
  std::string kind, id;
};

std::string repeating(const Program& program, const PluginCheckArguments& arguments,
                      const Item& item) {
  std::string command = program_name() + " plugin check " + shell_word(arguments.file);
  if (item.kind.empty()) {
    command += " --only " + item.id;
  } else {
    CheckArguments check = arguments.check;
    command += " --mixer " + item.kind + " " + check_options(check, item.id);
  }
  for (const std::string& file : program.plugin_files()) command += " --plugin " + shell_word(file);
  return command;
}

// Runs the items from `begin` on in one child process and hands their results on as they come. An
// item that ends the process fails; returns the index of the first that was not run.
size_t run_some(Program& program, const PluginCheckArguments& arguments,
                const std::vector<Item>& items, size_t begin,
                const std::function<void(const Item&, const CheckResult&)>& on_result) {
  size_t next = begin;
  const auto work = [&](int descriptor) {
    spdlog::set_level(spdlog::level::warn);
    Plugins& plugins = program.plugins();
    plugins.load(arguments.file);
    for (size_t i = begin; i < items.size(); ++i) {
      CheckArguments check = arguments.check;
      check.kind = items[i].kind;
      CheckResult result{.id = items[i].id};
      try {
        result = run_check(plugins.registry(), check, items[i].id);
      } catch (const Error& mistake) {
        result.detail = mistake.what();
      }
      const Json line = {{"passed", result.passed}, {"detail", result.detail}};
      write_line(descriptor, line.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
  };
  const std::string end = in_child(work, [&](const std::string& line) {
    const Json answer = Json::parse(line);
    on_result(items[next],
              {items[next].id, answer["passed"].get<bool>(), answer["detail"].get<std::string>()});
    ++next;
  });
  if (!end.empty() && next < items.size()) {
    on_result(items[next], {items[next].id, false, "the process ended: " + end});
    ++next;
  }
  return next;
}

// Prints as results come, or keeps them for JSON.
class Report {
 public:
  Report(const Program& program, const PluginCheckArguments& arguments)
      : program_(program), arguments_(arguments) {}

  void add(const Item& item, const CheckResult& result) {
    const std::string repeat = repeating(program_, arguments_, item);
    ++count_;
    if (!result.passed) ++failed_;
    checks_.push_back({{"mixer", item.kind.empty() ? Json() : Json(item.kind)},
                       {"check", result.id},
                       {"passed", result.passed},
                       {"detail", result.detail},
                       {"repeat", repeat}});
    if (arguments_.check.as_json) return;
    if (item.kind != kind_) std::cout << "\n" << item.kind << "\n";
    kind_ = item.kind;
    print_check(result, repeat);
  }

  int finish() {
    if (arguments_.check.as_json) {
      const Json content = {{"file", arguments_.file},
                            {"width", arguments_.check.settings.width},
                            {"seed", arguments_.check.settings.seed},
                            {"checks", std::move(checks_)}};
      std::cout << content.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    } else {
      std::cout << "\n" << (count_ - failed_) << " of " << count_ << " pass\n";
    }
    return failed_ == 0 ? kDone : kFailed;
  }

 private:
  const Program& program_;
  const PluginCheckArguments& arguments_;
  Json checks_ = Json::array();
  std::string kind_;
  int64_t count_ = 0, failed_ = 0;
};

std::vector<std::string> chosen_mixers(const PluginCheckArguments& arguments,
                                       const std::vector<std::string>& mixers) {
  const std::string& wanted = arguments.check.kind;
  if (wanted.empty()) return mixers;
  if (std::find(mixers.begin(), mixers.end(), wanted) != mixers.end()) return {wanted};
  throw ConfigError("--mixer: the plugin has no mixer '" + wanted + "'" +
                    known_words(wanted, "its mixers", mixers));
}

int run(Program& program, const PluginCheckArguments& arguments) {
  const std::vector<std::string> ids = chosen_checks(arguments.check, {kLoad});
  const PluginReport file = inspect_plugin(arguments.file, Fingerprint(""));
  if (!file.note) throw ConfigError(arguments.file + ": " + file.refusal);
  const Loaded loaded = try_to_load(arguments.file);
  Report report(program, arguments);
  const bool wanted = std::find(ids.begin(), ids.end(), kLoad) != ids.end();
  if (wanted || !loaded.result.passed) report.add({"", kLoad}, loaded.result);
  if (!loaded.result.passed) return report.finish();
  std::vector<Item> items;
  for (const std::string& kind : chosen_mixers(arguments, loaded.mixers)) {
    for (const std::string& id : ids) {
      if (id != kLoad) items.push_back({kind, id});
    }
  }
  for (size_t next = 0; next < items.size();) {
    next = run_some(program, arguments, items, next,
                    [&](const Item& item, const CheckResult& result) { report.add(item, result); });
  }
  return report.finish();
}

}  // namespace

void add_plugin_check(Program& program, Command& group) {
  auto arguments = std::make_shared<PluginCheckArguments>();
  CheckArguments& check = arguments->check;
  Command& command = program.subcommand(
      group, "check", "load a plugin and run the conformance kit over its mixers");
  command.argument("FILE", arguments->file, "the plugin (.so)")->required();
  command.repeated("--only", check.settings.only, "CHECK", "this check alone");
  command.option("--mixer", check.kind, "KIND", "this mixer alone");
  command.repeated("--set", check.set, "FIELD=VALUE", "a field of the mixer, as in rank=48");
  command.option("--width", check.settings.width, "N", "width of the model (32)")
      ->transform(whole_number(1, 1 << 16));
  command.option("--seed", check.settings.seed, "N", "of parameters and inputs (0)")
      ->transform(whole_number(0, std::numeric_limits<int64_t>::max()));
  command.repeated("--silent", check.settings.silent, "PARAMETER",
                   "its gradient is identically zero, and that is right");
  command.add_json(check.as_json);
  command.example("plugin check ./example.so", "all checks, a line each");
  command.example("plugin check ./example.so --only causal",
                  "one of them, as the line of a failed one says");
  command.notes =
      "The plugin runs in processes of their own: one that dies is one check that fails. Exit code "
      "0: all pass, 1: one fails.";
  command.run = [&program, arguments] { return run(program, *arguments); };
}

}  // namespace echo::cli
