#pragma once

#include "trainers/bench/results.h"

#include <filesystem>

#include <nlohmann/json.hpp>

namespace echo {

// Writes report.html into the folder of a bench: the metric over slices or over a grid of numbers,
// over state bytes, and learning curves per seed, each with the command that repeats it. One file
// that needs no network. `threads`: of the cells.
void write_bench_report(const std::filesystem::path& folder, const Bench& bench,
                        const BenchResults& results, int64_t threads);

// The charts of that page, for page.js.
nlohmann::ordered_json bench_charts(const std::filesystem::path& folder, const Bench& bench,
                                    const BenchResults& results, int64_t threads);

// The command that runs a bench again and finds its cells finished.
std::string bench_command(const std::filesystem::path& folder, const Bench& bench, int64_t threads);

// The command that trains a cell alone, into another folder.
std::string cell_command(const CellResult& result, const std::string& name, int64_t threads);

}  // namespace echo
