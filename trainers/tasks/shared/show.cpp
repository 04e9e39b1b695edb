#include "trainers/tasks/shared/show.h"

#include <cstdint>

namespace echo {

namespace {

// Bytes of the UTF-8 character at the start of `bytes`; 0: there is none.
size_t character_size(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t size = first >= 0xc2 && first < 0xe0   ? 2
                      : first >= 0xe0 && first < 0xf0 ? 3
                      : first >= 0xf0 && first < 0xf5 ? 4
                                                      : 0;
  if (size == 0 || size > bytes.size()) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const uint8_t second = byte(1);
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool outside = (first == 0xed && second >= 0xa0) || (first == 0xf4 && second >= 0x90);
  return overlong || outside ? 0 : size;
}

std::string escaped(std::string_view bytes) {
  static const char* digits = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    const auto value = static_cast<uint8_t>(byte);
    text += {'\\', 'x', digits[value >> 4], digits[value & 15]};
  }
  return text;
}

// U+2400 and on: the pictures of the control characters.
std::string picture(uint8_t control) {
  return {'\xe2', '\x90', static_cast<char>(0x80 + (control == 0x7f ? 0x21 : control))};
}

}  // namespace

std::string visible_text(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const uint8_t first = static_cast<uint8_t>(bytes[0]);
    const size_t size = character_size(bytes);
    const std::string_view character = bytes.substr(0, size > 0 ? size : 1);
    if (size == 0 || (first == 0xc2 && static_cast<uint8_t>(bytes[1]) < 0xa0)) {
      text += escaped(character);  // no UTF-8, or a control character of two bytes
    } else if (first < 0x20 || first == 0x7f) {
      text += picture(first);
      if (first == '\n') text += '\n';
    } else {
      text += character;
    }
    bytes.remove_prefix(character.size());
  }
  return text;
}

}  // namespace echo
