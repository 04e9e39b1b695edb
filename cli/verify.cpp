#include "cli/verify.h"

#include "cli/table.h"
#include "framework/src/testing/verify.h"
#include "framework/src/text/terminal.h"

#include <echo/error.h>

#include <cmath>
#include <iostream>
#include <unistd.h>

namespace echo::cli {

namespace {

using testing::Comparison;
using testing::Golden;
using testing::Verification;
using Json = nlohmann::ordered_json;

Cell ratio(const std::optional<double>& value) {
  if (!value) return nothing();
  if (!std::isfinite(*value)) return {nullptr, "no ratio"};
  char text[32];
  std::snprintf(text, sizeof text, "%.1e", *value);
  return {*value, text};
}

Table table_of(const Verification& verification) {
  Table table({"tensor", "way", "float64", "float32", "verdict"});
  for (const Comparison& row : verification.comparisons) {
    table.add({word(row.tensor), word(row.way), ratio(row.float64), ratio(row.float32),
               word(row.passed ? "ok" : "FAILS")});
  }
  return table;
}

std::string ratios_text(double float64, double float32) {
  return ratio(float64).text + " / " + ratio(float32).text;
}

// "allowed: y and states 1.0e-06 / 1.0e-05, gradients 1.0e-06 / 1.0e-04"
std::string allowed_text(const Verification& verification) {
  const testing::Allowed& a = verification.float64;
  const testing::Allowed& b = verification.float32;
  const bool same = a.output == a.state && b.output == b.state;
  std::string text = "allowed in float64 / float32: ";
  text += same ? "y and states " : "y ";
  text += ratios_text(a.output, b.output);
  if (!same) text += ", states " + ratios_text(a.state, b.state);
  return text + ", gradients " + ratios_text(a.gradient, b.gradient);
}

std::string level_name(Golden::Level level) {
  return level == Golden::Level::layer ? "layer" : "block";
}

void print(const Golden& golden, const Verification& verification) {
  const Terminal terminal = look_at(STDOUT_FILENO);
  const bool passed = verification.passed();
  std::cout << styled(terminal, Style::bold, golden.path.filename().string()) << "\n"
            << verification.kind << ", " << level_name(golden.level) << ", x "
            << testing::shape_text(golden.tensors.at("x").sizes()) << "\n";
  if (!verification.comparisons.empty()) std::cout << table_of(verification).text(terminal);
  const auto paragraph = [&](const std::string& text) {
    std::cout << wrap(text, terminal.width, 2) << "\n";
  };
  for (const Comparison& row : verification.comparisons) {
    const std::string what = row.tensor + ", " + row.way + ": ";
    if (!row.worst.empty()) paragraph(what + "worst " + row.worst);
    if (!row.problem.empty()) paragraph(what + "no ratio, as " + row.problem);
  }
  paragraph(allowed_text(verification));
  if (!golden.tolerance.empty()) paragraph("the file was checked with " + golden.tolerance);
  for (const std::string& note : verification.notes) paragraph(note);
  if (!verification.failure.empty()) paragraph(verification.failure);
  std::cout << styled(terminal, passed ? Style::green : Style::red, passed ? "passes" : "FAILS")
            << "\n";
}

Json json_of(const Golden& golden, const Verification& verification) {
  const auto allowed = [](const testing::Allowed& ratios) {
    return Json{{"output", ratios.output}, {"state", ratios.state}, {"gradient", ratios.gradient}};
  };
  Json rows = Json::array();
  for (const Comparison& row : verification.comparisons) {
    rows.push_back({{"tensor", row.tensor},
                    {"way", row.way},
                    {"float64", ratio(row.float64).value},
                    {"float32", ratio(row.float32).value},
                    {"passed", row.passed}});
    if (!row.worst.empty()) rows.back()["worst"] = row.worst;
    if (!row.problem.empty()) rows.back()["problem"] = row.problem;
  }
  return {
      {"file", golden.path.string()},
      {"mixer", verification.kind},
      {"level", level_name(golden.level)},
      {"passed", verification.passed()},
      {"allowed",
       {{"float64", allowed(verification.float64)}, {"float32", allowed(verification.float32)}}},
      {"comparisons", rows},
      {"notes", verification.notes},
      {"failure", verification.failure.empty() ? Json(nullptr) : Json(verification.failure)}};
}

}  // namespace

int verify_files(Program& program, const VerifyArguments& arguments) {
  const Registry& registry = program.plugins().registry();
  Json all = Json::array();
  std::vector<std::string> mistakes;
  int64_t passed = 0;
  int64_t failed = 0;
  for (const std::string& file : arguments.files) {
    try {
      const Golden golden = testing::read_golden(file);
      const Verification verification = testing::verify(golden, registry, arguments.mixer);
      (verification.passed() ? passed : failed) += 1;
      if (arguments.as_json) {
        all.push_back(json_of(golden, verification));
        continue;
      }
      if (passed + failed > 1) std::cout << "\n";
      print(golden, verification);
    } catch (const ConfigError& mistake) {
      mistakes.emplace_back(mistake.what());
    }
  }
  if (arguments.as_json) std::cout << all.dump(2) << "\n";
  if (!arguments.as_json && passed + failed > 1) {
    std::cout << "\n" << passed << " of " << passed + failed << " files pass\n";
  }
  if (mistakes.empty()) return failed > 0 ? kFailed : kDone;
  // The last one leaves as an error does; those before it are said here.
  std::cout.flush();
  const Terminal terminal = look_at(STDERR_FILENO);
  for (size_t i = 0; i + 1 < mistakes.size(); ++i) {
    const std::string text = "echo: error: " + mistakes[i];
    std::cerr << wrap(text, terminal.interactive ? terminal.width : 0, 2) << "\n";
  }
  throw ConfigError(mistakes.back());
}

}  // namespace echo::cli
