#include "cli/input.h"

#include <echo/error.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

namespace echo::cli {

std::string read_input(const std::string& file, const std::string& name) {
  std::ifstream opened;
  if (file != "-") {
    if (std::filesystem::is_directory(file))
      throw ConfigError(name + " is a folder; name a file in it");
    opened.open(file, std::ios::binary);
    if (!opened) throw ConfigError(name + " cannot be read: " + std::strerror(errno));
  }
  std::istream& stream = file == "-" ? std::cin : opened;
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

}  // namespace echo::cli
