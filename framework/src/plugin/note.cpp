#include "framework/src/plugin/note.h"

#include "framework/src/plugin/library_file.h"

#include <echo/error.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

namespace echo {

namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

// Calls `use` with the bytes of a file. Nothing but a regular file is opened: a pipe would wait.
template <class Use>
void with_file(const std::filesystem::path& path, Use&& use) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status)) throw Error("there is no such file");
  if (!std::filesystem::is_regular_file(status)) throw Error("it is not a regular file");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(std::strerror(errno));
  const uint64_t size = std::filesystem::file_size(path, code);
  if (code) throw Error(code.message());
  use(file, size);
}

bool is_name(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char letter) {
    return std::isalnum(letter) || std::strchr("_-.", letter);
  });
}

}  // namespace

Fingerprint::Fingerprint(std::string text) : text_(std::move(text)) {
  for (const std::string& pair : split(text_, ';')) {
    const size_t equals = pair.find('=');
    if (equals != std::string::npos)
      values_.emplace(pair.substr(0, equals), pair.substr(equals + 1));
  }
}

std::string Fingerprint::get(const std::string& key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? "" : found->second;
}

std::vector<std::string> Fingerprint::kinds() const { return split(get("kinds"), ','); }

const std::vector<FingerprintRule>& fingerprint_rules() {
  static const std::vector<FingerprintRule> rules = {
      {"echo", "Echo's plugin interface"},
      {"torch", "LibTorch"},
      {"cxx11abi", "the std::string ABI (_GLIBCXX_USE_CXX11_ABI)"},
      {"stdlib", "the C++ standard library"},
      {"debug", "the library's debug mode (_GLIBCXX_DEBUG)"}};
  return rules;
}

Fingerprint read_note(const std::filesystem::path& path) {
  std::optional<Fingerprint> note;
  with_file(path, [&](std::istream& bytes, uint64_t size) {
    LibraryFile library(bytes, size);
    library.check_whole();
    note.emplace(library.note());
  });
  return *note;
}

void check_fingerprint(const Fingerprint& plugin, const Fingerprint& host) {
  const auto compare = [&](const FingerprintRule& rule) {
    const std::string theirs = plugin.get(rule.key);
    if (theirs == host.get(rule.key)) return;
    throw Error(std::string("it was built with ") + rule.what + " " +
                (theirs.empty() ? "unknown" : theirs) + ", this program with " +
                host.get(rule.key) + "; build the plugin again against this program");
  };
  for (const FingerprintRule& rule : fingerprint_rules()) compare(rule);
  if (plugin.get("cuda") != "none") compare({"cuda", "CUDA"});
}

void check_note(const Fingerprint& note, Origin origin) {
  const std::string name = note.get("plugin");
  if (!is_name(name)) {
    throw Error("its name '" + name +
                "' must be letters, digits, '_', '-' and '.'; correct it in ECHO_PLUGIN");
  }
  if (note.get("version").empty())
    throw Error("its note has no version; give ECHO_PLUGIN one, as in \"0.1\"");
  std::set<std::string> seen;
  for (const std::string& kind : note.kinds()) {
    if (!seen.insert(kind).second)
      throw Error("its note declares the kind '" + kind + "' twice; correct it in ECHO_PLUGIN");
    const std::string prefix = name + "/";
    if (origin == Origin::stranger && (kind.size() == prefix.size() || !kind.starts_with(prefix)))
      throw Error("its kind '" + kind + "' must begin with '" + prefix + "'; rename it");
  }
}

PluginReport inspect_plugin(std::istream& bytes, uint64_t size, const Fingerprint& host) {
  PluginReport report;
  try {
    LibraryFile library(bytes, size);
    try {
      report.note.emplace(library.note());
    } catch (const Error&) {
      library.check_whole();  // which may know a better reason
      throw;
    }
    library.check_whole();
    check_fingerprint(*report.note, host);
    check_note(*report.note, Origin::stranger);
  } catch (const Error& mistake) {
    report.refusal = mistake.what();
  }
  return report;
}

PluginReport inspect_plugin(const std::filesystem::path& path, const Fingerprint& host) {
  PluginReport report;
  try {
    with_file(path, [&](std::istream& bytes, uint64_t size) {
      report = inspect_plugin(bytes, size, host);
    });
  } catch (const Error& mistake) {
    report.refusal = mistake.what();
  }
  return report;
}

}  // namespace echo
