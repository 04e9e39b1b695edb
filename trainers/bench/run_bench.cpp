#include "trainers/bench/run_bench.h"

#include "framework/src/files/file.h"
#include "trainers/bench/bench_report.h"
#include "trainers/bench/children.h"
#include "trainers/determinism.h"
#include "trainers/device.h"
#include "trainers/run_folder.h"
#include "trainers/stop_signal.h"
#include "trainers/text.h"

#include <echo/error.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <fstream>
#include <set>
#include <thread>
#include <unistd.h>

namespace echo {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

// The last step that a run wrote down.
int64_t step_of(const fs::path& run) {
  constexpr std::streamoff kTail = 4096;
  std::ifstream file(run / "metrics.jsonl", std::ios::binary | std::ios::ate);
  if (!file) return 0;
  const std::streamoff size = file.tellg();
  file.seekg(std::max<std::streamoff>(0, size - kTail));
  std::string text(static_cast<size_t>(std::min(size, kTail)), '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  const std::string mark = "\"step\":";
  const size_t begin = text.rfind(mark);
  return begin == std::string::npos ? 0 : std::atoll(text.c_str() + begin + mark.size());
}

std::string score_text(const std::string& metric, const std::optional<double>& score) {
  return score ? metric + " " + number_text(*score) : "no held-out split";
}

class Runner {
 public:
  Runner(const BenchRequest& request, Plugins& plugins, Console& console)
      : request_(request), console_(console) {
    parse_device(request.device);
    outcome_.bench = read_bench(find_bench(request.bench), request.quick, request.overrides);
    outcome_.folder = request.out.empty() ? default_folder() : request.out;
    use_deterministic_threads(request.threads);
    console.wait();
    plan(plugins);
    prepare_folder();
  }

  BenchOutcome run() {
    for (size_t i = 0; i < cells_.size(); ++i) take_if_finished(i);
    for (size_t group = 0; group < outcome_.results.groups.size(); ++group) choose(group);
    say_what_is_left();
    const StopSignal stop;
    Children children(outcome_.folder / "cells", options());
    began_ = Clock::now();
    while (true) {
      if (stop.requested()) {
        outcome_.stopped = true;
        children.stop();
      } else {
        start(children);
      }
      while (const auto end = children.ended()) settle(*end);
      if (children.running() == 0 && (outcome_.stopped || queue_.empty())) break;
      show_progress(children);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    console_.finish();
    write();
    write_bench_report(outcome_.folder, outcome_.bench, outcome_.results, request_.threads);
    return std::move(outcome_);
  }

 private:
  enum class Stage { waiting, queued, running, finished, failed };

  // What a cell is for: a seed of the report, or a rate that is tried.
  struct Work {
    Cell cell;
    size_t group = 0;
    std::optional<size_t> tried;       // index of the rate
    std::optional<size_t> tried_seed;  // and of its seed
    Stage stage = Stage::waiting;
  };

  const Bench& bench() const { return outcome_.bench; }
  Group& group_of(const Work& work) { return outcome_.results.groups[work.group]; }

  fs::path default_folder() const {
    return fs::path("runs") / "bench" / (bench().name + (bench().quick ? "-quick" : ""));
  }

  fs::path run_of(const Cell& cell) const { return outcome_.folder / "cells" / cell.key; }

  std::vector<std::string> options() const {
    std::vector<std::string> words = {"--threads", std::to_string(request_.threads), "--device",
                                      request_.device};
    for (const std::string& plugin : request_.plugins) {
      words.emplace_back("--plugin");
      words.push_back(plugin);
    }
    return words;
  }

  // Every cell's recipe is read before the first is trained.
  void plan(Plugins& plugins) {
    maker_.emplace(bench(), plugins);
    const std::vector<Combination> all = combinations(bench());
    for (size_t i = 0; i < all.size(); ++i) {
      if (static_cast<int64_t>(i) % request_.shards != request_.shard) continue;
      Group group{.combination = all[i]};
      const size_t index = outcome_.results.groups.size();
      const std::vector<double>& rates = bench().rates;
      if (rates.size() == 1) group.rate = rates.front();
      if (rates.size() > 1) {
        for (size_t rate = 0; rate < rates.size(); ++rate) {
          group.tried.push_back({rates[rate], {}});
          group.tried.back().results.resize(bench().rate_seeds.size());
          for (size_t seed = 0; seed < bench().rate_seeds.size(); ++seed) {
            cells_.push_back(
                {maker_->make(all[i], rates[rate], bench().rate_seeds[seed]), index, rate, seed});
          }
        }
      } else {
        for (const int64_t seed : bench().seeds)
          cells_.push_back({maker_->make(all[i], group.rate, seed), index});
      }
      outcome_.results.groups.push_back(std::move(group));
      console_.progress([&](int64_t) {
        return "reading " + std::to_string(i + 1) + " of " + std::to_string(all.size()) +
               " arms and grid points";
      });
    }
    const auto per_group = static_cast<int64_t>(
        bench().seeds.size() +
        (bench().rates.size() > 1 ? bench().rates.size() * bench().rate_seeds.size() : 0));
    outcome_.results.cells = static_cast<int64_t>(outcome_.results.groups.size()) * per_group;
  }

  void prepare_folder() {
    const fs::path& folder = outcome_.folder;
    if (fs::exists(folder / "recipe.yaml")) {
      throw ConfigError(folder.string() +
                        " is the folder of a run; choose another one for the bench with --out");
    }
    std::error_code failure;
    fs::create_directories(folder / "cells", failure);
    if (failure || ::access((folder / "cells").c_str(), W_OK | X_OK) != 0) {
      throw Error("cannot write into " + folder.string() +
                  (failure ? ": " + failure.message() : std::string(": permission denied")) +
                  "; choose another folder with --out");
    }
  }

  bool take_if_finished(size_t index) {
    Work& work = cells_[index];
    std::optional<CellResult> result = read_cell(run_of(work.cell));
    if (!result) return false;
    result->task = task_kind(work.cell);
    work.stage = Stage::finished;
    ++outcome_.results.finished;
    Group& group = group_of(work);
    if (work.tried) {
      group.tried[*work.tried].results[*work.tried_seed] = std::move(result);
    } else {
      group.by_seed[work.cell.seed] = std::move(*result);
    }
    return true;
  }

  static std::string task_kind(const Cell& cell) {
    const Node tree = read_tree_text(cell.recipe, "recipe", ".", {});
    const Node* task = tree.find("task");
    const Node* kind = task ? task->find("kind") : nullptr;
    return kind ? kind->text : "";
  }

  // Once every rate of a group has been tried, its seeds become cells.
  void choose(size_t index) {
    Group& group = outcome_.results.groups[index];
    for (Work& work : cells_) {
      if (work.group == index && work.stage == Stage::waiting) {
        work.stage = Stage::queued;
        queue_.push_back(static_cast<size_t>(&work - cells_.data()));
      }
    }
    if (group.tried.empty() || group.rate) return;
    for (const Work& work : cells_) {
      if (work.group == index && work.stage != Stage::finished && work.stage != Stage::failed)
        return;
    }
    const std::optional<size_t> best = best_rate(group.tried);
    if (!best) {
      outcome_.results.failures.push_back(
          {combination_text(bench(), group.combination), "no rate could be trained to the end"});
      return;
    }
    group.rate = group.tried[*best].rate;
    for (const int64_t seed : bench().seeds) {
      cells_.push_back({maker_->make(group.combination, group.rate, seed), index});
      if (!take_if_finished(cells_.size() - 1)) {
        cells_.back().stage = Stage::queued;
        queue_.push_back(cells_.size() - 1);
      }
    }
  }

  void say_what_is_left() {
    const BenchResults& results = outcome_.results;
    finished_before_ = results.finished;
    console_.finish();
    std::string text = outcome_.folder.string() + ": " + std::to_string(results.cells) +
                       " cells (" + std::to_string(results.groups.size()) +
                       " arms and grid points)";
    if (results.finished > 0) text += ", " + std::to_string(results.finished) + " finished before";
    console_.line(text + ", " + std::to_string(jobs()) + " side by side");
  }

  int64_t jobs() const {
    if (request_.jobs > 0) return request_.jobs;
    return std::max<int64_t>(1, std::thread::hardware_concurrency() / request_.threads);
  }

  void start(Children& children) {
    for (size_t left = queue_.size(); left > 0 && static_cast<int64_t>(children.running()) < jobs();
         --left) {
      const size_t index = queue_.front();
      queue_.pop_front();
      Work& work = cells_[index];
      if (take_if_finished(index)) {  // by another process
        choose(work.group);
      } else if (children.start(index, work.cell)) {
        work.stage = Stage::running;
      } else {
        queue_.push_back(index);
      }
    }
  }

  void settle(const CellEnd& end) {
    const size_t index = end.cell;
    cells_[index].stage = Stage::queued;
    if (end.finished && take_if_finished(index)) {
      tell(cells_[index]);
    } else if (end.stopped) {
      if (!outcome_.stopped) queue_.push_back(index);  // by somebody else
      return;
    } else {
      fail(cells_[index], end.reason);
    }
    choose(cells_[index].group);
    write();
  }

  std::string name_of(const Work& work) const {
    std::string text = combination_text(bench(), work.cell.combination);
    if (work.cell.rate) text += ", rate " + number_text(*work.cell.rate);
    return text + ", seed " + std::to_string(work.cell.seed);
  }

  void tell(const Work& work) {
    const Group& group = group_of(work);
    const CellResult& result = work.tried ? *group.tried[*work.tried].results[*work.tried_seed]
                                          : group.by_seed.at(work.cell.seed);
    const std::string score = work.tried
                                  ? score_text("validation " + result.metric, result.validation)
                                  : score_text(result.metric, result.score);
    const std::string solved =
        result.steps_to_solve ? ", solved at step " + std::to_string(*result.steps_to_solve) : "";
    console_.line("[" + std::to_string(outcome_.results.finished) + "/" +
                  std::to_string(outcome_.results.cells) + "] " + name_of(work) + ": " + score +
                  solved + ", " + duration_text(result.seconds));
  }

  void fail(Work& work, const std::string& reason) {
    work.stage = Stage::failed;
    outcome_.results.failures.push_back({name_of(work), reason});
    console_.line(name_of(work) + ": failed: " + reason);
  }

  void write() {
    replace_file(outcome_.folder / "results.csv", results_csv(bench(), outcome_.results));
    replace_file(outcome_.folder / "results.json",
                 results_json(bench(), outcome_.results).dump(2) + "\n");
  }

  void show_progress(const Children& children) {
    console_.progress([&](int64_t columns) {
      double done = static_cast<double>(outcome_.results.finished);
      std::string running;
      for (const size_t index : children.cells()) {
        const Cell& cell = cells_[index].cell;
        const int64_t step = step_of(run_of(cell));
        done += static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, cell.steps));
        running += "  " + name_of(cells_[index]) + " " + std::to_string(step) + "/" +
                   std::to_string(cell.steps);
      }
      const double now = std::chrono::duration<double>(Clock::now() - began_).count();
      const double speed = (done - static_cast<double>(finished_before_)) / std::max(now, 1e-3);
      const double left = static_cast<double>(outcome_.results.cells) - done;
      std::string text = outcome_.stopped ? "stopping" : "cell";
      text += " " + std::to_string(outcome_.results.finished) + "/" +
              std::to_string(outcome_.results.cells);
      if (now > 5 && speed > 0) text += "  ETA " + duration_text(left / speed);
      const auto room = static_cast<size_t>(std::max<int64_t>(0, columns));
      return text.size() + running.size() <= room ? text + running : text;
    });
  }

  BenchRequest request_;
  Console& console_;
  BenchOutcome outcome_;
  std::optional<CellMaker> maker_;
  std::vector<Work> cells_;
  std::deque<size_t> queue_;
  Clock::time_point began_;
  int64_t finished_before_ = 0;
};

}  // namespace

BenchOutcome run_bench(const BenchRequest& request, Plugins& plugins, Console& console) {
  return Runner(request, plugins, console).run();
}

}  // namespace echo
