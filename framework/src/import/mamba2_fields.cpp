#include "framework/src/import/mamba2_fields.h"

#include <cmath>
#include <limits>

namespace echo {

namespace {

// Null stands for no upper end.
Json read_dt_limit(Config& config) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<double> limit = config.numbers("time_step_limit", {0, infinity});
  const bool fits =
      limit.size() == 2 && std::isfinite(limit[0]) && limit[0] >= 0 && limit[1] >= limit[0];
  if (!fits)
    config.refuse("time_step_limit", "it takes two numbers, 0 or more, the second no smaller");
  Json result = Json::array({limit[0], nullptr});
  if (std::isfinite(limit[1])) result[1] = limit[1];
  return result;
}

struct InnerWidth {
  int64_t channels;
  std::string name;  // what gives it
};

InnerWidth read_inner_width(Config& config, const Mamba2Fields& fields, int64_t width) {
  const int64_t expand = config.count(fields.expand, 2);
  if (fields.inner && !config.is_written_null(fields.inner))
    return {config.count(fields.inner, fields.default_inner), fields.inner};
  if (fields.inner) config.ignore({fields.inner});
  return {expand * width, std::string(fields.expand) + " * hidden_size"};
}

}  // namespace

Json read_mamba2_mixer(Config& config, const Mamba2Fields& fields, int64_t width, double eps) {
  const int64_t heads = config.count(fields.heads);
  const auto [inner, inner_name] = read_inner_width(config, fields, width);
  const Json* head_width = config.find(fields.head_width);
  const bool is_automatic = head_width && *head_width == "auto";
  if (inner % heads != 0) {
    config.refuse(fields.heads,
                  "it does not divide " + inner_name + " (" + std::to_string(inner) + ")");
  }
  const int64_t own = is_automatic ? inner / heads : config.count(fields.head_width, inner / heads);
  if (own * heads != inner) {
    config.refuse(fields.head_width, std::string(fields.heads) + " (" + std::to_string(heads) +
                                         ") such heads are not " + inner_name + " (" +
                                         std::to_string(inner) + ")");
  }
  const int64_t groups = config.count(fields.groups, fields.default_groups);
  if (heads % groups != 0) {
    config.refuse(fields.groups, "it does not divide " + std::string(fields.heads) + " (" +
                                     std::to_string(heads) + ")");
  }
  Json mixer;
  mixer["kind"] = "mamba2";
  mixer["expand"] = static_cast<double>(inner) / static_cast<double>(width);
  mixer["head_width"] = own;
  mixer["state"] = config.count(fields.state, fields.default_state);
  mixer["groups"] = groups;
  mixer["kernel"] = config.count(fields.kernel, 4);
  mixer["bias"] = config.flag(fields.bias, false);
  mixer["conv_bias"] = config.flag(fields.conv_bias, true);
  mixer["dt_limit"] = read_dt_limit(config);
  mixer["norm_eps"] = eps;
  return mixer;
}

int64_t mamba2_inner_width(const Json& mixer, int64_t width) {
  return std::llround(mixer.at("expand").get<double>() * static_cast<double>(width));
}

void link_mamba2(Blueprint& blueprint, const Json& mixer, const std::string& stored,
                 const std::string& parameters) {
  std::vector<std::string> names = {"in_proj.weight", "conv1d.weight", "dt_bias", "A_log", "D",
                                    "out_proj.weight"};
  if (mixer.value("norm", true)) names.emplace_back("norm.weight");
  if (mixer.at("bias").get<bool>()) names.insert(names.end(), {"in_proj.bias", "out_proj.bias"});
  if (mixer.at("conv_bias").get<bool>()) names.emplace_back("conv1d.bias");
  for (const std::string& name : names)
    blueprint.links.push_back(same(stored + name, parameters + name));
}

void write_mamba2_mixer(Json& config, const Mamba2Fields& fields, const Json& mixer,
                        int64_t width) {
  const auto head_width = mixer.at("head_width").get<int64_t>();
  const int64_t inner = mamba2_inner_width(mixer, width);
  config[fields.heads] = inner / head_width;
  config[fields.head_width] = head_width;
  config[fields.state] = mixer.at("state");
  config[fields.groups] = mixer.at("groups");
  config[fields.kernel] = mixer.at("kernel");
  config[fields.expand] = std::max<int64_t>(1, inner / width);
  if (fields.inner) config[fields.inner] = inner;
  config[fields.bias] = mixer.at("bias");
  config[fields.conv_bias] = mixer.at("conv_bias");
  Json limit = Json::array();
  for (const Json& end : mixer.at("dt_limit")) {
    limit.push_back(end.is_null() ? Json{{"__float__", "Infinity"}} : Json(end.get<double>()));
  }
  config["time_step_limit"] = limit;
}

}  // namespace echo
