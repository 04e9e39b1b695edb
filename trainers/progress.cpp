#include "trainers/progress.h"

#include "trainers/text.h"

#include <algorithm>
#include <cstdio>
#include <vector>

namespace echo {

namespace {

std::string joined(const std::vector<std::string>& parts, const char* separator) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : separator) + part;
  return text;
}

std::string rate_text(double rate) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1e", rate);
  return text;
}

}  // namespace

std::string progress_text(const ProgressFacts& facts, int64_t columns) {
  const auto room = static_cast<size_t>(std::max<int64_t>(columns, 0));
  const std::string step = std::to_string(facts.step) + "/" + std::to_string(facts.steps);
  const std::string loss = "loss " + (facts.loss ? number_text(*facts.loss) : std::string("-"));
  const std::string rate = rate_text(facts.learning_rate);
  const std::string speed = count_text(facts.tokens_per_second) + " tok/s";
  const std::string left = "ETA " + duration_text(facts.seconds_left);
  const std::vector<std::string> layouts = {
      joined({"step " + step, loss, "rate " + rate, speed, left}, "  "),
      joined({step, loss, "rate " + rate, speed, left}, " "),
      joined({step, loss, rate, speed, left}, " "),
      joined({step, loss, speed, left}, " "),
      joined({step, loss, left}, " "),
      joined({step, loss}, " "),
  };
  for (const std::string& layout : layouts) {
    if (layout.size() <= room) return layout;
  }
  return layouts.back().substr(0, room);
}

}  // namespace echo
