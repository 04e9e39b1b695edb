#include "framework/src/plugin/library_file.h"

#include <echo/error.h>

#include <algorithm>
#include <cstring>
#include <map>

namespace echo {

namespace {

constexpr uint64_t kLongestNotes = 1 << 20;  // a library's notes are some hundred bytes
constexpr uint64_t kLongestTable = 64 << 20;
constexpr uint64_t kLongestNote = 512;
constexpr uint64_t kLargestLibrary = uint64_t{1} << 40;  // bytes of memory
constexpr uint64_t kPage = 4096;

#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
constexpr const char* kMachineName = "x86-64";
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
constexpr const char* kMachineName = "AArch64";
#else
#error "name this machine's ELF number here"
#endif

[[noreturn]] void fail(const std::string& reason) { throw Error(reason); }

[[noreturn]] void cut_off(const std::string& what) {
  fail("it is cut off: " + what + " lies outside the file; copy or build it again");
}

[[noreturn]] void damaged(const std::string& what) {
  fail("its ELF header is damaged (" + what + "); copy or build it again");
}

std::string machine_name(uint16_t machine) {
  switch (machine) {
    case EM_X86_64:
      return "x86-64";
    case EM_AARCH64:
      return "AArch64";
    case EM_386:
      return "x86";
    case EM_ARM:
      return "ARM";
    case EM_RISCV:
      return "RISC-V";
    case EM_PPC64:
      return "PowerPC";
    default:
      return "machine " + std::to_string(machine);
  }
}

// [begin, begin + size) within [outer, outer + outer_size), whatever the numbers are.
bool within(uint64_t begin, uint64_t size, uint64_t outer, uint64_t outer_size) {
  return begin >= outer && size <= outer_size && begin - outer <= outer_size - size;
}

bool is_power_of_two(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

std::string segment_name(uint32_t type) {
  switch (type) {
    case PT_LOAD:
      return "a loaded segment";
    case PT_DYNAMIC:
      return "the dynamic segment";
    case PT_TLS:
      return "the segment of thread-local variables";
    case PT_NOTE:
      return "a segment of notes";
    case PT_GNU_EH_FRAME:
      return "the segment for exceptions";
    case PT_GNU_RELRO:
      return "the protected segment";
    default:
      return "a segment";
  }
}

// A place in memory that the section's bytes take: thread-local zeros take none.
bool takes_memory(const Elf64_Shdr& section) {
  if (!(section.sh_flags & SHF_ALLOC) || section.sh_size == 0) return false;
  return !(section.sh_type == SHT_NOBITS && (section.sh_flags & SHF_TLS));
}

}  // namespace

LibraryFile::LibraryFile(std::istream& file, uint64_t size) : file_(file), size_(size) {
  check_identity();
  read_segments();
}

std::string LibraryFile::note() {
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type != PT_NOTE) continue;
    const std::string text = note_in(segment);
    if (!text.empty()) return text;
  }
  fail("it is a shared library without Echo's note: no plugin (ECHO_PLUGIN makes one)");
}

void LibraryFile::check_whole() {
  for (const Elf64_Phdr& segment : segments_) check_segment(segment);
  check_loads();
  for (const Elf64_Phdr& segment : segments_) check_place(segment);
  read_sections();
  if (!sections_.empty()) {
    for (const Elf64_Shdr& section : sections_) check_section(section);
    for (const Elf64_Phdr& segment : segments_) check_against_sections(segment);
  }
  check_dynamic();
}

template <class T>
T LibraryFile::read(uint64_t offset) {
  T value{};
  const std::vector<char> bytes = read_bytes(offset, sizeof(T));
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

std::vector<char> LibraryFile::read_bytes(uint64_t offset, uint64_t size) {
  if (!within(offset, size, 0, size_)) cut_off("what its header names");
  std::vector<char> bytes(size);
  file_.clear();
  file_.seekg(static_cast<std::streamoff>(offset));
  if (!file_.read(bytes.data(), static_cast<std::streamsize>(size))) fail("it cannot be read");
  return bytes;
}

void LibraryFile::check_identity() {
  if (size_ < SELFMAG || std::memcmp(read_bytes(0, SELFMAG).data(), ELFMAG, SELFMAG) != 0)
    fail("it is no shared library");
  if (size_ < sizeof(Elf64_Ehdr)) cut_off("its header");
  header_ = read<Elf64_Ehdr>(0);
  if (header_.e_ident[EI_CLASS] == ELFCLASS32)
    fail("it is a 32-bit library; this program is 64-bit");
  if (header_.e_ident[EI_CLASS] != ELFCLASS64) damaged("its class is unknown");
  if (header_.e_ident[EI_DATA] != ELFDATA2LSB) fail("it is a big-endian library");
  if (header_.e_machine != kMachine)
    fail("it is built for " + machine_name(header_.e_machine) + ", this machine is " +
         kMachineName);
  if (header_.e_type != ET_DYN) fail("it is an ELF file, but no shared library");
  if (header_.e_ident[EI_VERSION] != EV_CURRENT || header_.e_version != EV_CURRENT)
    damaged("its version is unknown");
}

void LibraryFile::read_segments() {
  if (header_.e_phentsize != sizeof(Elf64_Phdr) || header_.e_phnum == 0)
    damaged("its table of segments");
  const uint64_t size = uint64_t{header_.e_phnum} * sizeof(Elf64_Phdr);
  if (!within(header_.e_phoff, size, 0, size_)) cut_off("its table of segments");
  const std::vector<char> bytes = read_bytes(header_.e_phoff, size);
  segments_.resize(header_.e_phnum);
  std::memcpy(segments_.data(), bytes.data(), size);
}

// Notes: name size, text size, type, name, text, each padded to 4 bytes (to 8 in some segments).
std::string LibraryFile::note_in(const Elf64_Phdr& segment) {
  if (segment.p_filesz > kLongestNotes || !within(segment.p_offset, segment.p_filesz, 0, size_))
    return "";
  const std::vector<char> bytes = read_bytes(segment.p_offset, segment.p_filesz);
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
      const char* begin = bytes.data() + text;
      if (note.n_descsz > kLongestNote) {
        fail("its note is " + std::to_string(note.n_descsz) + " bytes, at most " +
             std::to_string(kLongestNote) +
             " are read; give its kinds shorter names, or make two plugins of it");
      }
      return std::string(begin, strnlen(begin, note.n_descsz));
    }
    at = text + padded(note.n_descsz);
  }
  return "";
}

void LibraryFile::check_segment(const Elf64_Phdr& segment) const {
  const std::string name = segment_name(segment.p_type);
  if (!within(segment.p_offset, segment.p_filesz, 0, size_)) cut_off(name);
  const bool mapped = segment.p_type == PT_LOAD || segment.p_type == PT_TLS;
  if (mapped && segment.p_memsz < segment.p_filesz)
    damaged(name + " has more bytes in the file than in memory");
  if (mapped && segment.p_align > 1 && !is_power_of_two(segment.p_align))
    damaged(name + " has an alignment that is no power of two");
  if (!within(segment.p_vaddr, segment.p_memsz, 0, kLargestLibrary))
    damaged(name + " has an impossible address or size");
}

void LibraryFile::check_loads() const {
  uint64_t end = 0;
  bool any = false;
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type != PT_LOAD) continue;
    any = true;
    const uint64_t align = std::max(segment.p_align, kPage);
    if (segment.p_align % kPage != 0 || segment.p_vaddr % align != segment.p_offset % align)
      damaged("a loaded segment is not aligned to pages");
    if (segment.p_vaddr < end) damaged("its loaded segments overlap");
    if (!(segment.p_flags & PF_R)) damaged("a loaded segment is not readable");
    end = segment.p_vaddr + segment.p_memsz;
  }
  if (!any) damaged("no segment is loaded");
}

const Elf64_Phdr* LibraryFile::load_with(uint64_t address, uint64_t size) const {
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type == PT_LOAD && within(address, size, segment.p_vaddr, segment.p_memsz))
      return &segment;
  }
  return nullptr;
}

const Elf64_Phdr& LibraryFile::only(uint32_t type, const char* name) const {
  const Elf64_Phdr* found = nullptr;
  for (const Elf64_Phdr& segment : segments_) {
    if (segment.p_type != type) continue;
    if (found) damaged(std::string("it has ") + name + " twice");
    found = &segment;
  }
  if (!found) damaged(std::string("it has no ") + name);
  return *found;
}

// The other segments that the loader reads in memory are parts of loaded ones.
void LibraryFile::check_place(const Elf64_Phdr& segment) const {
  switch (segment.p_type) {
    case PT_DYNAMIC:
    case PT_TLS:
    case PT_NOTE:
    case PT_GNU_EH_FRAME:
    case PT_GNU_RELRO:
    case PT_GNU_PROPERTY:
      break;
    default:
      return;
  }
  const bool zeros = segment.p_type == PT_TLS || segment.p_type == PT_GNU_RELRO;
  const uint64_t size = zeros ? segment.p_filesz : std::max(segment.p_filesz, segment.p_memsz);
  const Elf64_Phdr* load = load_with(segment.p_vaddr, size);
  if (!load) damaged(segment_name(segment.p_type) + " lies in no loaded segment");
  if (segment.p_filesz > 0 && segment.p_vaddr - segment.p_offset != load->p_vaddr - load->p_offset)
    damaged(segment_name(segment.p_type) + " lies elsewhere in the file than in memory");
}

void LibraryFile::read_sections() {
  sections_.clear();
  if (header_.e_shnum == 0 || header_.e_shoff == 0) return;
  if (header_.e_shentsize != sizeof(Elf64_Shdr)) damaged("its table of sections");
  const uint64_t size = uint64_t{header_.e_shnum} * sizeof(Elf64_Shdr);
  if (!within(header_.e_shoff, size, 0, size_)) cut_off("its table of sections");
  const std::vector<char> bytes = read_bytes(header_.e_shoff, size);
  sections_.resize(header_.e_shnum);
  std::memcpy(sections_.data(), bytes.data(), size);
  section_names_.clear();
  if (header_.e_shstrndx >= sections_.size()) return;
  const Elf64_Shdr& names = sections_[header_.e_shstrndx];
  if (names.sh_type != SHT_STRTAB || names.sh_size > kLongestTable) return;
  if (!within(names.sh_offset, names.sh_size, 0, size_)) return;
  const std::vector<char> text = read_bytes(names.sh_offset, names.sh_size);
  section_names_.assign(text.begin(), text.end());
}

std::string LibraryFile::name_of(const Elf64_Shdr& section) const {
  if (section.sh_name >= section_names_.size()) return "";
  return section_names_.c_str() + section.sh_name;
}

// The sections say once more where everything lies: a segment that was changed contradicts them.
void LibraryFile::check_section(const Elf64_Shdr& section) const {
  if (!takes_memory(section)) return;
  const std::string own = name_of(section);
  const std::string name = own.empty() ? "a section without a name" : "its section " + own;
  const Elf64_Phdr* load = load_with(section.sh_addr, section.sh_size);
  if (!load) damaged(name + " lies in no loaded segment");
  if (section.sh_type != SHT_NOBITS) {
    if (section.sh_addr - section.sh_offset != load->p_vaddr - load->p_offset)
      damaged(name + " lies elsewhere in the file than its segment");
    if (!within(section.sh_offset, section.sh_size, load->p_offset, load->p_filesz))
      damaged(name + " is longer than its segment");
  }
  if ((section.sh_flags & SHF_WRITE) && !(load->p_flags & PF_W))
    damaged(name + " lies in a segment that cannot be written");
  if ((section.sh_flags & SHF_EXECINSTR) && !(load->p_flags & PF_X))
    damaged(name + " lies in a segment that cannot be run");
}

void LibraryFile::check_against_sections(const Elf64_Phdr& segment) const {
  if (segment.p_type == PT_GNU_RELRO) return check_protected(segment);
  const bool begins_one = segment.p_type == PT_DYNAMIC || segment.p_type == PT_TLS ||
                          segment.p_type == PT_GNU_EH_FRAME || segment.p_type == PT_NOTE;
  if (!begins_one || segment.p_memsz == 0) return;
  for (const Elf64_Shdr& section : sections_) {
    if (!(section.sh_flags & SHF_ALLOC) || section.sh_addr != segment.p_vaddr) continue;
    if (segment.p_type == PT_TLS && !(section.sh_flags & SHF_TLS)) continue;
    if (segment.p_type == PT_DYNAMIC && section.sh_size != segment.p_filesz) continue;
    return;
  }
  damaged(segment_name(segment.p_type) + " begins at no section");
}

// What is written to later must not become read-only after loading.
void LibraryFile::check_protected(const Elf64_Phdr& segment) const {
  const uint64_t begin = segment.p_vaddr / kPage * kPage;
  const uint64_t end = (segment.p_vaddr + segment.p_memsz) / kPage * kPage;
  if (!load_with(segment.p_vaddr, 1)) damaged("the protected segment lies in no loaded segment");
  for (const Elf64_Shdr& section : sections_) {
    if (!takes_memory(section)) continue;
    const std::string name = name_of(section);
    if (name != ".data" && name != ".bss") continue;
    if (section.sh_addr < end && section.sh_addr + section.sh_size > begin)
      damaged("the protected segment covers " + name);
  }
}

void LibraryFile::check_dynamic() {
  const Elf64_Phdr& segment = only(PT_DYNAMIC, "dynamic segment");
  if (segment.p_filesz > kLongestTable || segment.p_vaddr % alignof(Elf64_Dyn) != 0)
    damaged("the dynamic segment has an impossible place");
  const std::vector<char> bytes = read_bytes(segment.p_offset, segment.p_filesz);
  std::vector<Elf64_Dyn> entries(bytes.size() / sizeof(Elf64_Dyn));
  if (entries.empty()) damaged("the dynamic segment is empty");
  std::memcpy(entries.data(), bytes.data(), entries.size() * sizeof(Elf64_Dyn));
  const auto end = std::find_if(entries.begin(), entries.end(),
                                [](const Elf64_Dyn& entry) { return entry.d_tag == DT_NULL; });
  if (end == entries.end()) damaged("the dynamic segment has no end");
  entries.erase(end, entries.end());
  for (const Elf64_Dyn& entry : entries) check_dynamic_entry(entry);
  check_tables(entries);
}

// Addresses that the loader follows.
void LibraryFile::check_dynamic_entry(const Elf64_Dyn& entry) const {
  switch (entry.d_tag) {
    case DT_HASH:
    case DT_GNU_HASH:
    case DT_STRTAB:
    case DT_SYMTAB:
    case DT_RELA:
    case DT_REL:
    case DT_JMPREL:
    case DT_INIT_ARRAY:
    case DT_FINI_ARRAY:
    case DT_PLTGOT:
    case DT_VERSYM:
    case DT_VERNEED:
    case DT_VERDEF:
    case DT_INIT:
    case DT_FINI:
      break;
    default:
      return;
  }
  const Elf64_Phdr* load = load_with(entry.d_un.d_ptr, 1);
  if (!load) damaged("the dynamic segment points outside the library");
  const bool is_code = entry.d_tag == DT_INIT || entry.d_tag == DT_FINI;
  if (is_code && !(load->p_flags & PF_X)) damaged("its first code cannot be run");
}

void LibraryFile::check_tables(const std::vector<Elf64_Dyn>& entries) {
  std::map<int64_t, uint64_t> values;
  for (const Elf64_Dyn& entry : entries) values[entry.d_tag] = entry.d_un.d_val;
  if (!values.count(DT_STRTAB) || !values.count(DT_SYMTAB) || !values.count(DT_STRSZ))
    damaged("the dynamic segment has no table of symbols");
  constexpr std::pair<int64_t, int64_t> tables[] = {{DT_STRTAB, DT_STRSZ},
                                                    {DT_RELA, DT_RELASZ},
                                                    {DT_JMPREL, DT_PLTRELSZ},
                                                    {DT_INIT_ARRAY, DT_INIT_ARRAYSZ},
                                                    {DT_FINI_ARRAY, DT_FINI_ARRAYSZ}};
  for (const auto& [address, size] : tables) {
    if (values.count(address) && !load_with(values[address], values[size]))
      damaged("a table of the dynamic segment is longer than its segment");
  }
  check_names(entries, values[DT_STRTAB], values[DT_STRSZ]);
}

void LibraryFile::check_names(const std::vector<Elf64_Dyn>& entries, uint64_t address,
                              uint64_t size) {
  const Elf64_Phdr* load = load_with(address, size);
  const uint64_t offset = address - load->p_vaddr;
  if (size == 0 || size > kLongestTable || !within(offset, size, 0, load->p_filesz))
    damaged("the table of names has an impossible place");
  if (read_bytes(load->p_offset + offset + size - 1, 1)[0] != 0)
    damaged("the table of names has no end");
  for (const Elf64_Dyn& entry : entries) {
    const bool is_name = entry.d_tag == DT_NEEDED || entry.d_tag == DT_SONAME ||
                         entry.d_tag == DT_RPATH || entry.d_tag == DT_RUNPATH;
    if (is_name && entry.d_un.d_val >= size) damaged("a name lies outside the table of names");
  }
}

}  // namespace echo
