#pragma once

#include <string>
#include <vector>

namespace echo {

// The candidate that a person who typed `word` most likely meant: few letters changed, added,
// dropped or swapped, whatever their case; a plugin's kind without its prefix ("based" for
// "example/based"); or an abbreviation ("attn"). Empty when none is near.
std::string near_name(const std::string& word, const std::vector<std::string>& candidates);

// "; did you mean 'heads'?", or nothing when none is near.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates);

// "; did you mean 'heads'? Known fields: heads, rank", or "; known fields: heads, rank" when none
// is near: the end of a message about an unknown word. what: "known fields".
std::string known_words(const std::string& word, const std::string& what,
                        const std::vector<std::string>& candidates);

// "a, b, c".
std::string join(const std::vector<std::string>& words, const std::string& separator = ", ");

}  // namespace echo
