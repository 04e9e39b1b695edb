#pragma once

#include "cli/command.h"
#include "trainers/bench/run_bench.h"

namespace echo::cli {

// `eval --bench`: runs a bench, prints its table, and says where the report is.
int run_bench_command(Program& program, BenchRequest request, bool as_json);

// "2/3", the second of three parts, into shard and shards. Throws ConfigError.
void read_shard(const std::string& text, BenchRequest& request);

}  // namespace echo::cli
