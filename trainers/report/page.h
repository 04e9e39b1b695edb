#pragma once

#include <map>
#include <string>
#include <string_view>

namespace echo {

// The files beside this header and the chart library, which the build puts into the program.
extern const std::string_view kPageTemplate;  // page.html, with {{names}} to be filled in
extern const std::string_view kPageStyle;     // page.css
extern const std::string_view kPageScript;    // page.js
extern const std::string_view kChartLibrary;  // Chart.js

// Text as it stands in HTML, in attributes too.
std::string html(std::string_view text);

// JSON that may stand inside <script>.
std::string inside_script(std::string json);

// The template with every {{name}} replaced; what is put in is not looked through again.
std::string fill(std::string_view page, const std::map<std::string, std::string_view>& parts);

// The whole page: the template with these parts, its style, its script and the chart library.
std::string page(const std::map<std::string, std::string>& made);

}  // namespace echo
