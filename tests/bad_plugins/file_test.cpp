#include "framework/src/plugin/note.h"
#include "tests/bad_plugins/plugins.h"

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <functional>
#include <unistd.h>

#include <gmock/gmock.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

// Files that are no plugin, or one that was damaged: refused before the system's loader sees them.
namespace echo::bad_plugins {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class ADamagedFile : public ::testing::Test {
 protected:
  ADamagedFile() : whole_(bytes_of(plugin("good"))) {
    std::string pattern = ::testing::TempDir() + "echo-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ / "damaged.so";
  }
  ~ADamagedFile() override { fs::remove_all(folder_); }

  std::string refusal_of(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary) << bytes;
    return refusal(path_);
  }

  // The good plugin with its header, or the first segment of a type, changed.
  std::string with_header(const std::function<void(Elf64_Ehdr&)>& change) const {
    std::string bytes = whole_;
    Elf64_Ehdr header;
    std::memcpy(&header, bytes.data(), sizeof header);
    change(header);
    std::memcpy(bytes.data(), &header, sizeof header);
    return bytes;
  }
  std::string with_segment(uint32_t type, const std::function<void(Elf64_Phdr&)>& change) const {
    std::string bytes = whole_;
    Elf64_Ehdr header;
    std::memcpy(&header, bytes.data(), sizeof header);
    for (size_t i = 0; i < header.e_phnum; ++i) {
      char* at = bytes.data() + header.e_phoff + i * sizeof(Elf64_Phdr);
      Elf64_Phdr segment;
      std::memcpy(&segment, at, sizeof segment);
      if (segment.p_type != type) continue;
      change(segment);
      std::memcpy(at, &segment, sizeof segment);
      return bytes;
    }
    ADD_FAILURE() << "no segment of type " << type;
    return bytes;
  }

  // The good plugin with a text of its note and its descriptor replaced by one as long.
  std::string with_note(const std::string& from, const std::string& to) const {
    EXPECT_EQ(from.size(), to.size());
    std::string bytes = whole_;
    int found = 0;
    for (size_t at = 0; (at = bytes.find(from, at)) != std::string::npos; ++found)
      bytes.replace(at, to.size(), to);
    EXPECT_GT(found, 0) << from;
    return bytes;
  }

  const std::string whole_;
  fs::path folder_, path_;
};

std::string header_damage(const std::string& what) {
  return "its ELF header is damaged (" + what + "); copy or build it again";
}

std::string other(const std::string& what, const std::string& theirs, const std::string& key) {
  return "it was built with " + what + " " + theirs + ", this program with " +
         Fingerprint(host_fingerprint()).get(key) + "; build the plugin again against this program";
}

TEST_F(ADamagedFile, ThatIsMissing) {
  EXPECT_EQ(refusal("/nowhere/x.so"),
            "there is no such file; build the plugin first, or correct the path");
}

TEST_F(ADamagedFile, ThatIsAFolder) { EXPECT_EQ(refusal(folder_), "it is not a regular file"); }

TEST_F(ADamagedFile, ThatIsAPipe) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(refusal(path_), "it is not a regular file");
}

TEST_F(ADamagedFile, ThatIsADevice) { EXPECT_EQ(refusal("/dev/zero"), "it is not a regular file"); }

TEST_F(ADamagedFile, ThatIsEmpty) { EXPECT_EQ(refusal_of(""), "it is no shared library"); }

TEST_F(ADamagedFile, ThatIsAText) {
  EXPECT_EQ(refusal_of("#!/bin/sh\n"), "it is no shared library");
}

TEST_F(ADamagedFile, ThatIsAProgram) {
  EXPECT_EQ(refusal_of(with_header([](Elf64_Ehdr& header) { header.e_type = ET_EXEC; })),
            "it is an ELF file, but no shared library");
}

TEST_F(ADamagedFile, OfAnotherMachine) {
  EXPECT_THAT(refusal_of(with_header([](Elf64_Ehdr& header) { header.e_machine = EM_RISCV; })),
              StartsWith("it is built for RISC-V, this machine is "));
}

TEST_F(ADamagedFile, CutAtEvery4KibOfIt) {
  for (size_t size = 0; size < whole_.size(); size += 4096) {
    const std::string reason = refusal_of(whole_.substr(0, size));
    EXPECT_THAT(reason, size == 0 ? StartsWith("it is no") : StartsWith("it is cut off: ")) << size;
  }
}

TEST_F(ADamagedFile, CutAnywhereElse) {
  for (size_t size = 4; size < whole_.size(); size += 1021)
    EXPECT_THAT(refusal_of(whole_.substr(0, size)), StartsWith("it is cut off: ")) << size;
}

// Twelve wrong headers, a message each.

TEST_F(ADamagedFile, WithA32BitClass) {
  EXPECT_EQ(refusal_of(with_header([](auto& header) { header.e_ident[EI_CLASS] = ELFCLASS32; })),
            "it is a 32-bit library; this program is 64-bit");
}

TEST_F(ADamagedFile, WithTheOtherOrderOfBytes) {
  EXPECT_EQ(refusal_of(with_header([](auto& header) { header.e_ident[EI_DATA] = ELFDATA2MSB; })),
            "it is a big-endian library");
}

TEST_F(ADamagedFile, WithAnUnknownVersion) {
  EXPECT_EQ(refusal_of(with_header([](auto& header) { header.e_version = 9; })),
            header_damage("its version is unknown"));
}

TEST_F(ADamagedFile, WithoutSegments) {
  EXPECT_EQ(refusal_of(with_header([](auto& header) { header.e_phnum = 0; })),
            header_damage("its table of segments"));
}

TEST_F(ADamagedFile, WithSegmentsBehindItsEnd) {
  EXPECT_EQ(refusal_of(with_header([](auto& header) { header.e_phoff = ~uint64_t{7}; })),
            "it is cut off: its table of segments lies outside the file; copy or build it again");
}

TEST_F(ADamagedFile, WithSectionsBehindItsEnd) {
  EXPECT_EQ(refusal_of(with_header([](auto& header) { header.e_shoff += 1 << 30; })),
            "it is cut off: its table of sections lies outside the file; copy or build it again");
}

TEST_F(ADamagedFile, WithMoreBytesInTheFileThanInMemory) {
  EXPECT_EQ(refusal_of(with_segment(PT_LOAD, [](auto& segment) { segment.p_memsz = 1; })),
            header_damage("a loaded segment has more bytes in the file than in memory"));
}

TEST_F(ADamagedFile, WithASegmentThatIsNotAligned) {
  EXPECT_EQ(refusal_of(with_segment(PT_LOAD, [](auto& segment) { segment.p_vaddr += 8; })),
            header_damage("a loaded segment is not aligned to pages"));
}

TEST_F(ADamagedFile, WithSegmentsThatOverlap) {
  EXPECT_EQ(refusal_of(with_segment(PT_LOAD, [](auto& segment) { segment.p_memsz += 1 << 20; })),
            header_damage("its loaded segments overlap"));
}

TEST_F(ADamagedFile, WithoutADynamicSegment) {
  EXPECT_EQ(refusal_of(with_segment(PT_DYNAMIC, [](auto& segment) { segment.p_type = PT_NULL; })),
            header_damage("it has no dynamic segment"));
}

TEST_F(ADamagedFile, WithADynamicSegmentElsewhere) {
  EXPECT_EQ(refusal_of(with_segment(PT_DYNAMIC, [](auto& segment) { segment.p_offset += 16; })),
            header_damage("the dynamic segment lies elsewhere in the file than in memory"));
}

TEST_F(ADamagedFile, WithAProtectedSegmentOverItsData) {
  EXPECT_EQ(
      refusal_of(with_segment(PT_GNU_RELRO, [](auto& segment) { segment.p_memsz += 1 << 16; })),
      header_damage("the protected segment covers .data"));
}

// Notes that say something else than this program.

TEST_F(ADamagedFile, OfAnotherLibTorch) {
  const std::string ours = Fingerprint(host_fingerprint()).get("torch");
  std::string theirs = ours;
  theirs.back() = 'x';
  EXPECT_EQ(refusal_of(with_note(";torch=" + ours, ";torch=" + theirs)),
            other("LibTorch", theirs, "torch"));
}

TEST_F(ADamagedFile, OfAnEarlierEcho) {
  const std::string ours = Fingerprint(host_fingerprint()).get("echo");
  const std::string theirs = std::string(ours.size() - 1, '0') + "1";
  EXPECT_EQ(refusal_of(with_note("echo=" + ours + ";", "echo=" + theirs + ";")),
            other("Echo's plugin interface", theirs, "echo"));
}

TEST_F(ADamagedFile, OfAnotherStandardLibrary) {
  EXPECT_EQ(refusal_of(with_note(";stdlib=libstdc++", ";stdlib=libc++abc")),
            other("the C++ standard library", "libc++abc", "stdlib"));
}

TEST_F(ADamagedFile, OfACudaThatThisProgramLacks) {
  EXPECT_EQ(refusal_of(with_note(";cuda=none", ";cuda=99.9")), other("CUDA", "99.9", "cuda"));
}

TEST_F(ADamagedFile, WithoutItsName) {
  EXPECT_EQ(refusal_of(with_note(";plugin=test", ";plug_n=test")),
            "its name '' must be letters, digits, '_', '-' and '.'; correct it in ECHO_PLUGIN");
}

TEST_F(ADamagedFile, WithoutItsVersion) {
  EXPECT_EQ(refusal_of(with_note(";version=0.1", ";versi_n=0.1")),
            "its note has no version; give ECHO_PLUGIN one, as in \"0.1\"");
}

TEST_F(ADamagedFile, ThatWasStrippedLoads) {
  fs::copy_file(plugin("good"), path_);
  if (std::system(("strip " + path_.string()).c_str()) != 0) GTEST_SKIP() << "no strip";
  EXPECT_EQ(refusal(path_), "");
}

// Changes one byte after the other of a copy and loads it, each in a process that may die; returns
// the offsets at which one did.
class ByteFlips {
 public:
  ByteFlips(std::string whole, fs::path folder)
      : whole_(std::move(whole)),
        folder_(std::move(folder)),
        at_(static_cast<size_t*>(::mmap(nullptr, sizeof(size_t), PROT_READ | PROT_WRITE,
                                        MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~ByteFlips() { ::munmap(at_, sizeof(size_t)); }
  ByteFlips(const ByteFlips&) = delete;
  ByteFlips& operator=(const ByteFlips&) = delete;

  std::vector<std::string> deaths(size_t begin, size_t end, unsigned char flip) {
    std::vector<std::string> found;
    *at_ = begin;
    while (*at_ < end) {
      const pid_t child = ::fork();
      if (child == 0) load_each(end, flip);
      int status = 0;
      ::waitpid(child, &status, 0);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
      found.push_back("byte " + std::to_string(*at_) + ": " +
                      (WIFSIGNALED(status) ? ::strsignal(WTERMSIG(status)) : "exit"));
      ++*at_;
    }
    return found;
  }

 private:
  [[noreturn]] void load_each(size_t end, unsigned char flip) {
    ::alarm(60);
    spdlog::set_level(spdlog::level::off);
    for (; *at_ < end; ++*at_) {
      // A file of its own: the loader knows files by their numbers.
      const fs::path file = folder_ / ("flip" + std::to_string(*at_) + ".so");
      std::string bytes = whole_;
      bytes[*at_] = static_cast<char>(static_cast<unsigned char>(bytes[*at_]) ^ flip);
      std::ofstream(file, std::ios::binary) << bytes;
      try {
        Plugins().load(file);
      } catch (const Error&) {
      }
      fs::remove(file);
    }
    std::_Exit(0);
  }

  std::string whole_;
  fs::path folder_;
  size_t* at_;
};

TEST_F(ADamagedFile, WithAnyByteOfItsHeadersFlippedEndsNoProcess) {
  Elf64_Ehdr header;
  std::memcpy(&header, whole_.data(), sizeof header);
  const size_t end = header.e_phoff + header.e_phnum * sizeof(Elf64_Phdr);
  ByteFlips flips(whole_, folder_);
  EXPECT_THAT(flips.deaths(0, end, 0x01), ::testing::IsEmpty());
  EXPECT_THAT(flips.deaths(0, end, 0x80), ::testing::IsEmpty());
}

}  // namespace
}  // namespace echo::bad_plugins
