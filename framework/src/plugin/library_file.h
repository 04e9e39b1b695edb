#pragma once

#include <cstdint>
#include <elf.h>
#include <istream>
#include <string>
#include <vector>

namespace echo {

// A shared library as the bytes of a file: nothing of it is mapped into memory or run, whatever the
// bytes are. Every function throws Error with the reason alone, the end of a sentence.
class LibraryFile {
 public:
  // Reads the header and the table of segments. The stream must outlive this.
  LibraryFile(std::istream& file, uint64_t size);

  // The text of Echo's note. It is found in a library that is cut off behind it, too.
  std::string note();

  // What the system's loader takes on trust: a library that is cut off, or whose header is damaged,
  // ends the process inside dlopen. Compares the segments with the file, with each other, with the
  // sections (where they were not stripped) and with the table of the loader.
  void check_whole();

 private:
  template <class T>
  T read(uint64_t offset);
  std::vector<char> read_bytes(uint64_t offset, uint64_t size);
  void check_identity();
  void read_segments();
  std::string note_in(const Elf64_Phdr& segment);

  void check_segment(const Elf64_Phdr& segment) const;
  void check_loads() const;
  void check_place(const Elf64_Phdr& segment) const;
  void read_sections();
  void check_section(const Elf64_Shdr& section) const;
  void check_against_sections(const Elf64_Phdr& segment) const;
  void check_protected(const Elf64_Phdr& segment) const;
  void check_dynamic();
  void check_dynamic_entry(const Elf64_Dyn& entry) const;
  void check_tables(const std::vector<Elf64_Dyn>& entries);
  void check_names(const std::vector<Elf64_Dyn>& entries, uint64_t address, uint64_t size);

  const Elf64_Phdr* load_with(uint64_t address, uint64_t size) const;
  const Elf64_Phdr& only(uint32_t type, const char* name) const;
  std::string name_of(const Elf64_Shdr& section) const;

  std::istream& file_;
  uint64_t size_;
  Elf64_Ehdr header_{};
  std::vector<Elf64_Phdr> segments_;
  std::vector<Elf64_Shdr> sections_;  // empty: stripped
  std::string section_names_;
};

}  // namespace echo
