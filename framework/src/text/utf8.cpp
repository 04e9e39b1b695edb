#include "framework/src/text/utf8.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace echo {

namespace {

const char* const kReplacement = "\xef\xbf\xbd";  // U+FFFD

struct Range {
  uint8_t low;
  uint8_t high;
};

// What the second byte may be after a first one; the standard's table 3-7.
Range second_byte(uint8_t first) {
  switch (first) {
    case 0xe0:
      return {0xa0, 0xbf};
    case 0xed:
      return {0x80, 0x9f};
    case 0xf0:
      return {0x90, 0xbf};
    case 0xf4:
      return {0x80, 0x8f};
    default:
      return {0x80, 0xbf};
  }
}

size_t wanted_size(uint8_t first) {
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  if (first < 0xe0) return 2;
  if (first < 0xf0) return 3;
  return first < 0xf5 ? 4 : 0;
}

// How many bytes at the start belong together, and whether they are a character.
struct Start {
  size_t size;
  enum { whole, cut_off, wrong } kind;
};

Start look(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  const size_t wanted = wanted_size(byte(0));
  if (wanted == 0) return {1, Start::wrong};
  for (size_t i = 1; i < wanted; ++i) {
    if (i == bytes.size()) return {i, Start::cut_off};
    const Range range = i == 1 ? second_byte(byte(0)) : Range{0x80, 0xbf};
    if (byte(i) < range.low || byte(i) > range.high) return {i, Start::wrong};
  }
  return {wanted, Start::whole};
}

}  // namespace

std::string Utf8Stream::push(std::string_view bytes) {
  held_ += bytes;
  std::string text;
  std::string_view rest = held_;
  while (!rest.empty()) {
    const Start start = look(rest);
    if (start.kind == Start::cut_off) break;
    text += start.kind == Start::whole ? rest.substr(0, start.size) : kReplacement;
    rest.remove_prefix(start.size);
  }
  held_ = std::string(rest);
  return text;
}

std::string Utf8Stream::finish() {
  const bool empty = held_.empty();
  held_.clear();
  return empty ? "" : kReplacement;
}

std::string harmless(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const bool second_half = byte == 0xc2 && i + 1 < text.size() &&
                             static_cast<uint8_t>(text[i + 1]) < 0xa0;  // U+0080 to U+009F
    const bool control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f;
    if (!control && !second_half) {
      result += text[i];
      continue;
    }
    if (second_half) ++i;
    char code[8];
    std::snprintf(code, sizeof code, "\\x%02x", static_cast<uint8_t>(text[i]));
    result += code;
  }
  return result;
}

}  // namespace echo
