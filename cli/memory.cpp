#include "cli/command.h"
#include "cli/numbers.h"
#include "cli/table.h"
#include "framework/src/accounting/account.h"
#include "trainers/determinism.h"
#include "trainers/step_memory.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <iostream>
#include <unistd.h>

namespace echo::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostLines = 30;  // of a table, before blocks that are alike share lines

struct MemoryArguments {
  std::string recipe;
  std::optional<int64_t> context, batch, length, fit;
  bool measure = false;
  std::vector<std::string> set;
  int64_t threads = 0;
  bool as_json = false;
};

struct Fit {
  int64_t bytes = 0;
  int64_t batch = 0;   // at the workload's length; 0: none
  int64_t length = 0;  // at the workload's batch
};

// All that is known of a recipe's memory.
struct Findings {
  std::string name;
  std::string precision;
  std::string missing;  // of the task's data
  Workload workload;    // of a whole step
  Mesh mesh;
  Workload rank;  // of the one that is counted
  int64_t context = 0;
  std::vector<LayerAccount> layers;
  int64_t predicted_peak = 0;
  std::optional<int64_t> measured_peak;
  std::optional<Fit> fit;
};

void check_room(int64_t predicted) {
  const std::optional<int64_t> room = available_bytes();
  if (!room || predicted <= *room) return;
  throw Error("--measure: the step takes about " + bytes_text(predicted) +
              ", and this machine has " + bytes_text(*room) +
              " to give; take a smaller --batch, or leave --measure out");
}

void check_mesh(const Mesh& mesh, const Workload& step) {
  if (const auto reason = obstacle(mesh, step.batch, step.length)) {
    throw ConfigError("the section parallel of the recipe shares out a step to " + mesh.text() +
                      " ranks, and " + *reason +
                      "; change it with --set parallel.data=… and --set parallel.sequence=…");
  }
}

Findings find(Program& program, const MemoryArguments& arguments) {
  std::vector<std::string> set = arguments.set;
  if (arguments.batch) set.push_back("train.batch=" + std::to_string(*arguments.batch));
  const Recipe recipe = program.recipe(arguments.recipe, set);
  const Registry& registry = program.plugins().registry();
  TaskWorkload task = task_workload(recipe, registry);
  if (arguments.length) {
    task.workload.length = *arguments.length;
    task.scored.clear();
  }
  const Mesh mesh = mesh_of(recipe);
  check_mesh(mesh, task.workload);
  task.workload.varies = arguments.fit.has_value();
  if (arguments.measure && !task.missing.empty()) throw ConfigError(task.missing);

  const Workload rank = task.of_rank(mesh);
  const Account account(recipe, registry, rank);
  Findings found{
      .name = recipe.name,
      .precision = recipe.train.precision == Precision::bfloat16 ? "bfloat16" : "float32",
      .missing = task.missing,
      .workload = task.workload,
      .mesh = mesh,
      .rank = rank,
      .context = arguments.context.value_or(task.workload.length)};
  found.layers = account.layers(found.context);
  found.predicted_peak = account.peak();
  if (arguments.measure) {
    check_room(found.predicted_peak);
    found.measured_peak = measured_peak(recipe, registry, mesh);
  }
  if (arguments.fit) {
    found.fit = {*arguments.fit, account.largest_batch(*arguments.fit) * mesh.data,
                 account.largest_length(*arguments.fit) * mesh.sequence};
  }
  return found;
}

void add_bytes(Json& object, const LayerAccount& layer) {
  object["parameter_bytes"] = layer.parameters;
  object["gradient_bytes"] = layer.gradients;
  object["bucket_bytes"] = layer.buckets;
  object["optimizer_bytes"] = layer.optimizer;
  object["activation_bytes"] = layer.activations;
  object["state_bytes"] = layer.state;
  object["kv_cache_bytes"] = layer.kv_cache;
}

Json json_of(const Findings& found) {
  Json json = {{"recipe", found.name},
               {"batch", found.workload.batch},
               {"batch_of_a_part", found.rank.rows()},
               {"length", found.workload.length},
               {"ranks", found.mesh.ranks()},
               {"data", found.mesh.data},
               {"sequence", found.mesh.sequence},
               {"zero", found.mesh.zero},
               {"rank_batch", found.rank.batch},
               {"rank_length", found.rank.length},
               {"scored", found.workload.scored},
               {"context", found.context},
               {"precision", found.precision},
               {"layers", Json::array()}};
  for (const LayerAccount& layer : found.layers) {
    Json object = {{"name", layer.name}, {"kind", layer.kind}};
    add_bytes(object, layer);
    json["layers"].push_back(std::move(object));
  }
  Json total = Json::object();
  add_bytes(total, sum(found.layers));
  total["predicted_peak_bytes"] = found.predicted_peak;
  total["measured_peak_bytes"] = found.measured_peak ? Json(*found.measured_peak) : Json(nullptr);
  json["total"] = std::move(total);
  if (found.fit) {
    json["fit"] = {{"bytes", found.fit->bytes},
                   {"largest_batch", found.fit->batch},
                   {"largest_length", found.fit->length}};
  }
  return json;
}

bool alike(const LayerAccount& a, const LayerAccount& b) {
  return a.kind == b.kind && a.parameters == b.parameters && a.optimizer == b.optimizer &&
         a.activations == b.activations && a.state == b.state;
}

// "blocks.3.1" is the branch 1 of the block 3.
struct Block {
  int64_t first = 0, last = 0;  // blocks that are alike
  std::vector<LayerAccount> branches;
};

int64_t block_of(const LayerAccount& layer) {
  return std::stoll(layer.name.substr(std::string("blocks.").size()));
}

std::vector<Block> blocks_of(const std::vector<LayerAccount>& layers) {
  std::vector<Block> blocks;
  for (const LayerAccount& layer : layers) {
    if (!layer.name.starts_with("blocks.")) continue;
    const int64_t index = block_of(layer);
    if (blocks.empty() || blocks.back().first != index) blocks.push_back({index, index, {}});
    blocks.back().branches.push_back(layer);
  }
  return blocks;
}

std::vector<Block> folded(const std::vector<Block>& blocks) {
  std::vector<Block> lines;
  for (const Block& block : blocks) {
    const bool same =
        !lines.empty() && std::equal(lines.back().branches.begin(), lines.back().branches.end(),
                                     block.branches.begin(), block.branches.end(), alike);
    if (same) {
      lines.back().last = block.last;
    } else {
      lines.push_back(block);
    }
  }
  return lines;
}

LayerAccount times(const LayerAccount& layer, int64_t count) {
  return sum(std::vector<LayerAccount>(static_cast<size_t>(count), layer));
}

// A table that is too long to read gets one line for blocks in a row that are alike: their sum.
std::vector<LayerAccount> lines_of(const std::vector<LayerAccount>& layers) {
  if (layers.size() <= kMostLines) return layers;
  std::vector<LayerAccount> lines = {layers.front()};
  for (const Block& block : folded(blocks_of(layers))) {
    const int64_t count = block.last - block.first + 1;
    for (size_t i = 0; i < block.branches.size(); ++i) {
      LayerAccount line = times(block.branches[i], count);
      line.name = block.branches[i].name;
      line.kind = block.branches[i].kind;
      if (count > 1) {
        line.name = "blocks." + std::to_string(block.first) + ".." + std::to_string(block.last) +
                    "." + std::to_string(i);
        line.kind = std::to_string(count) + " x " + line.kind;
      }
      lines.push_back(std::move(line));
    }
  }
  lines.insert(lines.end(), layers.end() - 2, layers.end());  // final norm and head
  return lines;
}

// "; of one of 8 ranks: 4 x 2, ZeRO-1, with 2 samples of 512 tokens"
std::string share_text(const Findings& found) {
  if (found.mesh.ranks() == 1) return "";
  std::string text = "; of one of " + count(found.mesh.ranks()).text +
                     " ranks: " + found.mesh.text() + ", with " + count(found.rank.batch).text +
                     (found.rank.batch == 1 ? " sample" : " samples");
  if (found.rank.accumulates()) text += " in parts of " + count(found.rank.rows()).text;
  return text + " of " + count(found.rank.length).text + " tokens";
}

std::string assumptions(const Findings& found) {
  const Workload& workload = found.workload;
  std::string text = found.name + ": a step of " + count(workload.batch).text +
                     (workload.batch == 1 ? " sample" : " samples");
  if (workload.accumulates() && found.mesh.ranks() == 1)
    text += " in parts of " + count(workload.rows()).text;
  text += " of " + count(workload.length).text + " tokens, " +
          number(100 * workload.scored, 3).text + " % of them scored, " + found.precision +
          share_text(found) + "; state and KV cache of one sequence after " +
          count(found.context).text + " tokens";
  if (!found.missing.empty()) text += ". The task's data cannot be read: " + found.missing;
  return text;
}

void print_fit(const Findings& found, const Terminal& terminal) {
  const Fit& fit = *found.fit;
  const std::string size = bytes_text(fit.bytes);
  std::string text = size;
  if (fit.batch == 0 && fit.length == 0) {
    text += " does not hold one sample of " + count(found.workload.length).text +
            " tokens, nor one token at batch " + count(found.workload.batch).text;
  } else {
    text += " holds a batch of " + count(fit.batch).text + " at length " +
            count(found.workload.length).text + ", or a length of " + count(fit.length).text +
            " at batch " + count(found.workload.batch).text;
  }
  std::cout << wrap(text, terminal.width, 2) << "\n";
}

std::string ratio_text(double ratio) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", ratio);
  return text;
}

void print(const Findings& found) {
  const Terminal terminal = look_at(STDOUT_FILENO);
  std::cout << wrap(assumptions(found), terminal.width, 2) << "\n\n";
  std::vector<std::string> columns = {"layer",     "kind",        "parameters", "gradients",
                                      "optimizer", "activations", "state",      "kv_cache"};
  const bool has_buckets = found.mesh.ranks() > 1;
  if (has_buckets) columns.insert(columns.begin() + 4, "buckets");
  Table table(columns);
  std::vector<LayerAccount> lines = lines_of(found.layers);
  lines.push_back(sum(found.layers));
  for (const LayerAccount& line : lines) {
    std::vector<Cell> cells = {word(line.name),        word(line.kind),
                               bytes(line.parameters), bytes(line.gradients),
                               bytes(line.optimizer),  bytes(line.activations),
                               bytes(line.state),      bytes(line.kv_cache)};
    if (has_buckets) cells.insert(cells.begin() + 4, bytes(line.buckets));
    table.add(std::move(cells));
  }
  std::cout << table.text(terminal) << "\n";
  if (found.fit) print_fit(found, terminal);
  std::string last = "predicted peak of a step: " + bytes_text(found.predicted_peak);
  if (found.measured_peak) {
    const double ratio =
        static_cast<double>(found.predicted_peak) / static_cast<double>(*found.measured_peak);
    last += ", measured: " + bytes_text(*found.measured_peak) +
            " (predicted / measured = " + ratio_text(ratio) + ")";
  }
  std::cout << wrap(last, terminal.width, 2) << "\n";
}

int run(Program& program, const MemoryArguments& arguments) {
  if (arguments.recipe.empty()) {
    throw ConfigError("memory needs a RECIPE, as in `" + program_name() +
                      " memory recipes/quickstart.yaml`");
  }
  if (arguments.measure && arguments.length) {
    throw ConfigError(
        "--measure runs on the task's own samples, so --length cannot change them; set the task's "
        "length instead, as in --set task.length=" +
        std::to_string(*arguments.length));
  }
  use_deterministic_threads(arguments.threads);
  const Findings found = find(program, arguments);
  if (arguments.as_json) {
    std::cout << json_of(found).dump(2) << "\n";
  } else {
    print(found);
  }
  return kDone;
}

}  // namespace

void add_memory(Program& program) {
  auto arguments = std::make_shared<MemoryArguments>();
  Command& command = program.command("Train and score", "memory",
                                     "the memory that a recipe takes, layer by layer");
  command.argument("RECIPE", arguments->recipe, "whose memory to count, or a run folder");
  command
      .option("--context", arguments->context, "N",
              "tokens that decoding has read, for state and KV cache (the length)")
      ->transform(whole_number(1, int64_t{1} << 40));
  command.option("--batch", arguments->batch, "N", "samples of a step (train.batch)")
      ->transform(whole_number(1, int64_t{1} << 31));
  command.option("--length", arguments->length, "N", "tokens of a sample (the task's)")
      ->transform(whole_number(1, int64_t{1} << 40));
  command.flag("--measure", arguments->measure,
               "run two steps of the training, too, and show the peak of the second");
  command
      .option("--fit", arguments->fit, "SIZE",
              "the largest batch and length whose step takes no more: 24GiB, 80GB, 512MiB")
      ->transform(size_in_bytes());
  command.add_overrides(arguments->set);
  command.add_threads(arguments->threads);
  command.add_json(arguments->as_json);
  command.example("memory recipes/mqar/ska.yaml", "parameters to decode state, layer by layer");
  command.example("memory recipes/mqar/ska.yaml --context 131072",
                  "the state beside a KV cache of 131,072 tokens");
  command.example("memory recipes/mqar/ska.yaml --measure --set task.length=512",
                  "the prediction beside a real step");
  command.example("memory recipes/lm/echo-180m.yaml --fit 24GiB", "what a device holds");
  command.example("memory a.yaml --set parallel.data=4 --set parallel.zero=1", "one of four ranks");
  command.notes =
      "The model is never made, but with --measure: parameters and states are counted from their "
      "shapes, and each distinct layer runs forward and backward at a few small sizes, from which "
      "its activations are extrapolated. Counted is what tensors hold; libraries below them may "
      "take more, and the samples themselves are left out.\n\n"
      "Activations are what the forward pass keeps for the backward pass. The state is what one "
      "sequence keeps between two tokens, and the KV cache what attention would keep in the same "
      "place.\n\n"
      "With a section parallel in the recipe it is one rank that is counted, the one with the "
      "most: "
      "its rows and tokens, the buckets in which gradients travel, and with zero 1 the optimizer's "
      "state of its own parameters.";
  command.run = [&program, arguments] { return run(program, *arguments); };
}

}  // namespace echo::cli
