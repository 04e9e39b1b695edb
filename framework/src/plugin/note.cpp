#include "framework/src/plugin/note.h"

#include <echo/error.h>
#include <echo/plugin.h>

#include <cerrno>
#include <cstring>
#include <elf.h>
#include <fstream>

namespace echo {

namespace {

constexpr uint64_t kLongestNotes = 1 << 20;  // a library's notes are some hundred bytes

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
constexpr const char* kMachineName = "x86-64";
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
constexpr const char* kMachineName = "AArch64";
#else
#error "name this machine's ELF number here"
#endif

class LibraryFile {
 public:
  explicit LibraryFile(const std::filesystem::path& path) : path_(path) {
    std::error_code code;
    const auto status = std::filesystem::status(path, code);
    if (!std::filesystem::exists(status)) fail("there is no such file");
    if (!std::filesystem::is_regular_file(status)) fail("it is not a regular file");
    file_.open(path, std::ios::binary);
    if (!file_) fail(std::strerror(errno));
    size_ = std::filesystem::file_size(path);
  }

  std::string note() {
    const Elf64_Ehdr header = read_header();
    std::string found;
    for (uint16_t i = 0; i < header.e_phnum; ++i) {
      const auto segment = read<Elf64_Phdr>(header.e_phoff + uint64_t{i} * sizeof(Elf64_Phdr));
      if (segment.p_filesz > size_ || segment.p_offset > size_ - segment.p_filesz) {
        fail("it is cut off: a segment lies outside the file; copy or build it again");
      }
      if (segment.p_type == PT_NOTE && found.empty()) found = find_note(segment);
    }
    if (found.empty())
      fail("it is a shared library without Echo's note: no plugin (ECHO_PLUGIN makes one)");
    return found;
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw Error("cannot load the plugin " + path_.string() + ": " + reason);
  }

  template <class T>
  T read(uint64_t offset) {
    T value{};
    if (size_ < sizeof(T) || offset > size_ - sizeof(T))
      fail("it is cut off; copy or build it again");
    file_.seekg(static_cast<std::streamoff>(offset));
    if (!file_.read(reinterpret_cast<char*>(&value), sizeof(T))) fail(std::strerror(errno));
    return value;
  }

  Elf64_Ehdr read_header() {
    unsigned char magic[EI_NIDENT] = {};
    if (size_ >= EI_NIDENT) file_.read(reinterpret_cast<char*>(magic), EI_NIDENT);
    if (std::memcmp(magic, ELFMAG, SELFMAG) != 0) fail("it is no shared library");
    if (magic[EI_CLASS] != ELFCLASS64) fail("it is a 32-bit library; this program is 64-bit");
    if (magic[EI_DATA] != ELFDATA2LSB) fail("it is a big-endian library");
    const auto header = read<Elf64_Ehdr>(0);
    if (header.e_machine != kMachine)
      fail(std::string("it is built for another machine; this one is ") + kMachineName);
    if (header.e_type != ET_DYN) fail("it is an ELF file, but no shared library");
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0)
      fail("its ELF header is damaged");
    if (header.e_shoff > size_ ||
        uint64_t{header.e_shnum} * header.e_shentsize > size_ - header.e_shoff) {
      fail("it is cut off: its section headers lie outside the file; copy or build it again");
    }
    return header;
  }

  // Notes: name size, text size, type, name, text, each padded to 4 bytes.
  std::string find_note(const Elf64_Phdr& segment) {
    if (segment.p_filesz > kLongestNotes) return "";
    std::vector<char> bytes(segment.p_filesz);
    file_.seekg(static_cast<std::streamoff>(segment.p_offset));
    if (!file_.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
      fail(std::strerror(errno));
    const uint64_t align = segment.p_align == 8 ? 8 : 4;
    const auto padded = [&](uint64_t size) { return (size + align - 1) / align * align; };
    uint64_t at = 0;
    while (at + sizeof(Elf64_Nhdr) <= bytes.size()) {
      Elf64_Nhdr note;
      std::memcpy(&note, bytes.data() + at, sizeof note);
      const uint64_t name = at + sizeof note;
      const uint64_t text = name + padded(note.n_namesz);
      if (text + note.n_descsz > bytes.size()) return "";
      if (note.n_type == 1 && note.n_namesz == 5 &&
          std::memcmp(bytes.data() + name, "Echo", 5) == 0) {
        return std::string(bytes.data() + text, strnlen(bytes.data() + text, note.n_descsz));
      }
      at = text + padded(note.n_descsz);
    }
    return "";
  }

  std::filesystem::path path_;
  std::ifstream file_;
  uint64_t size_ = 0;
};

}  // namespace

Fingerprint::Fingerprint(std::string text) : text_(std::move(text)) {
  for (const std::string& pair : split(text_, ';')) {
    const size_t equals = pair.find('=');
    if (equals != std::string::npos) values_[pair.substr(0, equals)] = pair.substr(equals + 1);
  }
}

std::string Fingerprint::get(const std::string& key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? "" : found->second;
}

std::vector<std::string> Fingerprint::kinds() const { return split(get("kinds"), ','); }

const char* host_fingerprint() { return ECHO_FINGERPRINT("", "", ""); }

Fingerprint read_note(const std::filesystem::path& path) {
  return Fingerprint(LibraryFile(path).note());
}

void check_fingerprint(const Fingerprint& plugin, const Fingerprint& host,
                       const std::filesystem::path& path) {
  struct Rule {
    const char* key;
    const char* what;
  };
  constexpr Rule rules[] = {{"echo", "Echo's plugin interface"},
                            {"torch", "LibTorch"},
                            {"cxx11abi", "the std::string ABI (_GLIBCXX_USE_CXX11_ABI)"},
                            {"stdlib", "the C++ standard library"},
                            {"debug", "the library's debug mode (_GLIBCXX_DEBUG)"}};
  const auto refuse = [&](const std::string& what, const std::string& theirs,
                          const std::string& ours) {
    throw Error("cannot load the plugin " + path.string() + ": it was built with " + what + " " +
                (theirs.empty() ? "unknown" : theirs) + ", this program with " + ours +
                "; build the plugin again against this program");
  };
  for (const Rule& rule : rules) {
    if (plugin.get(rule.key) != host.get(rule.key))
      refuse(rule.what, plugin.get(rule.key), host.get(rule.key));
  }
  if (plugin.get("cuda") != "none" && plugin.get("cuda") != host.get("cuda")) {
    refuse("CUDA", plugin.get("cuda"), host.get("cuda"));
  }
}

}  // namespace echo
