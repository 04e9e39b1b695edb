#include "cli/scaffold.h"

#include "cli/input.h"
#include "framework/src/files/file.h"
#include "framework/src/files/program_prefix.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <algorithm>
#include <set>

namespace echo::cli {

namespace fs = std::filesystem;

namespace {

const std::string kPlaceholder = "plugin_name";
constexpr size_t kLongestName = 40;

// Words that mean something else to C++, to CMake or to Echo's headers.
const std::set<std::string>& taken_words() {
  static const std::set<std::string> words = {
      "alignas",    "alignof",  "all",      "and",       "asm",      "at",
      "auto",       "bool",     "break",    "c10",       "case",     "catch",
      "char",       "class",    "clean",    "concept",   "const",    "continue",
      "decltype",   "default",  "delete",   "do",        "double",   "echo",
      "edit_cache", "else",     "enum",     "explicit",  "export",   "extern",
      "false",      "float",    "for",      "friend",    "goto",     "help",
      "if",         "inline",   "install",  "int",       "long",     "mutable",
      "namespace",  "new",      "noexcept", "not",       "nullptr",  "operator",
      "or",         "package",  "private",  "protected", "public",   "rebuild_cache",
      "register",   "requires", "return",   "short",     "signed",   "sizeof",
      "static",     "std",      "struct",   "switch",    "template", "test",
      "this",       "throw",    "torch",    "true",      "try",      "typedef",
      "typeid",     "typename", "union",    "unsigned",  "using",    "virtual",
      "void",       "volatile", "wchar_t",  "while",     "xor",      kPlaceholder};
  return words;
}

void check_name(const std::string& name) {
  const auto fits = [](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '_';
  };
  const bool begins = !name.empty() && name[0] >= 'a' && name[0] <= 'z';
  if (!begins || name.size() > kLongestName || !std::all_of(name.begin(), name.end(), fits)) {
    throw ConfigError("NAME: '" + name +
                      "' cannot be the name of a plugin; allowed: a small letter, then small "
                      "letters, digits and _, at most " +
                      std::to_string(kLongestName) + ", as in gated_average");
  }
  if (taken_words().count(name)) {
    throw ConfigError("NAME: '" + name +
                      "' is a word of C++, of CMake or of Echo itself; choose another, as in my_" +
                      name);
  }
}

std::string filled(std::string text, const std::string& name) {
  for (size_t at = 0; (at = text.find(kPlaceholder, at)) != std::string::npos; at += name.size())
    text.replace(at, kPlaceholder.size(), name);
  return text;
}

// Where a template becomes a file: "plugin_name.cpp", and "gitignore", which Git reads with a dot.
std::string file_name(const fs::path& file, const std::string& name) {
  const std::string own = file.filename().string();
  return own == "gitignore" ? ".gitignore" : filled(own, name);
}

}  // namespace

std::vector<std::string> write_scaffold(const Scaffold& scaffold) {
  check_name(scaffold.name);
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(scaffold.folder, ignored))) {
    throw ConfigError(scaffold.folder.string() +
                      " exists already; name a new folder with --folder, or another plugin");
  }
  const fs::path templates = program_prefix() / "share" / "echo-lm" / "templates";
  std::vector<std::string> written;
  write_folder(scaffold.folder, [&](const fs::path& temporary) {
    for (const fs::path& source : {templates / "common", templates / scaffold.sort}) {
      if (!fs::is_directory(source))
        throw Error("there is no folder " + source.string() + "; install Echo again");
      for (const auto& entry : fs::directory_iterator(source)) {
        const std::string name = file_name(entry.path(), scaffold.name);
        const std::string file = entry.path().string();
        replace_file(temporary / name,
                     filled(read_input(file, "the template " + file), scaffold.name));
        written.push_back(name);
      }
    }
  });
  std::sort(written.begin(), written.end());
  return written;
}

std::vector<std::string> next_commands(const Scaffold& scaffold) {
  const std::string folder = shell_word(scaffold.folder.string());
  const std::string build = shell_word((scaffold.folder / "build").string());
  const std::string library =
      shell_word((scaffold.folder / "build" / (scaffold.name + ".so")).string());
  const std::string recipe = shell_word((scaffold.folder / "recipe.yaml").string());
  const std::string prefix = shell_word("-DCMAKE_PREFIX_PATH=" + program_prefix().string());
  return {"cmake -S " + folder + " -B " + build + " " + prefix + " && cmake --build " + build,
          program_name() + " plugin check " + library, program_name() + " train " + recipe};
}

}  // namespace echo::cli
