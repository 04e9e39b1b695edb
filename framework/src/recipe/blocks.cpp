#include "framework/src/recipe/blocks.h"

#include "framework/src/recipe/values.h"
#include "framework/src/text/near.h"

#include <algorithm>

namespace echo {

namespace {

constexpr int64_t kMostBlocks = 4096;
constexpr int64_t kMostBranches = 16384;

bool is_repeat(const Node& node) { return node.is_map() && node.find("repeat"); }

int64_t count_branches(const Blocks& blocks) {
  int64_t count = 0;
  for (const auto& block : blocks) count += static_cast<int64_t>(block.size());
  return count;
}

class BlocksReader {
 public:
  BlocksReader(const std::map<std::string, KindChoice>& templates, const Registry& registry)
      : templates_(templates), registry_(registry) {
    for (const auto& [name, choice] : templates) names_.push_back(name);
  }

  // A list of blocks and repeats.
  Blocks list(const Node& node, const std::string& path) const {
    expect_list(node, path);
    Blocks blocks;
    for (size_t i = 0; i < node.items.size(); ++i) {
      const std::string item_path = join_path(path, std::to_string(i));
      for (auto& block : entry(node.items[i], item_path)) blocks.push_back(std::move(block));
      check_size(blocks, node.items[i], item_path);
    }
    return blocks;
  }

 private:
  Blocks entry(const Node& node, const std::string& path) const {
    if (is_repeat(node)) return repeat(node, path);
    if (!node.is_list()) {
      std::string message = path +
                            ": expected a block, which is a list of branches, or {repeat: "
                            "n, block: [...]}, found " +
                            node.found();
      if (node.is_scalar()) message += "; write [" + node.text + "]";
      throw ConfigError(node.where, message);
    }
    return {block(node, path)};
  }

  Blocks repeat(const Node& node, const std::string& path) const {
    read_fields(node, {}, {path, "", {"repeat", "block"}});
    const int64_t times = read_integer(*node.find("repeat"), path + ".repeat");
    const Node* inner = node.find("block");
    if (!inner) {
      throw ConfigError(node.where, path + ": says how often but not what; write {repeat: " +
                                        std::to_string(times) + ", block: [...]}");
    }
    const std::string inner_path = path + ".block";
    expect_list(*inner, inner_path);
    const auto is_block = [](const Node& item) { return item.is_list() || is_repeat(item); };
    const bool nested = std::any_of(inner->items.begin(), inner->items.end(), is_block);
    const Blocks once = nested ? list(*inner, inner_path) : Blocks{block(*inner, inner_path)};
    const auto size = static_cast<int64_t>(once.size());
    if (times > kMostBlocks / size || times > kMostBranches / count_branches(once)) {
      throw ConfigError(node.find("repeat")->where, path + ".repeat: " + std::to_string(times) +
                                                        " times " + std::to_string(size) +
                                                        " blocks with " +
                                                        std::to_string(count_branches(once)) +
                                                        " branches are too many; " + allowed());
    }
    Blocks blocks;
    for (int64_t i = 0; i < times; ++i) blocks.insert(blocks.end(), once.begin(), once.end());
    return blocks;
  }

  std::vector<BranchRecipe> block(const Node& node, const std::string& path) const {
    if (node.items.empty()) {
      throw ConfigError(node.where, path +
                                        ": a block without branches; name a mixer of "
                                        "model.mixers in it, or remove the block");
    }
    std::vector<BranchRecipe> branches;
    for (size_t i = 0; i < node.items.size(); ++i)
      branches.push_back(branch(node.items[i], join_path(path, std::to_string(i))));
    return branches;
  }

  BranchRecipe branch(const Node& node, const std::string& path) const {
    BranchRecipe result;
    result.where = node.where;
    if (node.is_scalar()) {
      find_template(node, path, result);
      return result;
    }
    refuse_other_shapes(node, path);
    read_fields(node, fields_of(result), {path, "", {"mixer"}});
    const Node* name = node.find("mixer");
    if (!name) {
      throw ConfigError(node.where,
                        path + ": the mixer is missing; write {mixer: " + example() + ", ...}");
    }
    if (!name->is_scalar()) {
      throw ConfigError(name->where, path +
                                         ".mixer: expected the name of a mixer of "
                                         "model.mixers, found " +
                                         name->found());
    }
    find_template(*name, path + ".mixer", result);
    return result;
  }

  void refuse_other_shapes(const Node& node, const std::string& path) const {
    if (is_repeat(node) || node.is_list()) {
      throw ConfigError(node.where, path + ": " + (node.is_list() ? "a block" : "a repeat") +
                                        " among the branches of a block; put every block of this "
                                        "list into a list of its own");
    }
    if (!node.is_map()) {
      throw ConfigError(node.where, path +
                                        ": expected the name of a mixer of model.mixers, or "
                                        "{mixer: NAME, norm: ..., scale: ...}, found " +
                                        node.found());
    }
    if (node.find("kind")) {
      throw ConfigError(node.where, path +
                                        ": a mixer is described under model.mixers and named "
                                        "here; write mixers: {NAME: {kind: ...}} and the name "
                                        "in this place");
    }
  }

  void find_template(const Node& node, const std::string& path, BranchRecipe& branch) const {
    const auto found = templates_.find(node.text);
    if (found != templates_.end()) {
      branch.mixer_name = node.text;
      branch.mixer = found->second;
      return;
    }
    const bool is_kind = registry_.mixers.find(node.text) != nullptr;
    if (names_.empty()) {
      throw ConfigError(node.where, path + ": no mixer is described, so there is no " +
                                        node.found() + "; write mixers: {" + shortened(node.text) +
                                        ": {kind: " + (is_kind ? node.text : "NAME") +
                                        "}} beside the blocks");
    }
    std::string message = path + ": model.mixers has no " + node.found();
    if (templates_.count(node.text.substr(0, node.text.find(' '))) != 0)
      throw ConfigError(node.where, message + "; is a ',' missing?");
    if (is_kind) {
      message += ", which is a kind; to use it by this name, add " + node.text +
                 ": {kind: " + node.text + "} there";
    }
    message += known_words(node.text, "it has", names_);
    throw ConfigError(node.where, message);
  }

  static void check_size(const Blocks& blocks, const Node& node, const std::string& path) {
    const auto size = static_cast<int64_t>(blocks.size());
    const int64_t branches = count_branches(blocks);
    if (size <= kMostBlocks && branches <= kMostBranches) return;
    throw ConfigError(node.where,
                      path + ": up to here the model has " + counted(blocks) + "; " + allowed());
  }

  // "3 blocks (6 branches)".
  static std::string counted(const Blocks& blocks) {
    return std::to_string(blocks.size()) + (blocks.size() == 1 ? " block (" : " blocks (") +
           std::to_string(count_branches(blocks)) + " branches)";
  }

  static std::string allowed() {
    return "allowed: at most " + std::to_string(kMostBlocks) + " blocks and " +
           std::to_string(kMostBranches) + " branches in all";
  }

  std::string example() const { return names_.empty() ? "NAME" : names_[0]; }

  const std::map<std::string, KindChoice>& templates_;
  const Registry& registry_;
  std::vector<std::string> names_;
};

}  // namespace

Blocks read_blocks(const Node& node, const std::map<std::string, KindChoice>& templates,
                   const Registry& registry) {
  const Blocks blocks = BlocksReader(templates, registry).list(node, "model.blocks");
  if (blocks.empty()) {
    throw ConfigError(node.where,
                      "model.blocks: is empty; a model needs at least one block, as in [[NAME]]");
  }
  return blocks;
}

}  // namespace echo
