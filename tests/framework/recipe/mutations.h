#pragma once

#include <random>
#include <string>
#include <vector>

namespace echo::toy {

// Texts that are almost recipes: pieces removed, doubled, swapped or replaced by what often goes
// wrong. The same seed gives the same texts.
class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {}

  std::string mutate(std::string text) {
    for (size_t changes = 1 + below(3); changes > 0; --changes) text = change(std::move(text));
    return text;
  }

 private:
  size_t below(size_t limit) { return static_cast<size_t>(random_() % limit); }

  const std::string& piece() {
    static const std::vector<std::string> pieces = {
        "-1",    "0",        "1e999", "9223372036854775808",
        ".nan",  "null",     "~",     "true",
        "[",     "]",        "{",     "}",
        ": ",    ",",        "\n",    "\t",
        "- ",    "'",        "\"",    "#",
        "&a ",   "*a",       "!!s ",  "|\n",
        "<<: ",  "? ",       "---\n", "...\n",
        "kind",  "repeat: ", "[[]]",  "{}",
        "\xC3",  "\xE9",     "\\",    "%",
        "@",     "0.5",      "1e18",  "extends: x\n",
        "block", "mixer:",   "  ",    "\r",
        "1.e-3", "0x7f",     "-.5",   "4096"};
    return pieces[below(pieces.size())];
  }

  // A word or a run of other characters.
  std::pair<size_t, size_t> token(const std::string& text) {
    size_t begin = below(text.size());
    const auto is_word = [&](size_t i) {
      return std::isalnum(static_cast<unsigned char>(text[i])) || text[i] == '_';
    };
    const bool word = is_word(begin);
    while (begin > 0 && word && is_word(begin - 1)) --begin;
    size_t end = begin + 1;
    while (end < text.size() && word && is_word(end)) ++end;
    return {begin, end - begin};
  }

  std::string change(std::string text) {
    if (text.empty()) return piece();
    const auto [at, size] = token(text);
    switch (below(6)) {
      case 0:
        return text.erase(at, size);
      case 1:
        return text.replace(at, size, piece());
      case 2:
        return text.insert(at, piece());
      case 3: {  // another token of the same text
        const auto [from, count] = token(text);
        return text.replace(at, size, text.substr(from, count));
      }
      case 4: {  // a line twice
        const size_t begin = text.rfind('\n', at) + 1;
        const size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
        return begin < end ? text.insert(begin, text.substr(begin, end - begin)) : text;
      }
      default:
        text[at] = static_cast<char>(below(256));
        return text;
    }
  }

  std::mt19937_64 random_;
};

}  // namespace echo::toy
