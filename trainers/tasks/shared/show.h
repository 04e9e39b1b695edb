#pragma once

#include <string>
#include <string_view>

namespace echo {

// Bytes as text that a terminal can show: control characters as their pictures (a line's end as
// the picture and a line's end), bytes that are no UTF-8 as \x9f.
std::string visible_text(std::string_view bytes);

}  // namespace echo
