#include "trainers/report/page.h"

#include <echo/error.h>

namespace echo {

std::string html(std::string_view text) {
  std::string escaped;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += letter;
    }
  }
  return escaped;
}

std::string inside_script(std::string json) {
  for (size_t at = 0; (at = json.find('<', at)) != std::string::npos;) {
    json.replace(at, 1, "\\u003c");
  }
  return json;
}

std::string fill(std::string_view page, const std::map<std::string, std::string_view>& parts) {
  std::string filled;
  while (true) {
    const size_t open = page.find("{{");
    filled += page.substr(0, open);
    if (open == std::string_view::npos) return filled;
    const size_t close = page.find("}}", open);
    ECHO_CHECK(close != std::string_view::npos);
    const auto part = parts.find(std::string(page.substr(open + 2, close - open - 2)));
    ECHO_CHECK(part != parts.end(), << page.substr(open, close - open));
    filled += part->second;
    page = page.substr(close + 2);
  }
}

std::string page(const std::map<std::string, std::string>& made) {
  std::map<std::string, std::string_view> parts(made.begin(), made.end());
  parts["style"] = kPageStyle;
  parts["library"] = kChartLibrary;
  parts["script"] = kPageScript;
  return fill(kPageTemplate, parts);
}

}  // namespace echo
