#pragma once

#include <cstdint>
#include <filesystem>
#include <istream>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace echo {

// The text of a plugin's note as key=value pairs; see echo/plugin.h.
class Fingerprint {
 public:
  explicit Fingerprint(std::string text);
  const std::string& text() const { return text_; }
  std::string get(const std::string& key) const;  // empty when absent
  std::vector<std::string> kinds() const;

 private:
  std::string text_;
  std::map<std::string, std::string> values_;
};

// Whose kinds need no prefix: those of the program's own folder.
enum class Origin { builtin, stranger };

// What this program was built with.
const char* host_fingerprint();

// What decides whether a plugin and this program fit together: a key of the fingerprint, and how
// people call it.
struct FingerprintRule {
  const char* key;
  const char* what;
};
const std::vector<FingerprintRule>& fingerprint_rules();  // equal on both sides

// Reads the note of a shared library without opening it as one. Throws Error for anything but a
// whole ELF library of this machine with a note of Echo's: a library that is cut off would kill the
// process inside dlopen.
Fingerprint read_note(const std::filesystem::path& path);

// Throws Error with the reason alone when a plugin cannot be loaded into a program: it names both
// sides and what to do.
void check_fingerprint(const Fingerprint& plugin, const Fingerprint& host);

// Throws Error with the reason alone for a note that no plugin may have: without a name or a
// version, with a kind twice or, of a stranger, without the plugin's prefix.
void check_note(const Fingerprint& note, Origin origin);

// What can be said of a file without opening it as a library.
struct PluginReport {
  std::optional<Fingerprint> note;  // none: it has none that can be read
  std::string refusal;              // empty: this program takes it
};
PluginReport inspect_plugin(const std::filesystem::path& path, const Fingerprint& host);
// The same of bytes, whatever they are.
PluginReport inspect_plugin(std::istream& bytes, uint64_t size, const Fingerprint& host);

}  // namespace echo
