#pragma once

#include <filesystem>

namespace echo {

// Writes report.html into a run folder, out of what lies there: metrics.jsonl, recipe.yaml,
// environment.json, and summary.json and sample.json where they exist. One file that needs no
// network: curves, scores, the recipe, the environment, the command that repeats the run. A run
// that is still going on, a last line that was cut off and values that are not finite are no
// obstacle. Throws Error when the folder cannot be read or the page cannot be written.
void write_report(const std::filesystem::path& run);

}  // namespace echo
