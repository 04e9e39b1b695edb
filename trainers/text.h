#pragma once

#include <cstdint>
#include <string>

namespace echo {

// Numbers as a person reads them.
std::string duration_text(double seconds);  // "0:07", "12:05", "3h20m", "2d04h", "> 1 year"
std::string count_text(double count);       // "950", "12.3k", "1.5M"
std::string bytes_text(int64_t bytes);      // "512 bytes", "1.5 MiB"
std::string number_text(double value);      // four significant digits: "0.01234", "2.9e-05"

// What the program is called by the person who runs it: ECHO_COMMAND, which ./echo and the shell
// function set ("./echo", "echo"), else "echo-lm".
std::string program_name();

// A word of a command line that can be copied into a shell: quoted where it has to be.
std::string shell_word(const std::string& word);

}  // namespace echo
