#include "cli/speed.h"

#include "cli/kind_list.h"
#include "cli/numbers.h"
#include "cli/table.h"
#include "framework/src/recipe/describe.h"
#include "framework/src/recipe/kinds.h"
#include "framework/src/testing/peer.h"
#include "framework/src/text/terminal.h"

#include <echo/error.h>

#include <iostream>
#include <unistd.h>

#include <ATen/ATen.h>

namespace echo::cli {

namespace {

using testing::Peer;
using testing::Speed;
using testing::SpeedRow;
using Json = nlohmann::ordered_json;

// What was measured, and of what.
struct Findings {
  std::string kind;
  Json fields;
  Speed speed;
  std::unique_ptr<Peer> peer;  // null: not wanted
};

std::unique_ptr<Peer> start_peer(const MixerKind& kind, const Findings& findings,
                                 const testing::SpeedOptions& options) {
  const std::string name = kind.name.substr(kind.name.rfind('/') + 1);
  const std::filesystem::path folder = std::filesystem::path(kind.origin).parent_path();
  return std::make_unique<Peer>(folder / (name + ".peer.py"), findings.fields.dump(), options);
}

testing::SpeedOptions options_of(const SpeedArguments& arguments) {
  testing::SpeedOptions options = arguments.options;
  if (!arguments.contexts.empty()) options.contexts = split_numbers(arguments.contexts);
  return options;
}

Findings measure(const Registry& registry, const SpeedArguments& arguments) {
  const MixerKind& kind = find_kind(registry.mixers, arguments.kind, "mixer");
  const testing::SpeedOptions options = options_of(arguments);
  const Place place{.width = options.width};
  const KindChoice choice = choose_mixer(registry, arguments.kind, arguments.set, place);
  const std::unique_ptr<Mixer> mixer = make(registry.mixers, choice, place);
  initialize(*mixer, 0);
  Node fields = write_kind(choice);
  fields.remove("kind");
  Findings findings{.kind = kind.name, .fields = to_json(fields), .speed = {}, .peer = nullptr};
  testing::PeerRound round;
  if (arguments.peers) {
    findings.peer = start_peer(kind, findings, options);
    if (findings.peer->missing().empty())
      round = [peer = findings.peer.get()](SpeedRow::Pass pass, std::optional<int64_t> context) {
        return peer->seconds(pass, context);
      };
  }
  findings.speed = testing::measure_speed(*mixer, options, round);
  return findings;
}

Cell time(std::optional<double> seconds) {
  if (!seconds) return nothing();
  const bool long_one = *seconds >= 1e-3;
  return {*seconds, number((long_one ? 1e3 : 1e6) * *seconds).text + (long_one ? " ms" : " us")};
}

Cell ratio(std::optional<double> value) {
  if (!value) return nothing();
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", *value);
  return {*value, text};
}

std::optional<double> to_peer(const SpeedRow& row) {
  return row.peer ? std::optional(row.seconds / *row.peer) : std::nullopt;
}

std::string row_name(const SpeedRow& row) {
  const std::string name = testing::pass_name(row.pass);
  return row.context ? name + " after " + count(*row.context).text : name;
}

Json json_of(const Findings& findings, const testing::SpeedOptions& options) {
  Json rows = Json::array();
  for (const SpeedRow& row : findings.speed.rows) {
    rows.push_back({{"pass", testing::pass_name(row.pass)},
                    {"context", row.context ? Json(*row.context) : Json(nullptr)},
                    {"seconds", row.seconds},
                    {"floor_seconds", row.floor},
                    {"ratio", ratio(row.ratio()).value},
                    {"peer_seconds", time(row.peer).value},
                    {"peer_ratio", ratio(to_peer(row)).value}});
  }
  Json json = {{"kind", findings.kind},   {"fields", findings.fields},
               {"width", options.width},  {"length", options.length},
               {"batch", options.batch},  {"floor", findings.speed.matrices},
               {"rows", std::move(rows)}, {"peak_bytes", findings.speed.peak_bytes},
               {"peer", nullptr},         {"peer_missing", nullptr}};
  if (findings.peer && findings.peer->missing().empty()) json["peer"] = findings.peer->name();
  if (findings.peer && !findings.peer->missing().empty())
    json["peer_missing"] = findings.peer->missing();
  return json;
}

// "1,936 x 768, 768 x 768"
std::string matrices_text(const Speed& speed) {
  std::vector<std::string> texts;
  for (const std::vector<int64_t>& matrix : speed.matrices)
    texts.push_back(count(matrix[0]).text + " x " + count(matrix[1]).text);
  return join(texts);
}

void print(const Findings& findings, const testing::SpeedOptions& options) {
  const bool peer = findings.peer && findings.peer->missing().empty();
  std::vector<std::string> columns = {"pass", "time", "floor", "ratio"};
  if (peer) columns.insert(columns.end(), {"peer", "to_peer"});
  Table table(columns);
  for (const SpeedRow& row : findings.speed.rows) {
    const bool has_floor = row.ratio().has_value();
    std::vector<Cell> cells = {word(row_name(row)), time(row.seconds),
                               has_floor ? time(row.floor) : nothing(), ratio(row.ratio())};
    if (peer) cells.insert(cells.end(), {time(row.peer), ratio(to_peer(row))});
    table.add(cells);
  }
  const Terminal terminal = look_at(STDOUT_FILENO);
  std::cout << wrap(findings.kind + ": width " + count(options.width).text + ", " +
                        count(options.length).text + " tokens, batch " + count(options.batch).text +
                        ", float32, one thread",
                    terminal.width, 2)
            << "\n\n";
  table.print(false);
  const auto paragraph = [&](const std::string& text) {
    std::cout << wrap(text, terminal.width, 2) << "\n";
  };
  std::cout << "\n";
  paragraph("peak of forward and backward: " + bytes(findings.speed.peak_bytes).text);
  paragraph(findings.speed.matrices.empty() ? "no floor: the mixer has no projections"
                                            : "floor: its projections as plain matrix products, " +
                                                  matrices_text(findings.speed));
  if (peer) paragraph("peer: " + findings.peer->name());
  if (findings.peer && !peer) paragraph("no peer: " + findings.peer->missing());
}

}  // namespace

int print_speed(Program& program, const SpeedArguments& arguments) {
  if (arguments.kind.empty())
    throw ConfigError("a KIND is missing, as in `" + program_name() + " mixers ska --speed`");
  const Findings findings = measure(program.plugins().registry(), arguments);
  const testing::SpeedOptions options = options_of(arguments);
  if (arguments.as_json) {
    std::cout << json_of(findings, options).dump(2) << "\n";
  } else {
    print(findings, options);
  }
  return kDone;
}

}  // namespace echo::cli
