#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace echo {

// Words in lines of at most `width` columns, the second and later ones indented by `indent`.
std::string wrap_words(const std::vector<std::string>& words, size_t width = 78, size_t indent = 0);

// Bytes as text that a terminal can show: control characters as their pictures (a line's end as
// the picture and a line's end), bytes that are no UTF-8 as \x9f.
std::string visible_text(std::string_view bytes);

}  // namespace echo
