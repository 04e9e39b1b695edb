#include "cli/check.h"

#include "cli/kind_list.h"
#include "framework/src/text/terminal.h"

#include <algorithm>
#include <iostream>
#include <unistd.h>

namespace echo::cli {

namespace {

using testing::CheckResult;
using Json = nlohmann::ordered_json;

// The same mixer, inputs and parameters through one check alone.
std::string repeating(const Program& program, const CheckArguments& arguments,
                      const std::string& id) {
  std::string command =
      program_name() + " mixers " + arguments.kind + " --check " + check_options(arguments, id);
  for (const std::string& file : program.plugin_files()) command += " --plugin '" + file + "'";
  return command;
}

}  // namespace

std::string check_options(const CheckArguments& arguments, const std::string& id) {
  std::string text = "--only " + id;
  for (const std::string& change : arguments.set) text += " --set '" + change + "'";
  for (const std::string& name : arguments.settings.silent) text += " --silent " + name;
  return text + " --width " + std::to_string(arguments.settings.width) + " --seed " +
         std::to_string(arguments.settings.seed);
}

void print_check(const CheckResult& result, const std::string& repeat) {
  constexpr int64_t kIndent = 18;
  const Terminal terminal = look_at(STDOUT_FILENO);
  std::string text = result.id;
  if (!result.detail.empty()) {
    text.resize(10, ' ');
    text += result.detail;
  }
  const std::string verdict = result.passed ? "passes" : "FAILS ";
  std::cout << styled(terminal, result.passed ? Style::green : Style::red, verdict) << "  "
            << wrap(text, terminal.width, kIndent)
            << std::endl;  // a check may take seconds: each is shown when it is done
  if (!result.passed) std::cout << "        repeat    " << repeat << std::endl;
}

std::vector<std::string> chosen_checks(const CheckArguments& arguments,
                                       const std::vector<std::string>& more) {
  std::vector<std::string> known = more;
  for (const std::string& id : testing::mixer_checks()) known.push_back(id);
  for (const std::string& id : arguments.settings.only) {
    if (std::find(known.begin(), known.end(), id) == known.end())
      throw ConfigError("unknown check '" + id + "'" + known_words(id, "known checks", known));
  }
  return arguments.settings.only.empty() ? known : arguments.settings.only;
}

CheckResult run_check(const Registry& registry, const CheckArguments& arguments,
                      const std::string& id) {
  const MixerKind& kind = find_kind(registry.mixers, arguments.kind, "mixer");
  const Place place{.width = arguments.settings.width};
  const KindChoice choice = choose_mixer(registry, arguments.kind, arguments.set, place);
  testing::CheckSettings settings = arguments.settings;
  settings.only = {id};
  return testing::check_mixer(kind, *choice.options, settings).at(0);
}

int check_kind(Program& program, const CheckArguments& arguments) {
  if (arguments.kind.empty())
    throw ConfigError("a KIND is missing, as in `" + program_name() + " mixers ska --check`");
  const Registry& registry = program.plugins().registry();
  const MixerKind& kind = find_kind(registry.mixers, arguments.kind, "mixer");
  choose_mixer(registry, arguments.kind, arguments.set, {.width = arguments.settings.width});
  const std::vector<std::string> ids = chosen_checks(arguments);
  if (!arguments.as_json) {
    std::cout << kind.name << ": width " << arguments.settings.width << ", seed "
              << arguments.settings.seed << "\n\n";
  }
  Json json = Json::array();
  int64_t failed = 0;
  for (const std::string& id : ids) {
    const CheckResult result = run_check(registry, arguments, id);
    const std::string repeat = repeating(program, arguments, id);
    if (!result.passed) ++failed;
    json.push_back(
        {{"check", id}, {"passed", result.passed}, {"detail", result.detail}, {"repeat", repeat}});
    if (!arguments.as_json) print_check(result, repeat);
  }
  if (arguments.as_json) {
    std::cout << Json({{"kind", kind.name},
                       {"width", arguments.settings.width},
                       {"seed", arguments.settings.seed},
                       {"checks", std::move(json)}})
                     .dump(2)
              << "\n";
  } else {
    std::cout << "\n"
              << (ids.size() - static_cast<size_t>(failed)) << " of " << ids.size() << " pass\n";
  }
  return failed == 0 ? kDone : kFailed;
}

}  // namespace echo::cli
