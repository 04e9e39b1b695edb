#pragma once

#include "framework/src/recipe/recipe.h"

namespace echo {

using Blocks = std::vector<std::vector<BranchRecipe>>;

// Reads model.blocks: a list of blocks, each a list of branches, or {repeat: n, block: ...} where
// block is one block or again a list of blocks. The branches' mixers are the templates as they
// were read. Throws ConfigError.
Blocks read_blocks(const Node& node, const std::map<std::string, KindChoice>& templates,
                   const Registry& registry);

}  // namespace echo
