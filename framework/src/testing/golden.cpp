#include "framework/src/testing/golden.h"

#include "framework/src/files/safetensors.h"
#include "framework/src/recipe/values.h"

#include <algorithm>
#include <regex>

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

namespace echo::testing {

namespace {

using Json = nlohmann::ordered_json;

// JSON as the tree that fields are read from. Places are the file alone: it has no lines.
Node tree_of(const Json& json, const Location& where) {
  Node node;
  node.where = where;
  if (json.is_object()) {
    node.type = Node::Type::map;
    for (const auto& [key, value] : json.items())
      node.entries.push_back({key, where, tree_of(value, where)});
  } else if (json.is_array()) {
    node.type = Node::Type::list;
    for (const Json& item : json) node.items.push_back(tree_of(item, where));
  } else if (!json.is_null()) {
    node.type = Node::Type::scalar;
    node.quoted = json.is_string();
    node.text = json.is_string() ? json.get<std::string>() : json.dump();
  }
  return node;
}

class GoldenReader {
 public:
  explicit GoldenReader(const std::filesystem::path& path) : where_{path.string(), 0, 0} {
    try {
      content_ = read_safetensors(path);
    } catch (const Error& failure) {
      throw ConfigError(failure.what());
    }
    golden_.path = path;
    golden_.tensors = content_.tensors;
  }

  Golden read() {
    golden_.kind = required("kind");
    read_level();
    required("options");
    golden_.options = read_object("options");
    golden_.tolerance = metadata("tolerance");
    check_finite();
    check_tokens();
    check_mask();
    read_loss();
    return golden_;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw ConfigError(where_, message); }

  std::string metadata(const std::string& key) const {
    const auto found = content_.metadata.find(key);
    return found == content_.metadata.end() ? "" : found->second;
  }

  std::string required(const std::string& key) const {
    const std::string text = metadata(key);
    if (text.empty()) {
      fail("this is no golden file: its metadata lack '" + key +
           "' (they need kind, level and options)");
    }
    return text;
  }

  void read_level() {
    const std::string level = required("level");
    if (level == "core") {
      fail(
          "this is a core file, a bare recurrence without a layer around it: unit tests in the "
          "mixer's folder read those; give a file of level layer or block");
    }
    if (level != "layer" && level != "block")
      fail("the level is '" + level + "'; allowed: layer, block");
    if (level == "layer") return;
    golden_.level = Golden::Level::block;
    if (metadata("block_norm").empty()) {
      fail(
          "at level block the metadata need 'block_norm', the norm before the mixer, such as "
          "{\"kind\": \"rms_norm\", \"eps\": 1e-6}");
    }
    const Node norm = read_object("block_norm");
    read_fields(norm, fields_of(golden_.norm), {"block_norm", "", {}});
  }

  Node read_object(const std::string& key) const {
    const std::string text = metadata(key);
    if (text.empty()) return tree_of(Json::object(), where_);
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object()) fail("the metadata '" + key + "' are no JSON object: " + text);
    return tree_of(json, where_);
  }

  const at::Tensor& tokens(const std::string& name) const {
    const auto found = golden_.tensors.find(name);
    if (found == golden_.tensors.end()) fail("the tensor '" + name + "' is missing");
    const at::Tensor& tensor = found->second;
    if (tensor.dim() != 3 || tensor.numel() == 0) {
      fail("the tensor '" + name + "' is " + shape_text(tensor.sizes()) + "; allowed: (B, T, D)");
    }
    return tensor;
  }

  void expect_shape(const std::string& name, at::IntArrayRef shape) const {
    const at::Tensor& tensor = tokens(name);
    if (tensor.sizes() == shape) return;
    fail("the tensor '" + name + "' is " + shape_text(tensor.sizes()) + ", and should be " +
         shape_text(shape));
  }

  void check_finite() const {
    for (const auto& [name, tensor] : golden_.tensors) {
      const at::Tensor wrong = at::isfinite(tensor).logical_not().nonzero();  // (count, dimensions)
      if (wrong.size(0) == 0) continue;
      std::vector<int64_t> first;
      for (int64_t i = 0; i < wrong.size(1); ++i) first.push_back(wrong[0][i].item<int64_t>());
      fail("the tensor '" + name + "' holds NaN or infinity (" + std::to_string(wrong.size(0)) +
           " of " + std::to_string(tensor.numel()) + " values, the first at " + shape_text(first) +
           "); a golden file holds finite numbers");
    }
  }

  // Metadata that repeat a size of x.
  void check_size(const std::string& key, int64_t size) const {
    const std::string text = metadata(key);
    if (text.empty() || text == std::to_string(size)) return;
    fail("the metadata say " + key + " " + text + ", and the tensor 'x' is " +
         shape_text(tokens("x").sizes()));
  }

  void check_mask() const {
    if (!golden_.has("mask")) return;
    const at::Tensor& mask = golden_.tensors.at("mask");
    const at::IntArrayRef shape = tokens("x").sizes().slice(0, 2);
    if (mask.sizes() != shape) {
      fail("the tensor 'mask' is " + shape_text(mask.sizes()) +
           ", and should be (B, T) = " + shape_text(shape));
    }
    if (!(mask == 0).logical_or(mask == 1).all().item<bool>()) {
      fail(
          "the tensor 'mask' holds other values than 0 and 1: it is 1 where a token belongs to "
          "the prefix");
    }
  }

  void check_tokens() {
    const at::Tensor& x = tokens("x");
    golden_.width = x.size(2);
    check_size("width", x.size(2));
    check_size("T", x.size(1));
    expect_shape("y", x.sizes());
    for (const char* name : {"w", "dx", "h"}) {
      if (golden_.has(name)) expect_shape(name, x.sizes());
    }
    if (golden_.has("x_next") != golden_.has("y_next"))
      fail("x_next and y_next go together: one of them is missing");
    if (!golden_.has("x_next")) return;
    const at::Tensor& next = tokens("x_next");
    expect_shape("x_next", {x.size(0), next.size(1), x.size(2)});
    expect_shape("y_next", next.sizes());
  }

  void read_loss() {
    if (!golden_.has_gradients()) return;
    std::string text = metadata("loss");
    if (text.empty()) text = "sum(y*w)";
    static const std::regex form(R"(\s*sum\(\s*(y|state\.\w+)\s*\*\s*(\w+)\s*\)\s*(\+|$))");
    auto begin = text.cbegin();
    std::smatch match;
    bool expects_term = true;  // so a plus at the end is refused
    while (expects_term || begin != text.cend()) {
      if (!std::regex_search(begin, text.cend(), match, form,
                             std::regex_constants::match_continuous)) {
        fail("the loss '" + text +
             "' cannot be read; allowed: sum(y*w), with terms such as + sum(state.S*w_S)");
      }
      if (!golden_.has(match[2].str()))
        fail("the tensor '" + match[2].str() + "' of the loss is missing");
      golden_.loss.push_back({match[1].str(), match[2].str()});
      begin = match[0].second;
      expects_term = match[3] == "+";
    }
  }

  Location where_;
  NamedTensors content_;
  Golden golden_;
};

}  // namespace

int64_t Golden::next_length() const { return has("x_next") ? tensors.at("x_next").size(1) : 0; }

bool Golden::has_gradients() const {
  return std::any_of(tensors.begin(), tensors.end(), [](const auto& entry) {
    return entry.first == "dx" || entry.first.rfind("d_", 0) == 0;
  });
}

Golden read_golden(const std::filesystem::path& path) { return GoldenReader(path).read(); }

ConfigError mistake(const Golden& golden, const std::string& message) {
  return {Location{golden.path.string(), 0, 0}, message};
}

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + ")";
}

}  // namespace echo::testing
