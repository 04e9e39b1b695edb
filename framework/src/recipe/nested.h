#pragma once

#include "framework/src/recipe/values.h"

#include <echo/members.h>

#include <string>
#include <vector>

namespace echo {

// Reads the mixers that fields of other mixers hold: maps like those of model.mixers, the names of
// such maps, or kinds.
class NestedMixers final : public MixerReader {
 public:
  // templates: model.mixers; null: none. Both outlive this.
  explicit NestedMixers(const Kinds<Mixer, Place>& kinds, const Node* templates = nullptr)
      : kinds_(kinds), templates_(templates) {}

  MixerChoice read(const Node& node, const std::string& path, Places& places) override;

 private:
  MixerChoice read_word(const Node& node, const std::string& path, Places& places);
  MixerChoice read_map(const Node& node, const std::string& path, Places& places);
  const Node* find_template(const std::string& name) const;

  const Kinds<Mixer, Place>& kinds_;
  const Node* templates_;
  std::vector<std::string> names_;  // of the templates that are being read, outermost first
  int64_t depth_ = 0;
  int64_t count_ = 0;
};

// The mixers that fields of these options hold, and those inside of them.
std::vector<MixerChoice> nested_mixers(const Options& options);

}  // namespace echo
