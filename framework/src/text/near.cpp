#include "framework/src/text/near.h"

#include <algorithm>
#include <cctype>

namespace echo {

namespace {

constexpr size_t kLongestWord = 64;  // longer ones are no typing mistakes, and cost time

std::string lower(std::string word) {
  for (char& letter : word)
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return word;
}

// Letters to change, add, drop, or swap with their neighbour (optimal string alignment).
size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({change, cost[i - 1][j] + 1, cost[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

// "attn" for "attention", "bf16" for "bfloat16": the same first letter, the others in order.
bool abbreviates(const std::string& word, const std::string& name) {
  if (word.size() < 3 || word[0] != name[0]) return false;
  size_t found = 0;
  for (const char letter : name) found += found < word.size() && word[found] == letter ? 1 : 0;
  return found == word.size();
}

// The one candidate that begins with what was typed, as --temp does for --temperature; else empty.
std::string only_completion(const std::string& typed, const std::vector<std::string>& candidates) {
  const size_t letters = typed.size() - std::min(typed.find_first_not_of('-'), typed.size());
  std::string found;
  for (const std::string& candidate : candidates) {
    if (letters < 3 || !lower(candidate).starts_with(typed)) continue;
    if (!found.empty()) return "";
    found = candidate;
  }
  return found;
}

}  // namespace

std::string near_name(const std::string& word, const std::vector<std::string>& candidates) {
  if (word.empty() || word.size() > kLongestWord) return "";
  const std::string typed = lower(word);
  const std::string completed = only_completion(typed, candidates);
  if (!completed.empty()) return completed;
  std::string nearest;
  size_t least = std::max<size_t>(1, typed.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kLongestWord) continue;
    const std::string name = lower(candidate);
    const size_t steps = name.ends_with("/" + typed) ? 0 : distance(typed, name);
    if (steps < least && steps < name.size()) {
      least = steps;
      nearest = candidate;
    }
  }
  if (!nearest.empty()) return nearest;
  for (const std::string& candidate : candidates) {
    if (!candidate.empty() && abbreviates(typed, lower(candidate))) return candidate;
  }
  return "";
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string name = near_name(word, candidates);
  return name.empty() ? "" : "; did you mean '" + name + "'?";
}

std::string known_words(const std::string& word, const std::string& what,
                        const std::vector<std::string>& candidates) {
  const std::string near = did_you_mean(word, candidates);
  std::string title = what;
  if (!near.empty())
    title[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(title[0])));
  return (near.empty() ? "; " : near + " ") + title + ": " + join(candidates);
}

std::string join(const std::vector<std::string>& words, const std::string& separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

}  // namespace echo
